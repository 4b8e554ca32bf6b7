"""A request for one hosted clip, and the rules that it must keep before anything is sent or paid."""

import hashlib
import io
import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from PIL import Image

from ..common import text
from ..common.address import may_be_public
from ..common.redact import HIDDEN, mask
from .errors import RequestError
from .ledger import digest_of
from .providers import HIGH, LOW, OFFERS, PLAIN, Model, Provider

Expert = Literal["both", "high", "low"]
EXPERTS: tuple[Expert, ...] = ("both", "high", "low")

MAX_SEED = 2**31 - 1
MAX_LORAS = 3  # per expert
MAX_SCALE = 4.0
MAX_PROMPT = 20_000  # letters, many times what any model reads
MAX_URL = 4096  # letters; signed addresses have some two thousand
MAX_WORDS = 5000  # letters of trigger words
_HUGGING_FACE_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
MAX_UPLOAD = 20_000_000  # bytes; the smallest of the limits that WaveSpeed's pages name


@dataclass(frozen=True)
class Lora:
    """A LoRA at a public address. The provider fetches it; this pack never does."""

    url: str  # `https` address of a file, or a Hugging Face id `owner/repository`; may hold a token
    scale: float  # 0 to 4
    expert: Expert
    trigger_words: str = ""

    def __repr__(self) -> str:  # ComfyUI writes it into its error reports
        return f"{shown_url(self.url)} at {self.scale:g} on {self.expert}"

    def check(self) -> None:
        """Raises RequestError where address, scale, expert or trigger words are against the rules."""
        _check_text("The address of a LoRA", self.url, MAX_URL)
        _check_text("Trigger words of a hosted LoRA", self.trigger_words, MAX_WORDS)
        if text.number(self.scale, MAX_SCALE) is None:
            raise RequestError(f"A hosted LoRA takes a scale of 0 to {MAX_SCALE:g}, got {text.quoted(self.scale)}.")
        if self.expert not in EXPERTS:
            raise RequestError(f"A hosted LoRA goes on one of {', '.join(EXPERTS)}, got '{text.quoted(self.expert)}'.")
        check_url(self.url)


_encoding = threading.Lock()  # one at a time, so that twenty nodes leave the processor to others


@dataclass(frozen=True)
class Picture:
    """A picture to upload."""

    pixels: np.ndarray = field(repr=False)  # uint8[H, W, 3]

    @cached_property
    def digest(self) -> str:
        """Identifies the pixels, whatever file format they are sent in."""
        shape = f"{self.pixels.shape}".encode()
        return hashlib.sha256(shape + np.ascontiguousarray(self.pixels).tobytes()).hexdigest()

    def png(self) -> bytes:
        """Returns the file to upload; RequestError where it is larger than providers take."""
        file = io.BytesIO()
        with _encoding:
            Image.fromarray(self.pixels).save(file, "png", compress_level=1)  # an eighth larger, twice as fast
        if file.tell() > MAX_UPLOAD:
            height, width = self.pixels.shape[:2]
            raise RequestError(
                f"A picture may have {MAX_UPLOAD // 10**6} MB as PNG, got {file.tell() / 10**6:.0f} MB at "
                f"{width}x{height}. Put Fit to 720p before the node."
            )
        return file.getvalue()


@dataclass(frozen=True)
class Request:
    """Everything that decides how a hosted clip looks; two equal requests are one job."""

    offer: str  # the model, by its label
    prompt: str = field(repr=False)  # with trigger words
    image: Picture
    resolution: str = "480p"  # of the model's own
    duration: int = 5  # seconds, of the model's own
    seed: int = 0  # the providers' -1, for a random one, would make jobs that cannot be told apart
    negative_prompt: str = field(default="", repr=False)
    last_image: Picture | None = None
    loras: tuple[Lora, ...] = ()

    @property
    def provider(self) -> Provider:
        """The provider that makes it."""
        return find_offer(self.offer)[0]

    @property
    def model(self) -> Model:
        """The model that makes it."""
        return find_offer(self.offer)[1]

    def check(self) -> None:
        """Raises RequestError for the first rule of the model that is broken, so that nothing is paid for a mistake."""
        model = self.model
        check_settings(self.offer, self.resolution, self.duration, self.seed, self.prompt, self.negative_prompt)
        if self.last_image and not model.takes_last_image:
            raise RequestError(f"'{self.offer}' takes no last_image, got one. Disconnect it or choose another model.")
        for lora in self.loras:
            lora.check()
        for array, items in self.lora_arrays().items():
            if len(items) > MAX_LORAS:
                raise RequestError(f"A model takes {MAX_LORAS} LoRAs in {array}, got {len(items)}. Take some away.")

    def lora_arrays(self) -> dict[str, list[dict[str, Any]]]:
        """Returns the LoRA parameters, array name -> items; RequestError where the model has no place for one."""
        arrays: dict[str, list[dict[str, Any]]] = {}
        for lora in self.loras:
            for array in arrays_for(lora.expert, self.offer):
                arrays.setdefault(array, []).append({"path": lora.url, "scale": lora.scale})
        return arrays

    def fields(self, image: str, last_image: str | None) -> dict[str, Any]:
        """Returns the model's parameters, with the addresses of the uploaded pictures."""
        model = self.model
        sent: dict[str, Any] = {"image": image, "prompt": self.prompt, "seed": self.seed}
        if len(model.resolutions) > 1:
            sent["resolution"] = self.resolution
        if len(model.durations) > 1:
            sent["duration"] = self.duration
        if self.negative_prompt.strip():
            sent["negative_prompt"] = self.negative_prompt
        if last_image:
            sent["last_image"] = last_image
        return {**sent, **self.lora_arrays()}

    def digest(self) -> str:
        """Identifies the request without telling what is in it. The same inputs give the same digest."""
        pictures = [self.image.digest, self.last_image.digest if self.last_image else None]
        inputs = [self.provider.name, self.model.id, pictures, self.fields("", None)]
        return digest_of(inputs)


def find_offer(label: str) -> tuple[Provider, Model]:
    """Returns provider and model of a label; RequestError where there is none."""
    if not isinstance(label, str) or label not in OFFERS:
        raise RequestError(f"The hosted model must be one of {', '.join(OFFERS)}; got '{text.quoted(label)}'.")
    return OFFERS[label]


def arrays_for(expert: str, offer: str) -> tuple[str, ...]:
    """Returns the LoRA parameters that a LoRA for an expert goes into; RequestError where the model has none for it."""
    has = find_offer(offer)[1].lora_arrays
    wanted = {"high": (HIGH,), "low": (LOW,)}.get(expert) or ((PLAIN,) if PLAIN in has else (HIGH, LOW))
    if not set(wanted) <= set(has):
        remedy = "Set expert to both." if has else "Choose a model whose name ends in -lora, or disconnect loras."
        raise RequestError(f"'{offer}' takes {' and '.join(has) or 'no LoRAs'}, got one for {expert}. {remedy}")
    return wanted


def check_settings(
    offer: str | None = None,
    resolution: str | None = None,
    duration: int | None = None,
    seed: int | None = None,
    prompt: str | None = None,
    negative_prompt: str | None = None,
) -> None:
    """Checks what is known of a request, not None, before other nodes have run; RequestError where it breaks a rule."""
    for name, written in (("prompt", prompt), ("negative_prompt", negative_prompt)):
        if written is not None:
            _check_text(f"The {name} of a hosted model", written, MAX_PROMPT)
    if prompt is not None and not prompt.strip():
        raise RequestError("A hosted model needs a prompt, got none. Say in a sentence or two what moves, and how.")
    if seed is not None and not (isinstance(seed, int) and 0 <= seed <= MAX_SEED):
        raise RequestError(f"A hosted model takes a seed of 0 to {MAX_SEED}, got {text.quoted(seed)}.")
    if offer is None:
        return
    model = find_offer(offer)[1]
    _one_of("resolution", resolution, model.resolutions, offer)
    _one_of("duration", duration, model.durations, offer)
    if (negative_prompt or "").strip() and not model.takes_negative_prompt:
        raise RequestError(f"'{offer}' takes no negative prompt, got one. Clear it or choose another model.")


def _one_of(name: str, value: Any, allowed: tuple[Any, ...], offer: str) -> None:
    if value is not None and value not in allowed:
        raise RequestError(f"'{offer}' takes {name} {' or '.join(map(str, allowed))}, got {text.quoted(value)}.")


def _check_text(what: str, value: Any, longest: int) -> None:
    if not isinstance(value, str):
        raise RequestError(f"{what} must be a text, got {text.quoted(value)}.")
    if len(value) > longest:
        raise RequestError(f"{what} may have {longest} letters, got {len(value)}. Shorten it.")


def check_url(url: str) -> None:
    """Checks the form of a LoRA's address, and looks nothing up; RequestError where no provider should fetch it."""
    if HIDDEN in url:
        raise RequestError(f"The token of the LoRA's address was masked, got {_named(url)}. Paste the address again.")
    if not _is_fetched(url):
        raise RequestError(
            "A hosted LoRA needs the public https address of a .safetensors file, or a Hugging Face id such as "
            f"owner/repository, got {_named(url)}. Files on this machine must be uploaded somewhere first."
        )


def _is_fetched(url: str) -> bool:
    if _HUGGING_FACE_ID.fullmatch(url):
        return True
    if re.search(r"[\s\x00-\x1f\\#]", url):  # what follows a # is not sent, and may be a token
        return False
    try:
        parts = urllib.parse.urlsplit(url)
        public = parts.scheme == "https" and may_be_public(parts.hostname or "")
        return public and not parts.username and len(parts.path) > 1
    except ValueError:
        return False


def shown_url(url: str) -> str:
    """Returns a LoRA's address as people may see it: without a token, wherever it holds one."""
    return mask(url) if _is_fetched(url) else _named(url)


def _named(url: str) -> str:
    """Names an address that may hold a token anywhere: by what surely is none."""
    unnamed = "something else" if url else "nothing"
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # which is no number where a password holds a slash
    except ValueError:
        return unnamed
    known = parts.scheme in ("http", "https", "ftp") and re.fullmatch(r"[\w-]+(\.[\w-]+)+", host)
    return f"one at {parts.scheme}://{host}" if known else unnamed
