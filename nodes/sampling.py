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
from . import receipts, sparse
from .content import JudgedGuider
from .door import Node
from .progress import StepProgress

MODES = {"ode": "euler", "sde": "lcm"}  # the reference's two step rules are ComfyUI samplers
MAX_SEED = 0xFFFFFFFFFFFFFFFF
MAX_STEPS = 100


class Sampler(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_Sampler",
            display_name="rCM Sampler",
            category="wan 2.2 turbo",
            description="Samples both experts of Wan 2.2 in one loop, each step on the one that its noise calls for.",
            search_aliases=["wan 2.2 sampler", "moe sampler", "turbo sampler", "lightning", "consistency"],
            inputs=[
                *expert_inputs(),
                io.Latent.Input("latent"),
                *run_inputs(),
            ],
            outputs=[
                io.Latent.Output("latent", display_name="latent"),
                io.String.Output("plan", display_name="plan"),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def validate_inputs(cls, schedule: str, steps: int, sigma_max: float, shift: float) -> bool | str:
        # Before 28 GB are loaded, not after. Naming these takes their checks over from ComfyUI, to the door.
        if None in (schedule, steps, sigma_max, shift):  # a linked input has no value yet
            return True
        try:
            schedules.schedule_sigmas(schedule, steps, sigma_max, shift)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def spelled_out(cls, inputs: Mapping[str, Any]) -> dict[str, Any]:
        names = "schedule", "steps", "sigma_max", "shift"
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
        sigmas = schedules.schedule_sigmas(schedule, steps, sigma_max, shift)
        guider = make_guider(high, low, positive, negative, cfg, boundary)
        plan = routing.plan(sigmas.tolist(), boundary)
        if high.is_clone(low):
            plan += " | one model in both slots"
        progress = StepProgress(
            routing.experts(sigmas.tolist(), boundary), high.model.latent_format, cls.hidden and cls.hidden.unique_id
        )
        samples = progress.watch(sample, guider, latent, seed, sigmas, mode, progress)
        plan += cls.receipt(high)
        sampled = {**latent, "samples": samples}
        return io.NodeOutput(sampled, plan, ui=ui.PreviewText(plan))

    @classmethod
    def receipt(cls, high: Any) -> str:
        """Returns what the run that ends adds to the plan, and keeps it for the saved clip's recipe."""
        session = sparse.session_of(high)
        if session is None:
            return ""
        if cls.hidden and cls.hidden.prompt:
            receipts.keep(str(cls.hidden.unique_id), cls.hidden.prompt, session.text)
        return f"\n{session.text}"


class RcmSigmas(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_RcmSigmas",
            display_name="rCM Sigmas",
            category="wan 2.2 turbo",
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
            outputs=[io.Sigmas.Output("sigmas", display_name="sigmas")],
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
            category="wan 2.2 turbo",
            description="Runs both experts of Wan 2.2 behind one guider, for SamplerCustomAdvanced.",
            search_aliases=["dual model guider", "moe guider"],
            inputs=[*expert_inputs(), cfg_input(), boundary_input()],
            outputs=[io.Guider.Output("guider", display_name="guider")],
        )

    @classmethod
    def execute(
        cls, high: Any, low: Any, positive: Any, cfg: float, boundary: float, negative: Any = None
    ) -> io.NodeOutput:
        return io.NodeOutput(make_guider(high, low, positive, negative, cfg, boundary))


def rounded(sigmas: torch.Tensor) -> list[float]:
    """Returns sigmas as a recipe tells them."""
    return [round(sigma, 4) for sigma in sigmas.tolist()]


def expert_inputs() -> list[io.Input]:
    """Returns the sockets that the sampler and the guider begin with."""
    return [
        io.Model.Input("high", tooltip="High-noise expert."),
        io.Model.Input("low", tooltip="Low-noise expert."),
        io.Conditioning.Input("positive"),
        io.Conditioning.Input("negative", optional=True, tooltip="Read only when cfg is not 1."),
    ]


def run_inputs(then: io.ControlAfterGenerate | bool = True) -> list[io.Input]:
    """Returns the inputs from the seed to the boundary: all that a run of the sampler is told.

    Args:
        then: What becomes of the seed of a new node after a run; True is ComfyUI's usual.
    """
    return [
        io.Int.Input("seed", default=0, min=0, max=MAX_SEED, control_after_generate=then),
        io.Int.Input(
            "steps",
            default=schedules.OFFICIAL_STEPS,
            min=1,
            max=MAX_STEPS,
            tooltip="Model evaluations, both experts together. rcm is official for 1 to 4 and takes up to 8.",
        ),
        io.Combo.Input(
            "schedule",
            options=list(schedules.SCHEDULES),
            default="rcm",
            tooltip="rcm: rCM models and LoRAs. lightning: official 4-step LoRAs. shifted: undistilled models.",
        ),
        io.Combo.Input(
            "mode",
            options=list(MODES),
            default="ode",
            tooltip="ode is sharper, and the authors' choice. sde draws fresh noise at each step: more robust.",
        ),
        cfg_input(),
        sigma_max_input(),
        io.Float.Input(
            "shift",
            default=5.0,
            min=0.01,
            max=100.0,
            step=0.1,
            round=0.01,
            advanced=True,
            tooltip="Moves the steps towards high noise. Read by shifted only.",
        ),
        boundary_input(),
    ]


def cfg_input() -> io.Input:
    """Returns the input of the guidance scale."""
    return io.Float.Input(
        "cfg",
        default=1.0,
        min=0.0,
        max=100.0,
        step=0.1,
        round=0.01,
        tooltip="1 for distilled models: anything else doubles the time. 3.5 for the undistilled one.",
    )


def sigma_max_input() -> io.Input:
    """Returns the input that says where the rCM schedule begins."""
    return io.Float.Input(
        "sigma_max",
        default=schedules.SIGMA_MAX,
        min=1.0,
        max=10000.0,
        step=1.0,
        round=0.01,
        advanced=True,
        tooltip="First noise level of the rcm schedule. Higher varies less between seeds and may look better.",
    )


def boundary_input() -> io.Input:
    """Returns the input that says where the experts change places."""
    return io.Float.Input(
        "boundary",
        default=routing.I2V_BOUNDARY,
        min=0.0,
        max=1.0,
        step=0.001,
        round=0.0001,
        advanced=True,
        tooltip="Noise level at which the low-noise expert takes over. Wan 2.2 I2V was trained with 0.9.",
    )


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
