"""Long Clip: a picture and a prompt for each part become one MP4."""

from collections.abc import Mapping
from typing import Any

import torch
from comfy_api.latest import io

from ..media import resolution
from ..media.resolution import Size
from ..samplers import schedules, story
from ..samplers.guider import TwoExpertGuider
from ..weights.loras import triggers
from . import long_plan, long_save, picture, sampling
from .long_run import Models, Sampling
from .sampling_inputs import run_inputs
from .saving import SaveSettings, SavingNode, saving_inputs

PLANNED = ("prompts", "parts", "seconds", "loop")


class LongClip(SavingNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_LongClip",
            display_name="Long Clip",
            description="Makes a clip of many parts, a prompt each, as one MP4, and measures how far it drifts.",
            search_aliases=[
                "long video",
                "infinite",
                "svi",
                "extend video",
                "story",
                "loop",
                "continue video",
                "drift",
            ],
            inputs=[
                io.Model.Input("high", lazy=True, tooltip="High-noise expert."),
                io.Model.Input("low", lazy=True, tooltip="Low-noise expert."),
                io.Clip.Input("clip", lazy=True, tooltip="The text encoder umT5-XXL."),
                io.Vae.Input("vae", lazy=True, tooltip="The Wan 2.1 VAE."),
                io.Image.Input(
                    "start_image",
                    lazy=True,
                    tooltip="The first frame, from Fit to 720p: it sets the size of the clip.",
                ),
                io.String.Input(
                    "prompts",
                    multiline=True,
                    tooltip="A line is a part. Write 5 s: before it to set its length. One line alone is all parts.",
                ),
                io.Int.Input(
                    "parts",
                    default=2,
                    min=1,
                    max=story.MOST,
                    tooltip="How many, if prompts has one line. Else not read.",
                ),
                picture.seconds_input(
                    "What is sampled for a part whose line sets no length, to the nearest 4n+1 frames."
                ),
                io.Combo.Input(
                    "continue_by",
                    options=list(long_plan.WAYS),
                    default=long_plan.LAST_FRAME,
                    tooltip="last_frame suits all models, motion those with SVI's LoRAs. overlap gives several frames.",
                ),
                io.Boolean.Input(
                    "anchor_colours",
                    default=True,
                    tooltip="Brings the colours at the end of each part back to the start.",
                ),
                io.Boolean.Input("loop", default=False, tooltip="The last part ends where the first one begins."),
                *run_inputs(io.ControlAfterGenerate.fixed),  # the same inputs go on where a run was cut
                *saving_inputs(),
                io.String.Input(
                    "negative_prompt",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Read only when cfg is not 1.",
                ),
                io.String.Input(
                    "trigger_words",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Put before each prompt. Connect the trigger_words of Load LoRA.",
                ),
                io.Int.Input(
                    "motion_latents",
                    default=4,
                    min=1,
                    max=8,
                    optional=True,
                    advanced=True,
                    tooltip="Latent frames that motion takes over, of 4 frames each.",
                ),
                io.Int.Input(
                    "overlap_frames",
                    default=5,
                    min=5,
                    max=33,
                    step=4,
                    optional=True,
                    advanced=True,
                    tooltip="Frames that overlap takes over and fades.",
                ),
                picture.motion_input(),
            ],
            outputs=[
                io.Video.Output("video"),
                io.String.Output("report"),
                io.Image.Output("chart"),
                io.String.Output("numbers"),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        codec: str | None = None,
        encoder: str | None = "cpu",
        filename_prefix: str | None = None,
        schedule: str | None = None,
        steps: int | None = None,
        sigma_max: float | None = None,
        shift: float | None = None,
        prompts: str | None = None,
        parts: int | None = None,
        seconds: float | None = None,
        loop: bool | None = None,
    ) -> bool | str:
        # Before anything is loaded. A linked input has no value yet.
        saving = super().validate_inputs(codec=codec, encoder=encoder, filename_prefix=filename_prefix)
        if saving is True:
            if schedule is not None and steps is not None and sigma_max is not None and shift is not None:
                schedules.schedule_sigmas(schedule, steps, sigma_max, shift)
            check_story(prompts, parts, seconds, loop)
        return saving

    @classmethod
    def check_lazy_status(cls, **inputs: Any) -> list[str]:
        missing = super().check_lazy_status(**inputs)
        if missing:
            check_story(*(inputs.get(name) for name in PLANNED))
        return missing

    @classmethod
    def spelled_out(cls, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return sampling.Sampler.spelled_out(inputs)

    @classmethod
    def execute(
        cls,
        high: Any,
        low: Any,
        clip: Any,
        vae: Any,
        start_image: torch.Tensor,
        prompts: str,
        parts: int,
        seconds: float,
        continue_by: str,
        anchor_colours: bool,
        loop: bool,
        seed: int,
        steps: int,
        schedule: str,
        mode: str,
        cfg: float,
        sigma_max: float,
        shift: float,
        boundary: float,
        fps: float,
        filename_prefix: str,
        codec: str,
        crf: int,
        metadata: str,
        audio: dict[str, Any] | None = None,
        encoder: str = "cpu",
        negative_prompt: str = "",
        trigger_words: str = "",
        motion_latents: int = 4,
        overlap_frames: int = 5,
        motion: float = 1.0,
    ) -> io.NodeOutput:
        """Makes a clip, or the rest of one; what is not named here is the sampler's and `SaveSettings`.

        Args:
            start_image: ComfyUI's IMAGE, Tensor[F, H, W, C] in [0, 1], of which the first counts.
            prompts: A line for each part, as `story.parse` reads them.
        """
        settings = SaveSettings(fps, filename_prefix, codec, crf, metadata, audio, encoder)
        remark = settings.check(cls.hidden)
        TwoExpertGuider(high, low, boundary)  # refuses what are no experts, also where all parts are there
        picture.check_vae(vae)
        start = picture.one_rgb(start_image, "The start image").float()
        picture.check_sides(*Size.of(start))
        way = long_plan.Way(continue_by, motion_latents, overlap_frames, loop, anchor_colours)
        auto = schedule == schedules.AUTO
        schedule, shift = sampling.chosen(high, low, schedule, shift)
        remark = "\n".join(filter(None, [remark, *sampling.about_training(high, low, schedule, shift)]))
        sigmas = schedules.schedule_sigmas(schedule, steps, sigma_max, shift)
        how = Sampling(sigmas, mode, cfg, boundary, negative_prompt, motion)
        lines = story.parse(prompts, parts, seconds, resolution.MAX_SECONDS)
        lines = [line._replace(text=with_words(trigger_words, line.text)) for line in lines]
        facts = long_save.facts_of(cls.hidden, start, how)
        planned = long_plan.plan(lines, way, seed, facts)
        digest = long_save.story_of(facts, lines, seed)
        run = long_save.make_run(cls.hidden, Models(high, low, clip, vae), how, start, planned, way, digest)
        if auto:  # the settings do not tell what the models decided
            long_save.keep(cls.hidden, run)
        return long_save.save(cls.hidden, run, settings, remark)


def check_story(prompts: str | None, parts: int | None, seconds: float | None, loop: bool | None) -> None:
    """Refuses lines that make no clip, as far as inputs have values yet."""
    if prompts is None or parts is None or seconds is None:
        return
    count = len(story.parse(prompts, parts, seconds, resolution.MAX_SECONDS))
    if loop:
        story.check_loop(count)


def with_words(words: str, text: str) -> str:
    """Returns a prompt with trigger words before it, but for those that it has."""
    return triggers.merge(text, triggers.typed_words(words), "prepend")
