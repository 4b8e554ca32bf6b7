"""What a person sees while a clip is sampled: one bar, a few words, and the clip in the making."""

import time
from collections.abc import Callable
from typing import Any

import comfy.utils
import torch
from comfy.cli_args import LatentPreviewMethod, args
from comfy_execution.progress import get_progress_state
from server import PromptServer

from ..filters.question import ContentError
from ..media import preview
from ..samplers.routing import Expert


class StepProgress:
    """The callback of a sampler over both experts.

    Args:
        experts: Which expert runs which step.
        latent_format: Of the model; its linear approximation of the VAE colours the preview.
        node_id: Where the words appear; None without a server.
    """

    def __init__(self, experts: list[Expert], latent_format: Any, node_id: str | None):
        self.experts = experts
        self.latent_format = latent_format
        self.node_id = node_id
        self.bar = comfy.utils.ProgressBar(len(experts), node_id=node_id)
        self.began = time.perf_counter()
        self.say(f"Step 1 of {len(experts)}, {experts[0]}-noise expert")

    def __call__(self, step: int, x0: torch.Tensor, x: torch.Tensor, total: int) -> None:
        """Reports a finished step. ComfyUI's bar raises its interrupt from here."""
        done = step + 1
        self.bar.update_absolute(done, total, picture(x0, self.latent_format))
        if done < total:
            left = (time.perf_counter() - self.began) / done * (total - done)
            self.say(f"Step {done + 1} of {total}, {self.experts[done]}-noise expert, about {duration(left)} left")

    def watch(self, sample: Callable[..., torch.Tensor], *arguments: Any) -> torch.Tensor:
        """Runs a sampler, and says how it ended in place of the last step."""
        try:
            samples = sample(*arguments)
        except BaseException as error:
            self.say(reason(error) or "Stopped before the end")
            raise
        count = len(self.experts)
        self.say(f"{count} step{'s' * (count > 1)} in {duration(time.perf_counter() - self.began)}")
        return samples

    def say(self, text: str) -> None:
        """Shows a few words on the node."""
        say(text, self.node_id)


def picture(x0: torch.Tensor, latent_format: Any) -> tuple[str, Any, None] | None:
    """Returns the preview in the form of ComfyUI's channel, or None where the user wants none."""
    if args.preview_method == LatentPreviewMethod.NoPreviews:
        return None
    factors, bias = latent_format.latent_rgb_factors, latent_format.latent_rgb_factors_bias
    return "PNG", preview.Loop(preview.latent_to_rgb(x0, torch.tensor(factors), torch.tensor(bias))), None


def say(text: str, node_id: str | None) -> None:
    """Shows a few words on a node."""
    server = getattr(PromptServer, "instance", None)
    if server is not None and server.client_id is not None and node_id is not None:
        server.send_progress_text(text, node_id, server.client_id)  # to whom the bar goes, and nobody else


def reason(error: BaseException) -> str:
    """Returns why a content filter said no, for the node: the frontend has it behind a button, in a log. Else ""."""
    return str(error) if isinstance(error, ContentError) else ""


def not_begun(node_id: str | None) -> None:
    """Takes back that a node runs: ComfyUI says so from the first look at its inputs, however long they take to come.

    Else the frontend would show the bar of that node in place of the sampler's.
    """
    if node_id is not None:
        get_progress_state().finish_progress(node_id)


def duration(seconds: float) -> str:
    """Writes seconds as a person says them."""
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60:02d} s"
