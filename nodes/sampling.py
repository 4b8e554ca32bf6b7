"""Sampling nodes: the all-in-one sampler, and its parts for ComfyUI's own advanced sampling."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import torch
from comfy_api.latest import io, ui

from ..samplers import routing, schedules
from ..weights.loading import TRAINING
from ..weights.wan import training
from . import receipts, sparse
from .content import JudgedGuider
from .door import Node
from .progress import StepProgress
from .sampling_inputs import MODES, boundary_input, cfg_input, expert_inputs, run_inputs, sigma_max_input


class Sampler(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_Sampler",
            display_name="rCM Sampler",
            description="Samples both experts of Wan 2.2 in one loop, each step on the one that its noise calls for.",
            search_aliases=["wan 2.2 sampler", "moe sampler", "turbo sampler", "lightning", "consistency"],
            inputs=[
                *expert_inputs(),
                io.Latent.Input("latent"),
                *run_inputs(),
            ],
            outputs=[io.Latent.Output("latent"), io.String.Output("plan")],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def validate_inputs(cls, schedule: str, steps: int, sigma_max: float, shift: float) -> bool | str:
        # Before 28 GB are loaded, not after. Naming these takes their checks over from ComfyUI, to the door.
        if None not in (schedule, steps, sigma_max, shift):  # a linked input has no value yet
            schedules.schedule_sigmas(schedule, steps, sigma_max, shift)
        return True

    @classmethod
    def spelled_out(cls, inputs: Mapping[str, Any]) -> dict[str, Any]:
        names = "schedule", "steps", "sigma_max", "shift"
        if inputs["schedule"] == schedules.AUTO:  # the model decides, and the receipt tells it
            return {}
        return {"sigmas": rounded(schedules.schedule_sigmas(*(inputs[name] for name in names)))}

    @classmethod
    def execute(
        cls,
        high: Any,
        low: Any,
        positive: Any,
        latent: dict[str, Any],
        seed: int,
        steps: int,
        schedule: str,
        mode: str,
        cfg: float,
        sigma_max: float,
        shift: float,
        boundary: float,
        negative: Any = None,
    ) -> io.NodeOutput:
        """Samples a latent, of which "samples" is Tensor[B, 16, T, H, W], in its own shape."""
        auto = schedule == schedules.AUTO
        schedule, shift = chosen(high, low, schedule, shift)
        sigmas = schedules.schedule_sigmas(schedule, steps, sigma_max, shift)
        guider = make_guider(high, low, positive, negative, cfg, boundary)
        plan = routing.plan(sigmas.tolist(), boundary)
        if high.is_clone(low):
            plan += " | one model in both slots"
        plan = "\n".join([plan, *about_training(high, low, schedule, shift)])
        progress = StepProgress(
            routing.experts(sigmas.tolist(), boundary), high.model.latent_format, cls.hidden and cls.hidden.unique_id
        )
        samples = progress.watch(sample, guider, latent, seed, sigmas, mode, progress)
        plan = cls.with_receipt(plan, high, auto)
        sampled = {**latent, "samples": samples}
        return io.NodeOutput(sampled, plan, ui=ui.PreviewText(plan))

    @classmethod
    def with_receipt(cls, plan: str, high: Any, auto: bool) -> str:
        """Returns the plan with what the run that ends tells, and keeps that for the saved clip's recipe.

        Args:
            plan: What has run.
            high: The high-noise expert.
            auto: Whether the model decided the schedule, so that the settings do not tell it.
        """
        session = sparse.session_of(high)
        told = [plan] * auto + ([session.text] if session else [])
        if told and cls.hidden and cls.hidden.prompt:
            receipts.keep(str(cls.hidden.unique_id), cls.hidden.prompt, "\n".join(told))
        return f"{plan}\n{session.text}" if session else plan


def chosen(high: Any, low: Any, schedule: str, shift: float) -> tuple[str, float]:
    """Returns a schedule and its shift: those that the experts were trained with where the schedule is auto.

    Raises:
        ValueError: The schedule is auto, and the experts were trained with two.
    """
    if schedule != schedules.AUTO:
        return schedule, shift
    wanted = [training.wanted(model.get_attachment(TRAINING)) for model in (high, low)]
    if wanted[0] != wanted[1]:
        named = [training.spoken(*each) for each in wanted]
        raise ValueError(
            f"The schedule auto must be one for both experts, and it is {named[0]} for the high-noise one and "
            f"{named[1]} for the low-noise one. Choose a schedule, or two files that were trained alike."
        )
    schedule, own = wanted[0]
    return schedule, own or shift


def about_training(high: Any, low: Any, schedule: str, shift: float) -> list[str]:
    """Returns the lines of a plan that say how a run differs from what its files were trained with."""
    trained = [model.get_attachment(TRAINING) for model in (high, low)]
    lines = [
        f"Warning: {subject} trained with the schedule {found.spoken_schedule()}. Choose the schedule auto."
        for subject, found in training.by_subject(*trained).items()
        if (schedule, shift) != (found.schedule, found.shift or shift)
    ]
    if sparse.session_of(high) is None:
        was = "and attention was dense. Put Sparse Attention before this node."
        if sparse.is_changed(high) or sparse.is_changed(low):
            was = (
                "and another node has changed how the experts attend, so nobody here knows whether that was sparse. "
                "Sparse Attention, before this node, runs files as they were trained."
            )
        lines += [
            f"Warning: {subject} trained for sparse attention ({found.name}), {was}"
            for subject, found in training.by_subject(*trained).items()
        ]
    return lines


class RcmSigmas(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_RcmSigmas",
            display_name="rCM Sigmas",
            description="The noise schedule of rCM models, for ComfyUI's own samplers.",
            search_aliases=["rcm scheduler", "consistency scheduler"],
            inputs=[
                io.Int.Input(
                    "steps",
                    default=schedules.OFFICIAL_STEPS,
                    min=1,
                    max=schedules.MAX_STEPS,
                    tooltip="Official for 1 to 4; 5 to 8 refine the same list.",
                ),
                sigma_max_input(),
            ],
            outputs=[io.Sigmas.Output("sigmas")],
        )

    @classmethod
    def spelled_out(cls, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"sigmas": rounded(schedules.rcm_sigmas(inputs["steps"], inputs["sigma_max"]))}

    @classmethod
    def execute(cls, steps: int, sigma_max: float) -> io.NodeOutput:
        """Returns Tensor[steps + 1], falling to 0."""
        return io.NodeOutput(schedules.rcm_sigmas(steps, sigma_max))


class ExpertGuider(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_ExpertGuider",
            display_name="Two-Expert Guider",
            description="Runs both experts of Wan 2.2 behind one guider, for SamplerCustomAdvanced.",
            search_aliases=["dual model guider", "moe guider"],
            inputs=[*expert_inputs(), cfg_input(), boundary_input()],
            outputs=[io.Guider.Output("guider")],
        )

    @classmethod
    def execute(
        cls, high: Any, low: Any, positive: Any, cfg: float, boundary: float, negative: Any = None
    ) -> io.NodeOutput:
        return io.NodeOutput(make_guider(high, low, positive, negative, cfg, boundary))


def rounded(sigmas: torch.Tensor) -> list[float]:
    """Returns sigmas as a recipe tells them."""
    return [round(sigma, 4) for sigma in sigmas.tolist()]


def sample(
    guider: JudgedGuider,
    latent: Mapping[str, Any],
    seed: int,
    sigmas: torch.Tensor,
    mode: str,
    callback: Callable[[int, torch.Tensor, torch.Tensor, int], object],
) -> torch.Tensor:
    """Samples a LATENT over both experts, and calls back after each step. Returns its "samples"."""
    samples = guider.sample(
        cast(torch.Tensor, comfy.sample.prepare_noise(latent["samples"], seed, latent.get("batch_index"))),
        latent["samples"],
        comfy.samplers.sampler_object(MODES[mode]),
        sigmas,
        latent.get("noise_mask"),
        callback,
        not comfy.utils.PROGRESS_BAR_ENABLED,
        seed,
    )
    return samples.to(comfy.model_management.intermediate_device())


def make_guider(high: Any, low: Any, positive: Any, negative: Any, cfg: float, boundary: float) -> JudgedGuider:
    """Builds the guider, and refuses a guidance scale that has nothing to guide away from."""
    if negative is None and cfg != 1.0:
        raise ValueError(
            f"cfg other than 1 needs a negative prompt, got cfg {cfg:g} and none connected. "
            "Connect negative, or set cfg to 1 as distilled models want it."
        )
    sparse.check_slots(high, low)
    guider = JudgedGuider(high, low, boundary)
    guider.inner_set_conds({"positive": positive} if negative is None else {"positive": positive, "negative": negative})
    guider.set_cfg(cfg)
    return guider
