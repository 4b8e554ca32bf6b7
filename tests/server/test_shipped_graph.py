"""A real ComfyUI process runs the shipped API prompt: picture in, MP4 out."""

import copy
import json
import shutil
from pathlib import Path

import av
import pytest
from pack.client.errors import RefusedError, RunError
from pack.tests.toy.models import expert
from pack.tests.toy.runs import Steps, run
from safetensors.torch import save_file

pytestmark = pytest.mark.server

PROMPT_FILE = Path(__file__).parents[2] / "workflows" / "api" / "wan22_turbo_i2v.json"
PICTURE = "server ring 小.png"  # of this ring alone, or ComfyUI's cache would answer for it
DRAFT = {
    "LoadImage": {"image": PICTURE},
    "Wan22Turbo_Resolution": {"tier": "240p"},
    "Wan22Turbo_ImageToVideo": {"seconds": 0.5},
}


def shipped(changes):
    """Returns the shipped prompt with some inputs of some classes changed."""
    prompt = json.loads(PROMPT_FILE.read_text(encoding="utf-8"))
    for node in prompt.values():
        node["inputs"].update(copy.deepcopy(changes.get(node["class_type"], {})))
    return prompt


def node_of(prompt, class_type):
    return next(node_id for node_id, node in prompt.items() if node["class_type"] == class_type)


@pytest.fixture(scope="module")
def clip(server):
    """The clip that the shipped prompt makes, and what was said on the way."""
    shutil.copy(server.base / "input" / "example.png", server.base / "input" / PICTURE)
    prompt = shipped(DRAFT)
    steps = Steps()
    outputs = run(server, prompt, steps)
    saved = outputs[node_of(prompt, "Wan22Turbo_DecodeMp4")]["images"][0]
    return server.base / "output" / saved["subfolder"] / saved["filename"], outputs, steps, prompt


def test_the_clip_is_h264_yuv420p_bt709_at_16_fps(clip):
    with av.open(str(clip[0])) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert stream.codec_context.name == "h264"
        assert stream.pix_fmt == "yuv420p"
        assert stream.average_rate == 16
        tags = stream.codec_context
        assert (tags.colorspace, tags.color_primaries, tags.color_trc, tags.color_range) == (
            1,
            1,
            1,
            1,
        )  # BT.709, limited
    assert len(frames) == 9
    assert len(frames) % 4 == 1


def test_the_clip_has_the_size_that_fit_to_720p_promised(clip):
    path, outputs, _, prompt = clip
    report = outputs[node_of(prompt, "Wan22Turbo_Resolution")]["text"][0]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert report.startswith(f"451x60 -> {stream.width}x{stream.height} (240p)")
        assert stream.width * stream.height <= 416 * 240


def test_the_index_comes_before_the_pixels(clip):
    assert boxes(clip[0]).index("moov") < boxes(clip[0]).index("mdat")


def boxes(path):
    """Lists the top-level boxes of an MP4."""
    data, names, at = path.read_bytes(), [], 0
    while at < len(data):
        names.append(data[at + 4 : at + 8].decode("latin-1"))
        at += int.from_bytes(data[at : at + 4], "big")
    return names


def test_the_prompt_is_in_its_metadata(clip):
    path, _, _, prompt = clip
    with av.open(str(path)) as container:
        assert json.loads(container.metadata["prompt"]) == prompt


def test_the_plan_says_which_expert_ran_which_step(clip):
    _, outputs, steps, prompt = clip
    sampler = node_of(prompt, "Wan22Turbo_Sampler")
    assert outputs[sampler]["text"] == ["2 high + 2 low | .9950 .9338 | .8529 .6090"]
    assert steps.of("rCM Sampler")[-1] == (4, 4)


def test_only_the_clip_is_left_in_the_output_folder(clip, server):
    # Other tests save pictures and latents there; of this clip there is nothing else, and nothing half-written of any.
    beside = [path.name for path in clip[0].parent.iterdir() if path.stem.startswith(clip[0].stem)]
    assert beside == [clip[0].name]
    assert list((server.base / "output").rglob("*.part")) == []


def test_a_clip_has_picture_content(clip):
    with av.open(str(clip[0])) as container:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    assert all(frame.std() > 5 for frame in frames)
    assert abs(frames[0] - frames[-1]).mean() > 1  # it moves


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Wan22Turbo_Sampler": {"steps": 0}}, "steps must be at least 1, got 0. Choose a larger number."),
        ({"Wan22Turbo_Sampler": {"steps": 99}}, "rCM takes 1 to 8 steps, got 99. For more, use the shifted schedule"),
        (
            {"Wan22Turbo_Sampler": {"schedule": "karras"}},
            "The schedule must be one of rcm, lightning, shifted, auto, got",
        ),
        ({"Wan22Turbo_Sampler": {"cfg": 101.0}}, "Value 101.0 bigger than max of 100.0"),
        ({"Wan22Turbo_ImageToVideo": {"seconds": 9}}, "Value 9.0 bigger than max of 8.0"),
        (
            {"Wan22Turbo_Loader": {"high_noise": "wan2.2_t2v.safetensors"}},
            "'wan2.2_t2v.safetensors' is not in ComfyUI's folder 'diffusion_models'.",
        ),
        ({"Wan22Turbo_Loader": {"weight_dtype": "int3"}}, "Value not in list"),
        (
            {"Wan22Turbo_Lora": {"lora_high": "gone.safetensors"}},
            "'gone.safetensors' is not in ComfyUI's folder 'loras'.",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_values_are_refused_before_the_run(server, changes, message):
    status, answer = server.post("/prompt", {"prompt": shipped(changes)})
    assert status == 400
    assert message in json.dumps(answer["node_errors"], ensure_ascii=False)


def test_a_person_reads_every_missing_file_once(server):
    missing = {"high_noise": "a.safetensors", "vae": "b.safetensors"}
    with pytest.raises(RefusedError) as refused:
        run(server, shipped({"Wan22Turbo_Loader": missing}))
    assert str(refused.value) == (
        "Load Wan 2.2 I2V: high_noise: 'a.safetensors' is not in ComfyUI's folder 'diffusion_models'. "
        "Download it into that folder, then refresh the page. "
        "vae: 'b.safetensors' is not in ComfyUI's folder 'vae'. Download it into that folder, then refresh the page."
    )


def test_what_a_schema_cannot_check_is_said_by_the_node(clip, server):
    with pytest.raises(RunError, match=r"cfg other than 1 needs a negative prompt, got cfg 3.5 and none connected"):
        run(server, shipped({**DRAFT, "Wan22Turbo_Sampler": {"cfg": 3.5}}))


def test_a_text_to_video_file_is_named_by_the_loader(server):
    name = "wan2.2_t2v_high_noise_14B.safetensors"
    save_file(expert(1, in_dim=16), server.base / "models" / "diffusion_models" / name)
    with pytest.raises(RunError) as refused:
        run(server, shipped({"Wan22Turbo_Loader": {"high_noise": name}}))
    assert str(refused.value).startswith(f"Load Wan 2.2 I2V failed: '{name}' is Wan T2V (16 input channels)")
    assert "Choose a Wan 2.2 I2V A14B high-noise file" in str(refused.value)


def test_settings_may_come_from_other_nodes(clip, server):
    prompt = shipped({"Wan22Turbo_Sampler": {"steps": ["20", 0]}, **DRAFT})
    prompt["20"] = {"class_type": "PrimitiveInt", "inputs": {"value": 1}}
    outputs = run(server, prompt)
    assert outputs[node_of(prompt, "Wan22Turbo_Sampler")]["text"] == ["1 high | .9950"]


def test_an_interrupt_while_sampling_ends_the_run_and_the_next_one_is_right(clip, server):
    long = shipped({**DRAFT, "Wan22Turbo_Sampler": {"schedule": "shifted", "steps": 100}})
    sampler = node_of(long, "Wan22Turbo_Sampler")

    class Interrupting(Steps):
        def step(self, done, total):
            if self.title == "rCM Sampler" and not self.of("rCM Sampler"):
                server.post("/interrupt", {})
            super().step(done, total)

    steps = Interrupting()
    with pytest.raises(RunError, match="Somebody interrupted the run on the server, at rCM Sampler"):
        run(server, long, steps)
    assert max(steps.of("rCM Sampler"))[0] < 100
    outputs = run(server, shipped({**DRAFT, "Wan22Turbo_Sampler": {"seed": 0}}))
    assert outputs[sampler]["text"] == clip[1][sampler]["text"]


def test_the_same_prompt_again_is_not_computed_again(clip, server):
    run(server, clip[3])  # ComfyUI before 0.30 keeps the results of the latest prompt alone
    steps = Steps()
    run(server, clip[3], steps)
    assert steps.seen == []
