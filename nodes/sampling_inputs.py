"""The inputs of the nodes that sample, which more than one of them has."""

from comfy_api.latest import io

from ..samplers import routing, schedules

MODES = {"ode": "euler", "sde": "lcm"}  # the reference's two step rules are ComfyUI samplers
MAX_SEED = 0xFFFFFFFFFFFFFFFF
MAX_STEPS = 100


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
            tooltip="rcm: rCM models and LoRAs. lightning: official 4-step LoRAs. shifted: undistilled models. "
            "auto: what sparse models were trained with, rcm for others.",
        ),
        io.Combo.Input(
            "mode",
            options=list(MODES),
            default="ode",
            tooltip="ode is sharper, and the authors' choice. sde draws fresh noise at each step.",
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
