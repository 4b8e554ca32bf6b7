"""Hosted Wan 2.2 I2V and Hosted LoRA: the clip is made by a provider, the graph stays the same."""

import os
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy.cli_args import args
from comfy_api.latest import InputImpl, io
from comfy_execution.utils import get_executing_context

from ..common.text import quoted
from ..hosted import credentials, request
from ..hosted.client import Client
from ..hosted.errors import PolicyError, RequestError
from ..hosted.ledger import Ledger
from ..hosted.polling import Status
from ..hosted.providers import DURATIONS, OFFERS, RESOLUTIONS
from ..hosted.settings import Settings
from ..media import resize
from ..media.finite import check_pictures
from ..weights.loras import triggers
from .content import run_hosted
from .door import Node
from .hosted_wait import Teller, attended
from .progress import Told

KEEP, STOP = "keep", "stop"
SHORT, LONG = DURATIONS
Loras = io.Custom("WAN22TURBO_HOSTED_LORAS")


class HostedLora(Node):
    OWN_BOUNDS = frozenset({"scale"})

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_HostedLora",
            display_name="Hosted LoRA",
            description="A LoRA on the internet for Hosted Wan 2.2 I2V. The provider fetches it, not this machine.",
            search_aliases=["api lora", "lora url", "cloud lora"],
            inputs=[
                io.String.Input(
                    "url",
                    default="",
                    placeholder="https://huggingface.co/.../resolve/main/lora.safetensors",
                    tooltip="Public https address of a .safetensors file, or a Hugging Face id: owner/repository.",
                ),
                io.Float.Input(
                    "scale",
                    default=1.0,
                    min=0.0,
                    max=request.MAX_SCALE,
                    step=0.05,
                    round=0.001,
                    tooltip="Strength. Providers suggest 0.5 to 1.",
                ),
                io.Combo.Input(
                    "expert",
                    options=list(request.EXPERTS),
                    default="both",
                    tooltip="Which expert it was trained for: files come in pairs, one for high and one for low noise.",
                ),
                io.String.Input(
                    "trigger_words", default="", tooltip="Separated by commas. They go in front of the prompt."
                ),
                Loras.Input("loras", optional=True, tooltip="Of another Hosted LoRA: up to three for each expert."),
            ],
            outputs=[Loras.Output("loras")],
        )

    @classmethod
    def validate_inputs(
        cls,
        url: str | None = None,
        scale: float | None = None,
        trigger_words: str | None = None,
        loras: object = None,  # the door looks at what is named here
    ) -> bool | str:
        # Checked before the run, since the report of a failed node would show the address with its token.
        if url is not None:
            request.Lora(url.strip(), 1.0 if scale is None else scale, "both", trigger_words or "").check()
        return True

    @classmethod
    def execute(
        cls, url: str, scale: float, expert: request.Expert, trigger_words: str, loras: Any = ()
    ) -> io.NodeOutput:
        earlier = loras if isinstance(loras, tuple) else (loras,)  # refused by the next node, which shows no address
        return io.NodeOutput((*earlier, request.Lora(url.strip(), scale, expert, trigger_words)))


class Hosted(Node):
    OWN_BOUNDS = frozenset({"seed"})

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_Hosted",
            display_name="Hosted Wan 2.2 I2V",
            description="A picture becomes a clip at WaveSpeed, AtlasCloud or 302.AI: no GPU, but a price.",
            search_aliases=["api", "cloud", "wavespeed", "atlascloud", "302.ai", "no gpu", "image to video"],
            inputs=[
                io.Image.Input(
                    "image", tooltip="One picture. The clip starts with it; it is uploaded to the provider."
                ),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    dynamic_prompts=True,
                    placeholder="What should move, and how?",
                    tooltip="Long, plain English sentences work best.",
                ),
                io.Combo.Input(
                    "model",
                    options=list(OFFERS),
                    tooltip="Provider and model. unrestricted: without content moderation, and off until the operator "
                    "of this ComfyUI allows it.",
                ),
                io.Combo.Input(
                    "resolution", options=list(RESOLUTIONS), default="480p", tooltip="Not all models take all."
                ),
                io.Int.Input(  # a combo of numbers is drawn as an error in Nodes 2.0
                    "duration",
                    default=SHORT,
                    min=SHORT,
                    max=LONG,
                    step=LONG - SHORT,
                    tooltip=f"Seconds: {SHORT} or {LONG}.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=request.MAX_SEED,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="The same inputs with the same seed are one job, paid once. Change it for another clip.",
                ),
                io.String.Input(
                    "negative_prompt",
                    default="",
                    multiline=True,
                    tooltip="What should not be there. Few models take one.",
                ),
                io.Image.Input("last_image", optional=True, tooltip="The clip arrives at it. Few models take one."),
                Loras.Input("loras", optional=True, tooltip="Of Hosted LoRA, for models whose name ends in -lora."),
                io.Combo.Input(
                    "if_flagged",
                    options=[KEEP, STOP],
                    default=KEEP,
                    tooltip="stop: a clip that the provider's content filter flags is not saved.",
                ),
            ],
            outputs=[io.Video.Output("video"), io.String.Output("report")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls,
        model: str | None = None,
        resolution: str | None = None,
        duration: int | None = None,
        seed: int | None = None,
        prompt: str | None = None,
        negative_prompt: str | None = None,
    ) -> bool | str:
        request.check_settings(model, resolution, duration, seed, prompt, negative_prompt)
        if model is not None:
            find_key(model)
        return True

    @classmethod
    async def execute(
        cls,
        image: torch.Tensor,
        prompt: str,
        model: str,
        resolution: str,
        duration: int,
        seed: int,
        negative_prompt: str,
        if_flagged: str,
        last_image: torch.Tensor | None = None,
        loras: tuple[request.Lora, ...] = (),
    ) -> io.NodeOutput:
        """Makes a clip at a provider from the picture `image`, Tensor[1, H, W, C] in [0, 1], as is `last_image`.

        Raises:
            HostedError: The job was refused, failed or cannot be fetched, each with the reason and what to do.
        """
        loras = checked(loras)
        words = [word for lora in loras for word in triggers.typed_words(lora.trigger_words)]
        asked = request.Request(
            offer=model,
            prompt=triggers.merge(prompt, words, "prepend"),
            image=to_picture(image, "image"),
            resolution=resolution,
            duration=duration,
            seed=seed,
            negative_prompt=negative_prompt,
            last_image=None if last_image is None else to_picture(last_image, "last_image"),
            loras=loras,
        )
        asked.check()
        context, status = get_executing_context(), Status()
        run_id, stop = context.prompt_id if context else "", if_flagged == STOP
        work = run_hosted(make_client(model), asked, status, run_id, stop)
        teller = Teller(asked, status, cls.hidden.unique_id)
        clip = await attended(work, teller)
        report = clip.report(asked)
        teller.say(report)  # it stays on the node
        told = Told(report) if clip.usd is None else Told(report, usd=clip.usd)
        return io.NodeOutput(InputImpl.VideoFromFile(str(clip.path)), report, ui=told)


def checked(loras: Any) -> tuple[request.Lora, ...]:
    """Returns what came in as `loras`; RequestError for a plain value, which a prompt may hold in place of a link."""
    if not isinstance(loras, tuple) or not all(isinstance(lora, request.Lora) for lora in loras):
        raise RequestError(f"A hosted node takes loras from Hosted LoRA, got {quoted(loras)}. Connect one.")
    return loras


def to_picture(image: torch.Tensor, name: str) -> request.Picture:
    """Converts an IMAGE of one picture.

    Args:
        image: Tensor[1, H, W, C], in [0, 1]; grey (C = 1), RGB (3) or RGB with straight alpha (4).

    Raises:
        RequestError: It holds none, or several, or the picture holds whole numbers, NaN or infinity.
    """
    if not isinstance(image, torch.Tensor):
        raise RequestError(f"A hosted model takes pictures as {name}, got {quoted(image)}. Connect one.")
    if len(image) != 1:
        raise RequestError(f"A hosted model takes one picture as {name}, got {len(image)}. Choose one of them.")
    try:
        check_pictures(image, f"The picture for {name}")
    except ValueError as error:  # it would be paid for
        raise RequestError(str(error)) from None
    pixels = resize.to_rgb(image[0].float().clamp(0, 1).cpu().numpy())
    return request.Picture((pixels * 255).round().astype(np.uint8))


def find_key(model: str) -> str:
    """Returns the key for a model; HostedError if there is none, or the model may not be used here."""
    provider, row = request.find_offer(model)
    if args.disable_api_nodes:
        raise PolicyError("This ComfyUI was started with --disable-api-nodes, so hosted models are switched off.")
    Settings(os.environ).check_allowed(provider, row)
    return credentials.find_key(provider, private_folder(), os.environ)


def make_client(model: str) -> Client:
    """Returns a client for a model, with the folders of this ComfyUI."""
    clips = Path(folder_paths.get_temp_directory())
    return Client(find_key(model), Ledger(private_folder() / "jobs"), clips, Settings(os.environ))


def private_folder() -> Path:
    """Returns this pack's folder in ComfyUI's user directory, which ComfyUI serves to nobody."""
    return Path(folder_paths.get_user_directory()) / credentials.FOLDER
