"""Sparse Attention: both experts attend to the part of a clip that matters, with a receipt that tells the error."""

from collections.abc import Callable
from math import ceil
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.latest import io, ui

from ..attention import kernels
from ..attention.session import Evaluation, Session, Settings
from ..attention.trained import Training
from ..samplers.guider import check_expert, check_pair
from ..samplers.routing import Expert
from ..weights.loading import SLA, TRAINING
from . import progress
from .door import Node

MODES = ("auto", "trained", "training-free", "off")
KEY = "wan22_turbo.sparse_attention"  # of the attachment and the wrappers on a model, and in its transformer options
OVERRIDE = "optimized_attention_override"
OTHER = ("mask", "scale")  # arguments of ComfyUI's attention that make it another one than Wan's own
PATCH = 2  # rows and columns of the latent that make a token


class SparseAttention(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_SparseAttention",
            display_name="Sparse Attention",
            description="Computes the part of self-attention that matters, on both experts, and measures the error.",
            search_aliases=["sparse attention", "sla", "sol-attn", "radial attention", "faster"],
            inputs=[
                io.Model.Input("high", tooltip="High-noise expert."),
                io.Model.Input("low", tooltip="Low-noise expert."),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="auto",
                    tooltip="auto runs files as they were trained, others training-free. "
                    "trained is the same with your own density.",
                ),
                io.Float.Input(
                    "density",
                    default=Settings().density,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    round=0.001,
                    tooltip="Share of attention that is computed exactly. Lower is faster; 1 is exact.",
                ),
                io.Int.Input(
                    "dense_steps",
                    default=Settings().dense_steps,
                    min=0,
                    max=100,
                    tooltip="So many first steps are exact, both experts counted together. 0 is fastest.",
                ),
                io.Float.Input(
                    "error_limit",
                    default=Settings().error_limit,
                    min=0.001,
                    max=1.0,
                    step=0.01,
                    round=0.001,
                    tooltip="A layer whose measured error may be larger is exact for the rest of the run.",
                ),
                io.Combo.Input(
                    "kernel",
                    options=[kernels.AUTO, *(kernel.name for kernel in kernels.KERNELS)],
                    default=kernels.AUTO,
                    advanced=True,
                    tooltip="auto takes the best that this machine has. The receipt names it.",
                ),
            ],
            outputs=[io.Model.Output("high"), io.Model.Output("low"), io.String.Output("report")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, high: Any, low: Any, mode: str, density: float, dense_steps: int, error_limit: float, kernel: str
    ) -> io.NodeOutput:
        if mode == "off":
            report = "Mode is off: the experts leave this node as they came, and attend as before."
            return io.NodeOutput(high, low, report, ui=ui.PreviewText(report))
        models: dict[Expert, Any] = {"high": high, "low": low}
        check_models(models, mode)
        training = training_of(models) if mode != "training-free" else None
        if training and mode == "auto":
            density = high.get_attachment(TRAINING).density
        settings = Settings(density, dense_steps, error_limit, kernel, training)
        session = Session(settings, tell(cls.hidden and cls.hidden.unique_id))
        report = describe(models, settings)
        patched = [with_sparse_attention(model, expert, session) for expert, model in models.items()]
        return io.NodeOutput(*patched, report, ui=ui.PreviewText(report))


def tell(node_id: str | None) -> Callable[[str], None]:
    """Returns what shows a receipt on the node."""
    return lambda text: progress.say(text, node_id)


def session_of(model: Any) -> Session | None:
    """Returns what Sparse Attention has put on a model; None where it has not."""
    return model.get_attachment(KEY)


def is_changed(model: Any) -> bool:
    """Returns whether some node has a hand in how a model attends, so that it may be dense or not."""
    options = model.model_options.get("transformer_options", {})
    return bool(
        OVERRIDE in options or options.get("patches_replace") or any("attn" in key for key in model.object_patches)
    )


def check_models(models: dict[Expert, Any], mode: str) -> None:
    """Refuses models that cannot be made sparse.

    Raises:
        ValueError: They are no experts of Wan 2.2 I2V, are sparse already, or were not trained for what `mode` asks.
    """
    for expert, model in models.items():
        check_expert(expert, model)
        if session_of(model) is not None:
            raise ValueError(
                f"A model takes Sparse Attention once, and the {expert}-noise expert has it already. "
                "Remove one of the two nodes, or set its mode to off."
            )
    check_pair(models["high"], models["low"])
    if mode == "trained" and training_of(models) is None:
        raise ValueError(
            "Mode trained needs two files that were trained to be sparse in one way, and loaded by Load Wan 2.2 I2V. "
            f"These were trained so: {_trainings(models)}. Choose training-free, or auto. LightWan2.2's are known by "
            "their nvfp4 layout, and nvfp4 and sparse, or LightWan, in the name of the file or its folder."
        )


def training_of(models: dict[Expert, Any]) -> Training | None:
    """Returns how a pair was trained to be sparse; None where its files were not, or each in its own way."""
    high, low = (model.get_attachment(TRAINING) for model in models.values())
    if high is None or high != low:
        return None
    return Training(high.name, {expert: model.get_attachment(SLA) or {} for expert, model in models.items()})


def _trainings(models: dict[Expert, Any]) -> str:
    found = {expert: model.get_attachment(TRAINING) for expert, model in models.items()}
    return ", ".join(f"{expert} {each.name if each else 'none'}" for expert, each in found.items())


def check_slots(high: Any, low: Any) -> None:
    """Refuses a pair of which one expert alone is sparse, or each on its own.

    Raises:
        ValueError: One Sparse Attention must have both experts.
    """
    sessions = session_of(high), session_of(low)
    if sessions[0] is not sessions[1]:
        raise ValueError(
            "Both experts must come through one Sparse Attention, and "
            + ("each came through its own" if None not in sessions else f"the {_other(sessions)}-noise one did not")
            + ". Connect both outputs of the node, so that steps and errors are counted once."
        )


def _other(sessions: tuple[Session | None, Session | None]) -> Expert:
    return "high" if sessions[0] is None else "low"


def describe(models: dict[Expert, Any], settings: Settings) -> str:
    """Returns before a run what will be sparse, and what is to be known of these models.

    Raises:
        ValueError: The kernel that was chosen is none for this machine.
    """
    high, training = models["high"], settings.training
    dtype = high.model.manual_cast_dtype or high.model_dtype()
    kernel, reasons = kernels.choose(settings.kernel, high.load_device, dtype, trained=training is not None)
    way = f"as the files were trained ({training.name})" if training else "training-free"
    steps = "None" if training else str(settings.dense_steps)
    lines = [
        f"Sparse attention, {way}, density {settings.density:g}, kernel {kernel.name}. "
        f"First steps that stay dense: {steps}. What was sparse, the sampler tells after its run."
    ]
    lines += [f"No better kernel: {reason}." for reason in reasons]
    lines += _about_training(models, settings)
    overrides = [expert for expert, model in models.items() if OVERRIDE in _options(model)]
    if overrides:
        lines.append(f"Warning: {' and '.join(overrides)} had another attention. It computes what stays dense.")
    if len(overrides) == 1:
        lines.append("Warning: The experts are patched differently, so dense steps of one differ from the other's.")
    return "\n".join(lines)


def _about_training(models: dict[Expert, Any], settings: Settings) -> list[str]:
    found = [model.get_attachment(TRAINING) for model in models.values()]
    if settings.training:
        return [
            "dense_steps and error_limit are for training-free attention. rCM Sampler's schedule auto takes the one of "
            f"the training: {found[0].spoken_schedule()}. {found[0].advice} Mode trained takes the node's density."
        ]
    if not any(found):
        return []
    return [f"Warning: These files were trained to be sparse ({_trainings(models)}), and run training-free."]


def with_sparse_attention(model: Any, expert: Expert, session: Session) -> Any:
    """Returns a clone of an expert whose self-attention goes through a session."""
    clone = model.clone()
    clone.set_attachments(KEY, session)
    options = _options(clone)
    options[OVERRIDE] = override(options.get(OVERRIDE))
    clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, watch_run(session))
    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, watch_evaluation(expert, session))
    return clone


def _options(model: Any) -> dict[str, Any]:
    return model.model_options.setdefault("transformer_options", {})


def override(previous: Callable[..., Any] | None) -> Callable[..., Any]:
    """Returns ComfyUI's override of an attention function; what stays dense goes to the override that was there."""

    @torch.compiler.disable()  # which layer is sparse is known while it runs, so a compiled model leaves its graph here
    def attend(function: Callable[..., Any], *arguments: Any, **given: Any) -> Any:
        def dense() -> Any:
            return previous(function, *arguments, **given) if previous else function(*arguments, **given)

        options = given.get("transformer_options") or {}
        evaluation: Evaluation | None = options.get(KEY)
        if evaluation is None or len(arguments) < 3:
            return dense()
        q, k, v, *rest = arguments
        asked = {**dict(zip(("heads", "mask"), rest, strict=False)), **given}
        other = any(asked.get(name) is not None for name in OTHER)
        return evaluation.attend(q, k, v, asked["heads"], options["block_index"], other, dense)

    return attend


def watch_run(session: Session) -> Callable[..., Any]:
    """Returns a wrapper of a sampler's loop."""

    def wrapper(loop: Callable[..., Any], *arguments: Any, **given: Any) -> Any:
        sigmas = given["sigmas"] if "sigmas" in given else arguments[3]
        return session.sample(sigmas.tolist(), lambda: loop(*arguments, **given))

    return wrapper


def watch_evaluation(expert: Expert, session: Session) -> Callable[..., Any]:
    """Returns a wrapper of the model, x first and the noise level next, as ComfyUI's samplers call it."""

    def wrapper(model: Callable[..., Any], *arguments: Any, **given: Any) -> Any:
        x, sigma, concat, words, control, options, *more = arguments
        frames, height, width = x.shape[2:]
        grid = frames, ceil(height / PATCH), ceil(width / PATCH)
        evaluation = Evaluation(session, expert, float(sigma[0]), grid, words.shape[1], x.device)
        options = {**options, KEY: evaluation}
        return session.evaluate(evaluation, lambda: model(x, sigma, concat, words, control, options, *more, **given))

    return wrapper
