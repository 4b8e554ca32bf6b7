"""One guider that owns both experts of Wan 2.2 A14B, for any ComfyUI sampler.

Each expert is a stock `CFGGuider`, so patches, hooks, wrappers and conditioning of either are prepared and cleaned up
by ComfyUI's own code. The low-noise expert's guider encloses the high-noise one's, and the sampler runs inside both:
one loop, one noise stream, one progress bar. Weights move only when the sigma says so, through ComfyUI's memory
management: the low-noise expert is loaded at its first step, and the high-noise one makes room only if it must.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

import comfy.k_diffusion.sampling
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sampler_helpers
import comfy.samplers
import torch

from . import conditioning, keyframes
from .routing import I2V_BOUNDARY, Expert, expert_at, experts

SIZES = ("dim", "num_layers")
PICTURE_HOOKS = ("concat_cond", "extra_conds")  # a patch of another pack that brings the picture in its own way
IN_CHANNELS = 36  # 16 of noise, 4 of mask, 16 of the encoded start image


class LateExpert(comfy.samplers.CFGGuider):
    """The guider of an expert that joins a loop that another one has begun."""

    def __init__(self, model_patcher: comfy.model_patcher.ModelPatcher):
        super().__init__(model_patcher)
        self.forget()

    def forget(self) -> None:
        """Lets go of everything that belongs to one run."""
        self.loop: Callable[[], torch.Tensor] | None = None  # what the next `sample` runs instead of a sampler
        self.arguments: tuple[Any, ...] = ()
        self.joined = False
        self.inner_model: Any = None
        self.loaded_models: list[Any] = []
        self.loop_options: dict[str, Any] = {}

    def outer_sample(
        self,
        noise: torch.Tensor,
        latent_image: torch.Tensor,
        sampler: Any,
        sigmas: torch.Tensor,
        denoise_mask: torch.Tensor | None = None,
        callback: Any = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        **shapes: Any,
    ) -> torch.Tensor:
        """Runs the enclosed loop, with all that this expert needs to join it at hand."""
        if self.loop is None:  # no step runs on the other expert
            return super().outer_sample(
                noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **shapes
            )
        self.arguments = (noise, latent_image, sigmas, denoise_mask, seed, shapes)
        try:
            return self.loop()
        finally:
            if self.joined:
                self.model_patcher.cleanup()
                comfy.sampler_helpers.cleanup_models(self.conds, self.loaded_models)

    def join(self) -> None:
        """Loads the expert and prepares its conditioning, as `CFGGuider` does at the start of a loop."""
        noise, latent_image, sigmas, denoise_mask, seed, shapes = self.arguments
        device = self.model_patcher.load_device
        self.inner_model, self.conds, self.loaded_models = comfy.sampler_helpers.prepare_sampling(
            self.model_patcher, noise.shape, self.conds, self.model_options
        )
        self.joined = True
        comfy.samplers.cast_to_load_options(self.model_options, device=device, dtype=self.model_patcher.model_dtype())
        self.model_patcher.pre_run()
        latent_image = latent_image.to(device=device, dtype=torch.float32)
        if torch.count_nonzero(latent_image) > 0:
            latent_image = self.inner_model.process_latent_in(latent_image)
        with keyframes.kept(self.conds):
            self.conds = comfy.samplers.process_conds(
                self.inner_model, noise.to(device), self.conds, device, latent_image, denoise_mask, seed, **shapes
            )
        self.loop_options = comfy.model_patcher.create_model_options_clone(self.model_options)
        self.loop_options.setdefault("transformer_options", {})["sample_sigmas"] = sigmas.to(device)

    def options_for(self, current: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
        """Adds to this expert's options what the running sampler has added to those of the other expert.

        Args:
            current: The options that the sampler passes on.
            base: The other expert's options as the loop began.
        """
        options = dict(self.loop_options)
        for key, value in current.items():
            if isinstance(value, list):  # of hooks, to which samplers append
                added = value[len(base.get(key, [])) :]
                options[key] = [*options.get(key, []), *added]
            elif key not in base:
                options[key] = value
        return options

    def evaluate(
        self, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any], seed: int | None
    ) -> torch.Tensor:
        """Evaluates this expert on its own device, which need not be the one that the loop runs on."""
        device = self.model_patcher.load_device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            return self.outer_predict_noise(x.to(device), timestep.to(device), model_options, seed).to(x.device)


class TwoExpertGuider(comfy.samplers.CFGGuider):
    """Routes every model evaluation to an expert by its sigma.

    Args:
        high: The high-noise expert; runs where sigma >= boundary.
        low: The low-noise expert.
        boundary: Flow sigma at which the experts change places.

    Raises:
        ValueError: A model cannot be a Wan 2.2 I2V expert.
    """

    def __init__(
        self,
        high: comfy.model_patcher.ModelPatcher,
        low: comfy.model_patcher.ModelPatcher,
        boundary: float = I2V_BOUNDARY,
    ):
        check_expert("high", high)
        check_expert("low", low)
        check_pair(high, low)
        super().__init__(high)
        self.low = LateExpert(low)
        self.boundary = boundary
        self.turn: Expert = "high"

    @property
    def is_one_model(self) -> bool:
        """Whether the same model, patched alike, is in both slots, so that there is nothing to change to."""
        return self.low.model_patcher is self.model_patcher

    def inner_set_conds(self, conds: dict[str, Any]) -> None:
        """Gives both experts the same conditioning."""
        super().inner_set_conds(conds)
        self.low.inner_set_conds(conds)

    def set_cfg(self, cfg: float) -> None:
        """Sets the guidance scale of both experts; at 1 the negative conditioning is not evaluated."""
        super().set_cfg(cfg)
        self.low.set_cfg(cfg)

    def sample(
        self,
        noise: torch.Tensor,
        latent_image: torch.Tensor,
        sampler: Any,
        sigmas: torch.Tensor,
        denoise_mask: torch.Tensor | None = None,
        callback: Any = None,
        disable_pbar: bool = False,
        seed: int | None = None,
    ) -> torch.Tensor:
        """Runs the sampler over both experts.

        Args:
            noise: Tensor[B, 16, T, H/8, W/8], standard normal.
            latent_image: Tensor of the same shape; all zeros for image to video.
            sampler: Any ComfyUI SAMPLER.
            sigmas: Tensor[steps + 1], flow sigmas.
            denoise_mask: As in ComfyUI.
            callback: Called as callback(step, x0, x, total_steps) after every step.
            disable_pbar: Hides the console's progress bar.
            seed: Of the one noise stream that `noise` began.

        Returns:
            Tensor like `noise`, the denoised latent.

        Raises:
            ValueError: The latent is not Wan's, or the conditioning does not fit it or the model.
        """
        conditioning.check_latent(latent_image)
        self.check_conditioning(latent_image)
        sampler = with_noise_stream(sampler, noise, seed)
        rest = (denoise_mask, callback, disable_pbar, seed)
        self.turn = "high"
        if self.is_one_model:
            return super().sample(noise, latent_image, sampler, sigmas, *rest)
        if "high" not in experts(sigmas.tolist(), self.boundary):
            return self.low.sample(noise, latent_image, sampler, sigmas, *rest)
        run_both = super().sample
        self.low.loop = lambda: run_both(noise, latent_image, sampler, sigmas, *rest)
        try:
            return self.low.sample(noise, latent_image, sampler, sigmas, *rest)
        finally:
            self.low.forget()  # ComfyUI may keep this guider for another run

    def check_conditioning(self, latent_image: torch.Tensor) -> None:
        """Refuses conditioning that makes no clip of the start picture, of each input that will be evaluated."""
        options = (self.model_options, self.low.model_options)
        one_pass = self.cfg == 1.0 and not any(each.get("disable_cfg1_optimization") for each in options)
        patchers = (self.model_patcher, self.low.model_patcher)
        network = self.model_patcher.model.diffusion_model
        for name, conds in self.original_conds.items():
            if name == "positive" or not one_pass:
                conditioning.check_text(name, conds, getattr(network, "text_dim", None))
                if not any(key.startswith(PICTURE_HOOKS) for each in patchers for key in each.object_patches):
                    conditioning.check_picture(name, conds, latent_image)

    def outer_predict_noise(
        self,
        x: torch.Tensor,
        timestep: torch.Tensor,
        model_options: dict[str, Any] | None = None,
        seed: int | None = None,
    ) -> torch.Tensor:
        """Evaluates the expert that the sigma calls for, with that expert's own wrappers and options."""
        model_options = model_options or {}
        if self.is_one_model:
            return super().outer_predict_noise(x, timestep, model_options, seed)
        expert = expert_at(float(timestep[0]), self.boundary)
        if expert != self.turn:
            self.change_to(expert, x)
        if expert == "high":
            return super().outer_predict_noise(x, timestep, model_options, seed)
        return self.low.evaluate(x, timestep, self.low.options_for(model_options, self.model_options), seed)

    def change_to(self, expert: Expert, x: torch.Tensor) -> None:
        """Brings an expert to its device. ComfyUI lets the other one go if the memory is needed."""
        self.turn = expert
        if expert == "low" and not self.low.joined:
            self.low.join()
            return
        guider = self.low if expert == "low" else self  # only samplers that go back to a higher sigma come here
        memory, minimum = comfy.sampler_helpers.estimate_memory(guider.model_patcher, x.shape, guider.conds)
        comfy.model_management.load_models_gpu(
            [guider.model_patcher, *guider.loaded_models], memory_required=memory, minimum_memory_required=minimum
        )
        guider.model_patcher.pre_run()


def with_noise_stream(sampler: Any, noise: torch.Tensor, seed: int | None) -> Any:
    """Lets `lcm` draw its re-noise from the stream that the initial noise began.

    ComfyUI draws the initial noise on the CPU, and that of later steps on the model's device from another generator,
    so a seed would mean something else on every device. Here one CPU stream serves all.
    """
    is_lcm = getattr(sampler, "sampler_function", None) is comfy.k_diffusion.sampling.sample_lcm
    if seed is None or not is_lcm or "noise_sampler" in sampler.extra_options:
        return sampler
    generator = torch.Generator("cpu").manual_seed(seed)
    if not torch.randn(noise.shape, generator=generator).to(noise.dtype).equal(noise.cpu()):
        # A batch_index picked the initial noise from further on in the stream, or it is none of ours: a stream that
        # cannot meet it is the next seed's.
        generator.manual_seed((seed + 1) % 2**64)

    def next_noise(sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        return torch.randn(noise.shape, generator=generator).to(sigma.device)

    return comfy.samplers.KSAMPLER(
        sampler.sampler_function, {**sampler.extra_options, "noise_sampler": next_noise}, sampler.inpaint_options
    )


def check_expert(slot: Expert, patcher: comfy.model_patcher.ModelPatcher) -> None:
    """Refuses a model that cannot run as an expert of Wan 2.2 I2V A14B.

    Raises:
        ValueError: It is another family, or it takes another number of channels.
    """
    model = patcher.model
    if not isinstance(model, comfy.model_base.WAN21) or model.image_to_video:
        raise ValueError(
            f"The {slot}-noise expert must be a Wan 2.2 I2V A14B model, got {type(model).__name__}. "
            "Connect the outputs of Load Wan 2.2 I2V, or of two loaders with the I2V files."
        )
    channels = cast(torch.Tensor, patcher.get_model_object("diffusion_model.patch_embedding.weight")).shape[1]
    if channels != IN_CHANNELS:
        raise ValueError(
            f"The {slot}-noise expert must take {IN_CHANNELS} channels (Wan 2.2 I2V A14B), this model takes {channels}"
            f"{', as the text-to-video files do' if channels == conditioning.CHANNELS else ''}. Choose the I2V files."
        )


def check_pair(high: comfy.model_patcher.ModelPatcher, low: comfy.model_patcher.ModelPatcher) -> None:
    """Refuses two experts of different size, which are not one model.

    Raises:
        ValueError: Their widths or depths differ.
    """
    sizes = [tuple(patcher.model.model_config.unet_config.get(key) for key in SIZES) for patcher in (high, low)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"Both experts must have one size, got width, depth {sizes[0]} high and {sizes[1]} low. "
            "Choose the two files of one model."
        )
