"""What the operator's content filters see of ComfyUI, and where they are asked: in three places, whatever the graph.

Before sampling, in the guider, which both sampling nodes end in. It knows no text: to it, prompts are tensors. So while
a filter is named, ComfyUI's text encoder notes which text each tensor was made of, as it was when all links, lists,
primitives and subgraphs had become one string; and Image to Video Latent notes which pictures. What nobody noted is
refused, since nobody can judge it. Before a hosted job is paid, in its node. And before a clip gets its name.
"""

import asyncio
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.sd
import numpy as np
import torch
from comfy_execution.utils import get_executing_context
from torch.utils.weak import WeakTensorKeyDictionary
from typing_extensions import override

from ..filters.question import HINT, ContentError, Question
from ..filters.settings import LOOKING, READING, Settings
from ..hosted.client import Client, Clip
from ..hosted.polling import Status
from ..hosted.request import Request, shown_url
from ..media.publish import NextName
from ..samplers.guider import PICTURE_HOOKS, TwoExpertGuider
from .progress import reason, say

PICTURE = "concat_latent_image"  # ComfyUI's name in a conditioning for what the VAE made of the start picture
# Of a conditioning, what is neither text nor picture although it is no plain value.
NEUTRAL = frozenset({"cross_attn", "pooled_output", "attention_mask", "concat_mask", "mask", "hooks", "uuid", "area"})

_texts = WeakTensorKeyDictionary()  # what a text encoder made -> of which text; gone with the tensor
_pictures = WeakTensorKeyDictionary()  # what the VAE made -> of which pictures, uint8[H, W, 3] each

Tokens = dict[str, Any]
Conds = Mapping[str, list[dict[str, Any]]]


class Read(dict[str, Any]):
    """Tokens that still know their text."""

    def __init__(self, tokens: Tokens, text: str) -> None:
        super().__init__(tokens)
        self.text = text
        self.rows = rows_of(tokens)

    def is_whole(self) -> bool:
        """Returns whether nobody has put other tokens in since."""
        rows = rows_of(self)
        return len(rows) == len(self.rows) and all(map(same, rows, self.rows))


def rows_of(tokens: Tokens) -> list[tuple[Any, ...]]:
    """Returns the tokens in the rows that an encoder takes, and the names of their tokenisers."""
    return [(name, *row) for name in tokens for row in tokens[name]]


def same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Returns whether two rows hold the very same tokens."""
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def watch_texts() -> Callable[[], None]:
    """Lets ComfyUI's text encoders note their texts if a filter is named, and returns how that is undone."""
    kind = comfy.sd.CLIP
    kept = {name: getattr(kind, name) for name in WATCHED}
    if settings() and not any(map(is_ours, kept.values())):
        for name, watched in WATCHED.items():
            setattr(kind, name, watched(kept[name]))

    def undo() -> None:
        for name, method in kept.items():
            setattr(kind, name, method)

    return undo


def is_ours(method: Any) -> bool:
    """Returns whether a method notes texts already. Other packs wrap methods, too."""
    return getattr(method, "__globals__", None) is globals()


def _reading(tokenize: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(tokenize)
    def read(clip: Any, text: Any, *rest: Any, **named: Any) -> Any:
        tokens = tokenize(clip, text, *rest, **named)
        try:
            return Read(tokens, text) if isinstance(text, str) and type(tokens) is dict else tokens
        except TypeError:  # tokens of another shape, so that their text is not known
            return tokens

    return read


def _noting(encode: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(encode)
    def note(clip: Any, tokens: Any, *rest: Any, **named: Any) -> Any:
        made = encode(clip, tokens, *rest, **named)
        if isinstance(tokens, Read) and tokens.is_whole():
            for tensor in encoded_in(made):
                _texts[tensor] = tokens.text
        return made

    return note


WATCHED = {"tokenize": _reading, "encode_from_tokens": _noting, "encode_from_tokens_scheduled": _noting}


def encoded_in(made: Any) -> list[torch.Tensor]:
    """Returns the encoded text in what an encoder returns: a tensor, with more beside it, or a conditioning."""
    if isinstance(made, list):
        return [entry[0] for entry in made]
    made = made["cond"] if isinstance(made, dict) else made[0] if isinstance(made, tuple) else made
    return [made]


def note_pictures(conditioning: Any, *images: torch.Tensor | None) -> None:
    """Notes which pictures a conditioning holds, Tensor[1, H, W, 3] each, if a filter looks at pictures."""
    if settings().any_of(LOOKING):
        pixels = tuple(to_pixels(image) for image in images if image is not None)
        for _, more in conditioning:
            _pictures[more[PICTURE]] = pixels


def to_pixels(image: torch.Tensor) -> np.ndarray:
    """Returns Tensor[1, H, W, 3] in [0, 1] as uint8[H, W, 3]."""
    return (image[0].float().clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8)


class JudgedGuider(TwoExpertGuider):
    """A guider that samples what the operator's content filters let pass."""

    @override
    def sample(self, noise: torch.Tensor, latent_image: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        """Asks the filters, then samples as `TwoExpertGuider` does."""
        if settings():
            with shown_on_the_node():
                ask_here(self.question(latent_image))
        return super().sample(noise, latent_image, *rest, **named)

    def question(self, latent_image: torch.Tensor) -> Question:
        """Returns what the filters are asked; ContentError where a text or picture is not known that they must see."""
        known, conds = settings(), self.original_conds
        written, shown = {}, ()
        if known.any_of(READING):
            written = {name: "\n".join(texts_of(name, conds[name])) for name in conds}
        if known.any_of(LOOKING):
            patches = (key for each in (self, self.low) for key in each.model_patcher.object_patches)
            if torch.count_nonzero(latent_image) or any(key.startswith(PICTURE_HOOKS) for key in patches):
                raise unknown("picture", "latent", PICTURE_REMEDY)
            shown = pictures_of(conds)
        outcome = f"Nothing was sampled. {HINT}"
        return Question("prompt", outcome, written.get("positive", ""), written.get("negative", ""), shown=shown)


def texts_of(name: str, conds: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the texts of a conditioning; ContentError where one is not known. Zeros hold none."""
    texts = []
    for cond in conds:
        encoded = cond.get("cross_attn")
        text = None if encoded is None else _texts.get(encoded)
        if text is None and (encoded is None or encoded.any()):
            raise unknown("text", name, TEXT_REMEDY)
        texts.append(text or "")
    return texts


def pictures_of(conds: Conds) -> tuple[np.ndarray, ...]:
    """Returns the pictures of all conditioning, each once; ContentError where one is not known, or there is none."""
    found: dict[int, np.ndarray] = {}
    for name, entries in conds.items():
        for cond in entries:
            pixels = _pictures.get(cond[PICTURE]) if isinstance(cond.get(PICTURE), torch.Tensor) else None
            others = (key for key, value in cond.items() if key not in NEUTRAL and not is_plain(value))
            if pixels is None or any(key != PICTURE for key in others):
                raise unknown("picture", name, PICTURE_REMEDY)
            found.update((id(each), each) for each in pixels)
    return tuple(found.values())


def is_plain(value: Any) -> bool:
    """Returns whether a value is a number, a word, or a collection of such, and so shows nothing."""
    if isinstance(value, dict):
        return all(map(is_plain, value.values()))
    return all(map(is_plain, value)) if isinstance(value, list | tuple) else isinstance(value, int | float | str | None)


TEXT_REMEDY = (
    "Take the clip of Load Wan 2.2 I2V or of a loader of ComfyUI, encode each text with CLIP Text Encode, and join "
    "texts before that, not as conditioning."
)
PICTURE_REMEDY = "Give the picture to Image to Video Latent, and the latent of that to the sampler."


def unknown(what: str, where: str, remedy: str) -> ContentError:
    """Returns the error for a text or a picture that the filters cannot see."""
    return ContentError(
        f"The content filter of this ComfyUI must see every {what}, and which one is in '{where}' is not known. "
        f"Nothing was sampled. {remedy}"
    )


def settings() -> Settings:
    """Returns what the operator decides about content."""
    return Settings(os.environ)


def ask_here(question: Question) -> None:
    """Asks the filters, and hands ComfyUI's interrupt on meanwhile; ContentError if one says no."""
    from ..filters.ask import ask  # here, so that ComfyUI starts no slower where no filter is set

    ask(question, os.environ, comfy.model_management.throw_exception_if_processing_interrupted)


@contextmanager
def shown_on_the_node() -> Iterator[None]:
    """Shows why a filter says no on the node that runs, which may be one of ComfyUI's."""
    try:
        yield
    except ContentError as error:
        context = get_executing_context()
        say(reason(error), context and context.node_id)
        raise


async def run_hosted(client: Client, asked: Request, status: Status, *rest: Any) -> Clip:
    """Runs a hosted job that the filters let pass, and returns its clip if they let that pass, too.

    Raises:
        ContentError: A filter says no: before anything is sent, or of the clip, which is removed again.
        HostedError: As in `Client.run`.
    """
    if not settings():
        return await client.run(asked, status, *rest)
    status.words = "asking the content filter"
    await asyncio.to_thread(ask_here, question_of(asked))
    clip = await client.run(asked, status, *rest)
    status.words = "asking the content filter"
    try:
        await asyncio.to_thread(ask_about_clip, clip.path, "The clip is paid, and no file of it was kept here.")
    except BaseException:
        clip.path.unlink(missing_ok=True)  # it can be fetched again
        raise
    return clip


def question_of(asked: Request) -> Question:
    """Returns what the filters are asked of a hosted job."""
    pictures = (asked.image, asked.last_image)
    return Question(
        "prompt",
        f"Nothing was sent or paid. {HINT}",
        asked.prompt,
        asked.negative_prompt,
        tuple(lora.trigger_words for lora in asked.loras if lora.trigger_words),
        tuple(shown_url(lora.url) for lora in asked.loras),
        tuple(picture.pixels for picture in pictures if picture),
    )


def ask_about_clip(clip: Path, outcome: str = "No file was saved.") -> None:
    """Asks the filters that look at clips; ContentError if one says no."""
    if clips_are_judged():
        with shown_on_the_node():
            ask_here(Question("clip", outcome, clip=clip))


def clips_are_judged() -> bool:
    """Returns whether a filter looks at clips, so that none may stay in the output folder that has not passed."""
    return settings().any_of(LOOKING)


class JudgedName(NextName):
    """The next free name of a series, for a clip that the operator's content filters let pass."""

    @override
    def take(self, file: Path) -> None:
        """Asks the filters, then gives the finished file its name."""
        ask_about_clip(file)
        super().take(file)
