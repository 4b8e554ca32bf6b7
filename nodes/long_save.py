"""From the parts of a long clip to its file, its report and its chart; and what decides a part, for its digest."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import InputImpl, io

from ..filters.question import HINT, Question
from ..media import drift_chart
from ..media.assembly import Assembly
from ..media.drift import DriftMeter, DriftNumbers
from ..media.mp4 import Mp4Writer, frame_rate
from ..media.part_store import Kept, PartStore
from ..media.publish import Place
from ..media.resolution import Size
from ..samplers import routing, story
from . import content, decode, hosted, long_plan, origins, receipts
from .long_progress import StoryProgress
from .long_run import LongRun, Models, Sampling
from .progress import say
from .saving import SavedClip, SaveSettings, Target, next_target, open_writer

MODELS = ("high", "low", "clip", "vae")  # sockets


def facts_of(hidden: Any, start: torch.Tensor, how: Sampling) -> dict[str, Any]:
    """Returns what decides each part beside its prompt, its seed and the part before.

    Args:
        hidden: The node's hidden inputs `prompt` and `unique_id`.
        start: Tensor[1, H, W, 3], the start picture.
        how: Parts are sampled.
    """
    return {
        "models": origins.identity(hidden.prompt, hidden.unique_id, MODELS),
        "sampled_by": origins.sampled_by(),
        "picture": hashlib.sha256(start.cpu().contiguous().numpy().tobytes()).hexdigest(),
        "size": str(Size.of(start)),
        "sigmas": how.sigmas.tolist(),
        "negative": how.negative if how.cfg != 1 else "",
        **{name: getattr(how, name) for name in ("mode", "cfg", "boundary", "motion")},
    }


def story_of(facts: dict[str, Any], lines: Iterable[story.Line], seed: int) -> str:
    """Returns the digest of a story whatever its picture is and whoever samples it, to know its parts all the same."""
    others = {name: value for name, value in facts.items() if name not in ("picture", "size", "sampled_by")}
    return story.digests(others, [[seed, *lines]])[0]


def make_run(
    hidden: Any, models: Models, how: Sampling, start: torch.Tensor, parts: Sequence[long_plan.Part],
    way: long_plan.Way, story_digest: str,
) -> LongRun:  # fmt: skip
    """Prepares to make the parts of a clip. Parts of other clips that are old, or too many, go from the disk."""
    store = PartStore(hosted.private_folder() / "parts")
    store.clean(part.digest for part in parts)
    experts = routing.experts(how.sigmas.tolist(), how.boundary)
    missing = [not store.has(part.digest) for part in parts]
    progress = StoryProgress(experts, missing, models.high.model.latent_format, hidden.unique_id)
    kept = Kept(story_digest, str(Size.of(start)), origins.sampled_by())
    unknown = origins.why_unknown(hidden.prompt, hidden.unique_id, MODELS)
    return LongRun(models, how, start, parts, way, store, kept, progress, unknown)


def save(hidden: Any, run: LongRun, settings: SaveSettings, remark: str) -> io.NodeOutput:
    """Makes the clip, and returns its file, its report, its chart and its numbers.

    Args:
        hidden: The node's hidden inputs.
        run: That makes the parts.
        settings: Of the file.
        remark: What there is to say of it already, or "".
    """
    judge(run)
    size = Size.of(run.start)
    target = next_target(settings.filename_prefix, size)
    clip = target.next_name(".mp4")
    before = notes_before(hidden, run)
    meter = DriftMeter(float(frame_rate(settings.fps)), run.start[0].cpu().numpy())
    try:
        with open_writer(clip, size, settings, settings.sound, hidden) as writer:
            run.run(assembly_for(run, writer, meter))
    except BaseException as err:
        decode.tell(err, run.what_is_kept(), hidden.unique_id)
        raise
    numbers = meter.numbers(run.way.loop)
    words = [clip.warning, remark, *before, *settings.notes_on_sound()]
    report = "\n".join(filter(None, [*words, *described(run, settings), numbers.report(), receipt(hidden, run)]))
    say(f"{len(run.parts)} parts, {long_plan.length(run.parts)} frames", hidden.unique_id)
    return output(target, clip, report, numbers)


def judge(run: LongRun) -> None:
    """Asks the operator's content filters about every part, those on the disk too; ContentError if one says no.

    Before a part is sampled, the guider asks again, with the pictures that the part grows from.
    """
    if content.settings():
        negative, shown = run.how.negative if run.how.cfg != 1 else "", (content.to_pixels(run.start),)
        for text in dict.fromkeys(part.text for part in run.parts):
            with content.shown_on_the_node():
                content.ask_here(Question("prompt", f"Nothing was sampled. {HINT}", text, negative, shown=shown))


def assembly_for(run: LongRun, writer: Mp4Writer, meter: DriftMeter) -> Assembly:
    """Returns what puts parts together for a file and for its numbers."""

    def show(frame: torch.Tensor) -> None:
        throw_exception_if_processing_interrupted()
        pixels = frame.numpy()
        writer.write(pixels)
        meter.add(pixels)

    faded = [part.joint.shared for part in run.parts if part.joint.faded]
    return Assembly(show, meter.seam, run.way.anchored, max([1, run.parts[-1].dropped, *faded]))


def output(target: Target, clip: Place, report: str, numbers: DriftNumbers) -> io.NodeOutput:
    """Returns what the node gives on, and what it shows."""
    chart = torch.from_numpy(drift_chart.draw(numbers))[None]
    video = InputImpl.VideoFromFile(str(clip.path))
    shown = SavedClip(target.saved(clip), [report])
    return io.NodeOutput(video, report, chart, json.dumps(numbers.as_dict()), ui=shown)


def notes_before(hidden: Any, run: LongRun) -> list[str]:
    """Returns what a person should know of models and parts before anything is made."""
    notes = [f"Warning: The parts of this clip are not found again: {run.unknown}."] if run.unknown else []
    if run.way.continue_by == long_plan.MOTION and len(run.parts) > 1:
        notes += origins.notes_on_svi(hidden.prompt, hidden.unique_id)
    if not run.store.has(run.parts[0].digest):
        notes += notes_on_others(run)
    return notes


def notes_on_others(run: LongRun) -> list[str]:
    """Returns why the parts of this story that are on the disk are not those of this clip."""
    others = run.store.of_story(run.kept.story)
    sizes = {kept.size for kept in others} - {run.kept.size}
    samplers = {kept.sampled_by or "an older version" for kept in others} - {run.kept.sampled_by}
    notes = []
    if sizes:
        notes.append(
            f"The parts of this story on the disk are {' and '.join(sorted(sizes))}, and the start image is "
            f"{run.kept.size} now: all parts are made again. Give it the picture of before to go on with those."
        )
    if samplers:
        notes.append(
            f"The parts of this story on the disk were sampled by {' and by '.join(sorted(samplers))}, and this is "
            f"{run.kept.sampled_by}: all parts are made again, since the same inputs may give other numbers now."
        )
    return notes


def described(run: LongRun, settings: SaveSettings) -> list[str]:
    """Returns how long the clip is, what was made of it now, and how it was sampled."""
    frames = long_plan.length(run.parts)
    rate = float(frame_rate(settings.fps))
    ways = f"continued by {run.way.continue_by.replace('_', ' ')}, {'anchored' if run.way.anchored else 'own'} colours"
    return [
        f"{len(run.parts)} parts, {frames} frames, {frames / rate:.2f} seconds; {ways}"
        f"{', a loop' if run.way.loop else ''}.",
        run.what_was_made(),
        planned(run),
    ]


def planned(run: LongRun) -> str:
    """Returns which expert runs which step of each part."""
    return f"Each part: {routing.plan(run.how.sigmas.tolist(), run.how.boundary)}"


def receipt(hidden: Any, run: LongRun) -> str:
    """Returns what Sparse Attention tells of the last part, and keeps it for a recipe."""
    text = run.receipt()
    if text:
        keep(hidden, run, text)
    return text


def keep(hidden: Any, run: LongRun, *text: str) -> None:
    """Keeps the plan, and what else there is to tell, for the recipe of a saved clip."""
    if hidden.prompt:
        receipts.keep(str(hidden.unique_id), hidden.prompt, "\n".join([planned(run), *text]))
