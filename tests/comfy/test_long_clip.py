"""Long Clip on tiny random models: what is sampled, what is on the disk, and what comes of a run that was cut."""

import gc
import json
import weakref
from pathlib import Path
from types import SimpleNamespace

import av
import comfy.model_management
import comfy.sd
import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import io
from pack.filters.question import ContentError
from pack.nodes import long_run, long_save, sampling
from pack.nodes.hosted import private_folder
from pack.nodes.long_clip import LongClip
from pack.nodes.lora import AUTO
from pack.samplers.guider import TwoExpertGuider
from pack.tests.toy import models as toy
from pack.tests.toy.loaded import load_expert
from pack.weights.loading import TRAINING
from pack.weights.wan.training import LIGHTWAN
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy

SIDE = 32  # the least that flow is measured at
PROMPT = {
    "1": {"class_type": "Wan22Turbo_Loader", "inputs": {"high_noise": toy.HIGH, "low_noise": toy.LOW}},
    "9": {
        "class_type": "Wan22Turbo_LongClip",
        "inputs": {name: ["1", place] for place, name in enumerate(("high", "low", "clip", "vae"))},
    },
}
SETTINGS = {
    "parts": 3, "seconds": 0.3, "continue_by": "last_frame", "anchor_colours": True, "loop": False, "seed": 5,
    "steps": 2, "schedule": "rcm", "mode": "ode", "cfg": 1.0, "sigma_max": 200.0, "shift": 5.0, "boundary": 0.9,
    "fps": 16.0, "codec": "h264", "crf": 18, "metadata": "none",
}  # fmt: skip
STORY = "It turns.\nIt jumps.\nIt sits."


class Words:
    """A text encoder: of each text other words, and it counts how often it is asked."""

    def __init__(self):
        self.asked = []

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, text):
        self.asked.append(text)
        seed = sum(map(ord, text))
        return [[torch.randn(1, 12, 4096, generator=torch.Generator().manual_seed(seed)), {}]]


@pytest.fixture(scope="module")
def wan():
    return comfy.sd.VAE(sd=toy.vae(4))


@pytest.fixture
def made(monkeypatch):
    """The seeds of the parts that were sampled, in order."""
    seeds = []
    sample = sampling.sample

    def note(guider, latent, seed, *rest):
        seeds.append(seed)
        return sample(guider, latent, seed, *rest)

    monkeypatch.setattr(sampling, "sample", note)
    return seeds


@pytest.fixture
def make(high, low, wan, request):
    """Runs the node, in an output folder and with parts of its own."""
    for path in parts_there():
        path.unlink()
    words = Words()

    def run(prompts=STORY, picture=None, graph=PROMPT, models=None, **changes):
        hidden = {io.Hidden.prompt: graph, io.Hidden.extra_pnginfo: {}, io.Hidden.unique_id: "9"}
        prefix = f"{request.node.name.split('[')[0]}/clip"
        given = {**SETTINGS, "filename_prefix": prefix, "prompts": prompts, **changes}
        with torch.inference_mode():
            return LongClip.PREPARE_CLASS_CLONE({"hidden_inputs": hidden}).execute(
                *(models or (high, low)),
                clip=words,
                vae=wan,
                start_image=start() if picture is None else picture,
                **given,
            )

    run.words = words
    return run


@pytest.fixture
def planned(make, monkeypatch):
    """Returns what would make a clip, just before anything is made."""
    monkeypatch.setattr(long_save, "save", lambda hidden, run, *_: run)
    return make


def digests(run):
    return [part.digest for part in run.parts]


def start(width=SIDE, height=SIDE, seed=1):
    small = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (height, width), mode="bilinear").movedim(1, 3)


def parts_there():
    return sorted((private_folder() / "parts").glob("*"))


def file_of(output):
    saved = output.ui.as_dict()["images"][0]
    return Path(folder_paths.get_output_directory()) / saved["subfolder"] / saved["filename"]


def frames_of(output):
    with av.open(str(file_of(output))) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def clips(request_name):
    return sorted(path.name for path in (Path(folder_paths.get_output_directory()) / request_name).glob("*"))


def test_a_story_becomes_one_clip_with_its_report_chart_and_numbers(make, made):
    output = make()
    assert len(frames_of(output)) == 5 + 4 + 4
    assert len(set(made)) == 3
    assert made[0] == 5
    assert make.words.asked == ["It turns.", "It jumps.", "It sits."]
    report, chart, numbers = output[1], output[2], json.loads(output[3])
    assert report.startswith("3 parts, 13 frames, 0.81 seconds; continued by last frame, anchored colours.\nAll parts")
    assert "Each part: 2 high | .9950 .9338" in report
    assert (chart.shape[0], chart.shape[3]) == (1, 3)
    assert [part["frames"] for part in numbers["parts"]] == [5, 4, 4]
    assert [seam["frame"] for seam in numbers["seams"]] == [6, 10]
    assert len(parts_there()) == 3


def test_one_line_is_all_parts_and_a_line_may_set_its_length(make, made):
    assert len(frames_of(make("It turns.", parts=2))) == 9
    assert len(frames_of(make("0.6 s: It turns.\nIt jumps."))) == 9 + 4
    assert make.words.asked == ["It turns.", "It turns.", "It jumps."]


def test_the_first_part_is_the_clip_that_the_other_nodes_make(make, high, low, wan):
    make()
    words = Words().encode_from_tokens_scheduled("It turns.")
    from pack.nodes.picture import ImageToVideo

    with torch.inference_mode():
        prepared = ImageToVideo.execute(words, wan, start(), 0.3)
        alone = sampling.Sampler.execute(
            high, low, prepared[0], prepared[2], **{name: SETTINGS[name] for name in (
                "seed", "steps", "schedule", "mode", "cfg", "sigma_max", "shift", "boundary")}
        )[0]["samples"]  # fmt: skip
    from safetensors.torch import load_file

    kept = [load_file(path)["latent"] for path in parts_there()]
    assert any(torch.equal(alone.cpu(), latent) for latent in kept)


class CutAt:
    """Fails at the evaluation of a model with a number, counted from 1."""

    def __init__(self, number, error):
        self.number, self.error, self.calls = number, error, 0

    def __call__(self, apply_model, arguments):
        self.calls += 1
        if self.calls == self.number:
            if self.error is None:
                comfy.model_management.interrupt_current_processing()
                comfy.model_management.throw_exception_if_processing_interrupted()
            raise self.error
        return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])


def cut(model, number, error):
    clone = model.clone()
    clone.set_model_unet_function_wrapper(CutAt(number, error))
    return clone


@pytest.mark.parametrize(
    ("way", "number", "error", "kept"),
    [
        ("last_frame", 1, RuntimeError("power"), 0),
        ("last_frame", 4, None, 1),
        ("last_frame", 6, torch.cuda.OutOfMemoryError("CUDA out of memory."), 2),
        ("motion", 6, None, 2),
        ("overlap", 4, RuntimeError("power"), 1),
    ],
    ids=["first step", "cancelled", "out of memory", "motion", "overlap"],
)
def test_a_run_that_was_cut_goes_on_and_gives_the_same_clip_bit_for_bit(
    make, made, high, low, way, number, error, kept, caplog, request
):
    setting = {"continue_by": way, "seconds": 0.6, "motion_latents": 1}
    kind = type(error) if error else comfy.model_management.InterruptProcessingException
    with pytest.raises(kind) as failure:
        make(models=(cut(high, number, error), low), **setting)
    assert len(parts_there()) == kept
    assert clips(request.node.name.split("[")[0]) == []
    wanted = {0: "No part was finished", 1: "Part 1 is kept, of 3", 2: "Parts 1 to 2 are kept, of 3"}[kept]
    assert wanted in caplog.text
    assert (wanted in str(failure.value)) == (kind is RuntimeError)
    if kind is torch.cuda.OutOfMemoryError:
        assert failure.value is error
    made.clear()
    resumed = make(**setting)
    assert len(made) == 3 - kept
    assert f"Made: part {', '.join(str(place) for place in range(kept + 1, 4))}." in resumed[1] or not kept
    for path in parts_there():
        path.unlink()
    whole = make(**setting)
    assert file_of(resumed).read_bytes() == file_of(whole).read_bytes()
    assert resumed[3] == whole[3]
    for path in file_of(whole).parent.iterdir():
        path.unlink()


def test_a_cancel_ends_within_a_step(make, high):
    blocks = high.model.diffusion_model.blocks
    ran = []
    hooks = [
        blocks[0].register_forward_hook(lambda *_: comfy.model_management.interrupt_current_processing()),
        blocks[1].register_forward_hook(lambda *_: ran.append(1)),
    ]
    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            make()
    finally:
        comfy.model_management.interrupt_current_processing(False)
        for hook in hooks:
            hook.remove()
    assert ran == []


def changed(name, value, graph=PROMPT):
    loader = {**graph["1"], "inputs": {**graph["1"]["inputs"], name: value}}
    return {**graph, "1": loader}


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({}, 0), ({"crf": 20, "fps": 24.0, "metadata": "recipe"}, 0),
        ({"prompts": "It turns.\nIt jumps.\nIt sleeps."}, 1), ({"prompts": "It turns.\nIt runs.\nIt sits."}, 2),
        ({"prompts": "It turns.\nIt jumps."}, 0), ({"prompts": STORY + "\nIt sleeps."}, 1), ({"loop": True}, 1),
        ({"continue_by": "overlap"}, 2), ({"anchor_colours": False}, 2), ({"seed": 6}, 3), ({"steps": 1}, 3),
        ({"mode": "sde"}, 3), ({"picture": start(seed=2)}, 3), ({"motion": 1.15}, 3), ({"negative_prompt": "dark"}, 0),
        ({"trigger_words": "orbit"}, 3), ({"graph": changed("weight_dtype", "fp8_e4m3fn")}, 3),
        ({"graph": changed("low_noise", "another.safetensors")}, 3),
    ],
    ids=lambda value: json.dumps(value, default=lambda _: "...")[:60],
)  # fmt: skip
def test_what_is_made_again_is_what_the_change_reaches(planned, changes, again):
    before = digests(planned(seconds=0.6))
    assert len(set(digests(planned(seconds=0.6, **changes))) - set(before)) == again


def test_a_changed_line_makes_its_part_and_the_later_ones_again(make, made):
    make()
    made.clear()
    make("It turns.\nIt runs.\nIt sits.")
    assert len(made) == 2
    assert make.words.asked[3:] == ["It runs.", "It sits."]


def test_what_comes_in_is_known_by_nodes_and_settings_not_by_their_ids(planned):
    moved = {"5": PROMPT["1"], "9": {**PROMPT["9"], "inputs": {
        name: ["5", place] for name, (_, place) in PROMPT["9"]["inputs"].items()}}}  # fmt: skip
    assert digests(planned(graph=moved)) == digests(planned())
    nobody_says = [digests(planned(graph=None)) for _ in range(2)]  # what models these are
    assert not set(nobody_says[0]) & set(nobody_says[1])


def test_a_lora_is_known_and_its_prompt_is_not_of_the_model(planned):
    def through(lora="a.safetensors", prompt="one"):
        inputs = {"high": ["1", 0], "low": ["1", 1], "lora_high": lora, "strength_high": 1.0, "prompt": prompt}
        own = {**PROMPT["9"]["inputs"], "high": ["2", 0], "low": ["2", 1]}
        return {
            **PROMPT, "2": {"class_type": "Wan22Turbo_Lora", "inputs": inputs}, "9": {**PROMPT["9"], "inputs": own},
        }  # fmt: skip

    wanted = digests(planned(graph=through()))
    assert digests(planned(graph=through(prompt="two"))) == wanted
    assert not set(digests(planned(graph=through(lora="b.safetensors")))) & set(wanted)


def test_a_partner_that_auto_finds_is_known(planned, add_lora):
    add_lora("ring_high_noise.safetensors", toy.lora(1))
    graph = with_loras("ring_high_noise.safetensors", AUTO)
    alone = digests(planned(graph=graph))
    add_lora("ring_low_noise.safetensors", toy.lora(2))
    paired = digests(planned(graph=graph))
    save_file(toy.lora(3), folder_paths.get_full_path_or_raise("loras", "ring_low_noise.safetensors"))
    assert not set(alone) & set(paired)
    assert not set(paired) & set(digests(planned(graph=graph)))


def test_what_comfyui_asks_a_node_beside_its_inputs_is_known(planned):
    def asked(answer):
        return digests(planned(graph={**PROMPT, "1": {**PROMPT["1"], "is_changed": [answer]}}))

    assert asked("one picture") == asked("one picture")
    assert not set(asked("one picture")) & set(asked("another"))
    assert not set(asked(float("nan"))) & set(asked(float("nan")))  # it says that nobody can tell


def test_all_parts_are_there_and_no_model_is_asked(make, high, low):
    make()
    asked = list(make.words.asked)
    output = make(models=(cut(high, 1, RuntimeError("asked")), cut(low, 1, RuntimeError("asked"))))
    assert "All parts were on the disk." in output[1]
    assert make.words.asked == asked


def test_a_run_that_ends_early_tells_of_all_parts_that_are_there(make, monkeypatch):
    make()

    def fail(*_):
        raise RuntimeError("power")

    monkeypatch.setattr(long_run.Assembly, "add", fail)
    with pytest.raises(RuntimeError, match="Parts 1 to 3 are kept, of 3"):
        make()


def test_the_frames_of_a_part_are_gone_when_the_next_one_is_sampled(make, monkeypatch):
    alive, there = weakref.WeakSet(), []
    begin, sample = long_run.PartFrames.__init__, long_run.LongRun._sample

    def note(frames):
        begin(frames)
        alive.add(frames)

    def count(run, place, *rest):
        there.append(len(alive))
        return sample(run, place, *rest)

    monkeypatch.setattr(long_run.PartFrames, "__init__", note)
    monkeypatch.setattr(long_run.LongRun, "_sample", count)
    make()
    assert there == [0, 0, 0]


def test_a_damaged_part_is_made_again(make, made):
    first = file_of(make()).read_bytes()
    for path in parts_there():
        path.write_bytes(b"broken")
    assert file_of(make()).read_bytes() == first
    assert len(made) == 6


def test_a_picture_of_another_size_is_told_of_and_makes_a_clip_of_its_own(make, made, high, low):
    with pytest.raises(RuntimeError):
        make(models=(cut(high, 4, RuntimeError("power")), low))
    output = make(picture=start(64, 48))
    assert "The parts of this story on the disk are 32x32, and the start image is 64x48 now: all parts" in output[1]
    assert frames_of(output).shape[1:3] == (48, 64)
    assert "The parts of this story" not in make()[1]


def test_motion_gives_anchor_and_last_latents_and_overlap_the_last_frames(make, monkeypatch):
    seen = []
    check = TwoExpertGuider.check_conditioning

    def note(guider, latent):
        seen.append(guider.original_conds["positive"][0])
        check(guider, latent)

    monkeypatch.setattr(TwoExpertGuider, "check_conditioning", note)
    make(continue_by="motion", seconds=1.0, motion_latents=2, parts=2, prompts="It turns.")
    from safetensors.torch import load_file

    latents = {path.name: load_file(path)["latent"] for path in parts_there()}
    first, second = seen
    assert torch.equal(first["concat_latent_image"][:, :, 0], second["concat_latent_image"][:, :, 0])
    assert any(torch.equal(latent[:, :, -2:], second["concat_latent_image"][:, :, 1:3]) for latent in latents.values())
    grey = second["concat_latent_image"][:, :, 3:]
    assert torch.equal(grey, grey[:, :, :1, :1, :1].expand_as(grey))
    assert second["concat_mask"][0, 0, :, 0, 0].tolist() == [0, 1, 1, 1, 1]
    seen.clear()
    make(continue_by="overlap", seconds=1.0, overlap_frames=9, parts=2, prompts="It turns.")
    assert seen[0]["concat_mask"][0, 0, :, 0, 0].tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("changes", "frames"),
    [
        ({"loop": True}, 13 + 12 + 11),
        ({"continue_by": "overlap", "loop": True}, 13 + 8 + 3),
        ({"continue_by": "motion", "motion_latents": 1, "loop": True}, 13 + 8 + 7),
        ({"continue_by": "overlap", "overlap_frames": 9}, 13 + 4 + 12),  # the second part has 4 of its own to fade
        (  # the loop arrives at all of its first part, and no more
            {
                "continue_by": "overlap",
                "overlap_frames": 9,
                "loop": True,
                "prompts": "0.3 s: It turns.\n1 s: It jumps.",
            },
            5 + 7,
        ),
    ],
    ids=str,
)
def test_each_frame_is_in_the_clip_once(make, changes, frames):
    output = make(seconds=0.8, steps=1, **changes)
    assert len(frames_of(output)) == frames
    assert f"parts, {frames} frames" in output[1]
    assert bool(json.loads(output[3])["loop"]) == bool(changes.get("loop"))


def test_sound_is_as_long_as_the_clip_and_settings_are_in_the_recipe(make):
    tone = {"waveform": torch.sin(torch.arange(480000) * 0.05)[None, None], "sample_rate": 48000}
    graph = {**PROMPT, "9": {**PROMPT["9"], "inputs": {**PROMPT["9"]["inputs"], "prompts": "Ada.", "steps": 2,
             "schedule": "rcm", "sigma_max": 200.0, "shift": 5.0}}}  # fmt: skip
    path = file_of(make(audio=tone, metadata="recipe", graph=graph))
    with av.open(str(path)) as file:
        sound, video = file.streams.audio[0], file.streams.video[0]
        assert abs(float(sound.duration * sound.time_base) - float(video.duration * video.time_base)) < 1 / 16
        told = json.loads(file.metadata["recipe"])
    assert told["9 Wan22Turbo_LongClip"]["sigmas"] == [0.995, 0.9338, 0.0]
    assert "Ada." not in json.dumps(told)


SVI = [f"SVI_Wan2.2-I2V-A14B_{expert}_noise_lora_v2.0_pro.safetensors" for expert in ("high", "low")]


def with_loras(high, low):
    inputs = {"high": ["1", 0], "low": ["1", 1], "lora_high": high, "lora_low": low}
    own = {**PROMPT["9"]["inputs"], "high": ["2", 0], "low": ["2", 1]}
    return {
        **PROMPT, "2": {"class_type": "Wan22Turbo_Lora", "inputs": inputs}, "9": {**PROMPT["9"], "inputs": own},
    }  # fmt: skip


def test_motion_without_the_lora_of_svi_is_said_with_its_remedy(planned, add_lora):
    def said(graph=PROMPT, way="motion"):
        hidden = SimpleNamespace(prompt=graph, unique_id="9")
        run = planned(continue_by=way, seconds=0.6, motion_latents=1, graph=graph)
        return "\n".join(long_save.notes_before(hidden, run))

    assert said().startswith("Warning: Both experts come without the LoRA of SVI")
    assert f"Download '{SVI[0]}' and '{SVI[1]}' into the folder 'loras', or continue by last frame." in said()
    for name in SVI:
        add_lora(name, toy.lora(1))
    assert f"Choose '{SVI[0]}' and '{SVI[1]}' in a Load LoRA before this node" in said()
    assert said(with_loras(*SVI)) == ""
    assert said(with_loras(SVI[0], AUTO)) == ""
    half = said(with_loras(SVI[0], "none"))
    assert half.startswith("Warning: The low-noise expert comes without the LoRA of SVI")
    assert f"Choose '{SVI[1]}' in" in half
    assert said(way="last_frame") == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompts": " \n"}, r"needs a prompt for each part, a line each, and prompts holds none\."),
        ({"prompts": "It turns.\n" * 200}, r"at most 24 parts, got 200\."),
        ({"prompts": "It turns.", "parts": 1, "loop": True}, r"A loop needs 2 parts at least, .*; got 1\."),
        ({"continue_by": "overlap", "overlap_frames": 9}, r"longer than what it shares .* part 2 has 5 frames"),
        ({"continue_by": "motion"}, r"part 2 has 5 frames, of which 5 are shared\. Give it more seconds"),
        ({"picture": start(50, 32)}, r"sides must be multiples of 16, got 50x32\. Put Fit to 720p"),
        ({"picture": torch.zeros(0, 32, 32, 3)}, r"A picture is needed, got an empty batch\."),
        ({"picture": start() * torch.nan}, r"The start image .*NaN"),
        ({"cfg": 3.0, "negative_prompt": "dark", "schedule": "odd"}, r"The schedule must be one of rcm"),
        ({"codec": "odd"}, r"[Cc]odec"),
        ({"motion": 9.0}, r"motion must be at most 2, got 9\."),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_cannot_be_made_is_a_sentence_before_anything_is_sampled(make, made, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**changes)
    assert made == []
    assert parts_there() == []


def test_the_operators_filter_sees_prompts_of_parts_that_are_on_the_disk(make, made, monkeypatch, tmp_path):
    make()
    made.clear()
    (tmp_path / "words.txt").write_text("jumps\n", encoding="utf-8")
    monkeypatch.setenv("WAN22_TURBO_FILTER_WORDS", str(tmp_path / "words.txt"))
    with pytest.raises(ContentError, match="Nothing was sampled"):
        make()
    assert made == []
    with pytest.raises(ContentError, match="which one is in 'positive' is not known"):
        make("It sleeps.", parts=2)  # these words come from no text encoder of ComfyUI


def test_models_of_another_family_are_refused_also_where_all_parts_are_there(make, high, add_file):
    make()
    name = add_file("diffusion_models", "t2v_high_noise.safetensors", toy.expert(1, in_dim=16))
    text_to_video = load_expert(folder_paths.get_full_path("diffusion_models", name))
    with pytest.raises(ValueError, match=r"expert must take 36 channels .* as the text-to-video files do"):
        make(models=(text_to_video, high))


def test_guidance_reads_the_negative_prompt(make, made):
    make(cfg=2.0, negative_prompt="dark", steps=1)
    assert "dark" in make.words.asked
    made.clear()
    make(cfg=2.0, negative_prompt="bright", steps=1)
    assert len(made) == 3


def test_before_models_are_loaded_the_story_is_checked():
    waiting = {**SETTINGS, "high": None, "low": None, "clip": None, "vae": None, "start_image": None}
    node = LongClip.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
    asked = node.check_lazy_status(**waiting, prompts=STORY, filename_prefix="a/b")
    assert asked == ["high", "low", "clip", "vae", "start_image"]
    with pytest.raises(ValueError, match="prompts holds none"):
        node.check_lazy_status(**waiting, prompts="", filename_prefix="a/b")
    assert LongClip.validate_inputs(prompts="a\n" * 30, parts=2, seconds=5.0).startswith("A long clip has at most 24")
    assert LongClip.validate_inputs(prompts="a", parts=1, seconds=5.0, loop=True).startswith("A loop needs 2 parts")
    assert LongClip.validate_inputs(schedule="rcm", steps=9, sigma_max=200.0, shift=5.0).startswith("rCM takes 1 to 8")
    assert LongClip.validate_inputs(codec="h264", prompts=None) is True


def test_the_bar_counts_all_parts_and_tells_time_left(make, monkeypatch):
    from pack.nodes import long_progress

    said, counted = [], []
    monkeypatch.setattr(long_progress, "say", lambda text, _: said.append(text))

    class Bar:
        def __init__(self, total, node_id=None):
            counted.append((0, total))

        def update_absolute(self, value, total=None, preview=None):
            counted.append((value, total))

    monkeypatch.setattr(long_progress.comfy.utils, "ProgressBar", Bar)
    make()
    assert counted == [(done, 9) for done in range(10)]  # of 3 parts: 2 steps and the file
    assert said[0] == "Part 1 of 3, step 1 of 2, high-noise expert"
    assert said[3].startswith("Part 2 of 3, step 1 of 2, high-noise expert, about ")
    counted.clear()
    make(prompts=STORY + "\nIt sleeps.")
    assert counted == [(done, 6) for done in range(7)]


def test_memory_does_not_grow_with_the_number_of_parts(make, monkeypatch):
    """The tensors that are alive at the end of part 2, 8 and 24, in bytes."""
    alive, parts = [], iter(range(1, 25))
    add = long_run.Assembly.add

    def count(assembly, frames, joint):
        add(assembly, frames, joint)
        if next(parts) in (2, 8, 24):
            kept = [each for each in gc.get_objects() if type(each) is torch.Tensor]
            alive.append(sum(each.numel() * each.element_size() for each in kept))

    monkeypatch.setattr(long_run.Assembly, "add", count)
    make("It turns.", parts=24, steps=1, seconds=0.25)
    assert len(alive) == 3
    assert max(alive) <= 1.05 * alive[0]


def test_a_full_disk_is_a_sentence_and_parts_are_kept(make, request):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    make(prompts="It turns.\nIt jumps.")
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        with pytest.raises(OSError, match=r"could not be written: .*Make room on the disk") as failure:
            make()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "Parts 1 to 2 are kept, of 3" in str(failure.value)
    assert len(parts_there()) == 2
    assert clips(request.node.name) == ["clip_00001_.mp4"]


def test_the_schedule_auto_is_that_of_the_files_and_the_report_and_the_recipe_tell_it(make, high, low):
    models = [model.clone() for model in (high, low)]
    for model in models:
        model.set_attachments(TRAINING, LIGHTWAN)
    graph = {**PROMPT, "9": {**PROMPT["9"], "inputs": {**PROMPT["9"]["inputs"], "schedule": "auto"}}}
    output = make("It turns.", parts=1, steps=4, models=models, graph=graph, schedule="auto", metadata="recipe")
    plan = "Each part: 2 high + 2 low | 1.0000 .9545 | .8750 .7000"
    assert plan in output[1]
    assert "Warning: These files were trained for sparse attention (LightWan2.2), and attention was dense." in output[1]
    with av.open(str(file_of(output))) as file:
        assert plan in file.metadata["recipe"]
