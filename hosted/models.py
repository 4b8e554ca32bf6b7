"""The hosted Wan 2.2 I2V models and the parameters that each takes. A new model is a row here.

Collected in September 2026 from the providers' documentation, SDKs and ComfyUI packs. The resolution of
`i2v-480p` and its kin is part of their name; what a model does not take is not sent.
"""

from dataclasses import dataclass, replace

PRICES_OF = "September 2026"
PLAIN, HIGH, LOW = "loras", "high_noise_loras", "low_noise_loras"
EACH = (PLAIN, HIGH, LOW)
RESOLUTIONS = ("480p", "720p", "1080p")
DURATIONS = (5, 8)  # seconds
_SIZE_FACTOR = {"480p": 1.0, "720p": 2.0, "1080p": 4.0}  # only that of 720p is documented, and only by WaveSpeed


def dollars(usd: float) -> str:
    """Writes an amount, with as many digits as it needs."""
    return f"${usd:.2f}" if abs(usd * 100 - round(usd * 100)) < 1e-6 else f"${usd:.4f}".rstrip("0")


@dataclass(frozen=True)
class Model:
    """One model of one provider.

    Attributes:
        id: As the provider names it.
        resolutions: Those to choose from; a single one is not sent.
        durations: Seconds to choose from; a single one is not sent.
        lora_arrays: The LoRA parameters that it takes.
        usd_per_second: At 480p, or at its only resolution; None where no source names it.
    """

    id: str
    resolutions: tuple[str, ...] = ("480p", "720p")
    durations: tuple[int, ...] = DURATIONS
    lora_arrays: tuple[str, ...] = ()
    takes_negative_prompt: bool = False
    takes_last_image: bool = False
    usd_per_second: float | None = None

    @property
    def unrestricted(self) -> bool:
        """Says whether the model answers without content moderation."""
        return "spicy" in self.id

    def estimate(self, resolution: str, duration: int) -> float | None:
        """Returns what a clip costs by the table, in US dollars, or None where no source names it."""
        if self.usd_per_second is None:
            return None
        factor = _SIZE_FACTOR[resolution] / _SIZE_FACTOR[self.resolutions[0]]
        return round(self.usd_per_second * duration * factor, 4)


def _sized(size: str, kind: str, lora_arrays: tuple[str, ...] = (), usd: float | None = None) -> Model:
    name = f"wavespeed-ai/wan-2.2/i2v-{size}{kind}"
    return Model(name, (size,), DURATIONS, lora_arrays, True, True, usd)


WAVESPEED = (
    Model("wavespeed-ai/wan-2.2/image-to-video", ("480p", "720p"), DURATIONS, (), True, True, 0.03),
    Model("wavespeed-ai/wan-2.2/image-to-video-lora", ("480p", "720p"), DURATIONS, EACH, True, True),
    _sized("480p", ""),
    _sized("480p", "-lora", EACH),
    _sized("480p", "-ultra-fast"),
    _sized("480p", "-lora-ultra-fast", EACH, 0.02),
    _sized("720p", ""),
    _sized("720p", "-lora", EACH),
    _sized("720p", "-ultra-fast"),
    _sized("720p", "-lora-ultra-fast", EACH),
    Model("wavespeed-ai/wan-2.2/i2v-5b-720p-lora", ("720p",), (5,), (PLAIN,)),
    Model("wavespeed-ai/wan-2.2-spicy/image-to-video", usd_per_second=0.03),
    # Whether it applies a plain `loras` is not documented, so that is not offered: "both" fills the other two.
    Model("wavespeed-ai/wan-2.2-spicy/image-to-video-lora", lora_arrays=(HIGH, LOW), usd_per_second=0.04),
)

ATLASCLOUD = (
    Model("atlascloud/wan-2.2/image-to-video", takes_negative_prompt=True),
    Model("atlascloud/wan-2.2/image-to-video-lora", lora_arrays=EACH, takes_negative_prompt=True, usd_per_second=0.04),
    Model("atlascloud/wan-2.2-turbo/image-to-video", RESOLUTIONS),
    Model("alibaba/wan-2.2/i2v-480p", ("480p",), (5,)),
    Model("alibaba/wan-2.2/i2v-720p", ("720p",), (5,)),
    Model("atlascloud/wan-2.2-turbo-spicy/image-to-video", RESOLUTIONS, usd_per_second=0.02),
    Model(
        "atlascloud/wan-2.2-turbo-spicy/image-to-video-lora", RESOLUTIONS, DURATIONS, (HIGH, LOW), usd_per_second=0.026
    ),
    Model("alibaba/wan-2.2-spicy/image-to-video", usd_per_second=0.03),
    Model("alibaba/wan-2.2-spicy/image-to-video-lora", lora_arrays=EACH, usd_per_second=0.04),
)

# A reseller of it, under the same names, at prices of its own that no source names.
API302 = tuple(replace(model, usd_per_second=None) for model in WAVESPEED)
