"""Every shipped API prompt, at draft size on the trained tiny models, through a real ComfyUI to its MP4s."""

import json
import re
import shutil
from pathlib import Path

import av
import pytest
from comfy_server import ComfyServer, place_photograph, trained_models
from pack.tests.server.client_process import client, command, frames_of, pairs
from pack.tests.toy.loopback import KEY, Running
from pack.tests.toy.models import ORBIT
from pack.tests.toy.providers import PROVIDERS
from pack.tests.toy.runs import run
from pack.tests.toy.studies import rows

pytestmark = pytest.mark.server

STUDIES = Path(__file__).parents[2] / "studies"
PROMPTS = sorted((Path(__file__).parents[2] / "workflows" / "api").glob("*.json"))
SHORT = {"seconds": 0.25}
DRAFT = {"Wan22Turbo_Resolution": {"tier": "240p"}, "Wan22Turbo_ImageToVideo": SHORT, "Wan22Turbo_LongClip": SHORT}
FRAMES = 5  # of a quarter of a second
HOSTED_FRAMES = 17  # of the clip that the loopback provider gives
HOSTED_TITLE = "Hosted Wan 2.2 I2V"  # of the node in the shipped graphs
LONG = "wan22_long_clip_i2v"
JOINED = (
    Path(__file__).parents[1] / "data" / "graphs" / "0.1.0-alpha" / "api" / f"{LONG}.json"
)  # two clips, by Join Clips
CLIPS = {
    "wan22_hosted_i2v": [HOSTED_FRAMES],
    "wan22_hosted_lora_i2v": [HOSTED_FRAMES],
    "wan22_local_and_hosted_i2v": [FRAMES, HOSTED_FRAMES],
    LONG: [2 * FRAMES - 1],
}
PLANS = {
    "wan22_lightning_i2v": "2 high + 2 low | 1.0000 .9375 | .8333 .6250",
    "wan22_lightwan_i2v": "2 high + 2 low | 1.0000 .9545 | .8750 .7000",
    "wan22_turbo_i2v": "2 high + 2 low | .9950 .9338 | .8529 .6090",
    "wan22_undistilled_i2v": "8 high + 12 low | ",
}
TRAINED = {"wan22_turbodiffusion_i2v": "SLA", "wan22_lightwan_i2v": "LightWan2.2"}


@pytest.fixture(scope="module")
def running():
    with Running(*(each() for each in PROVIDERS.values())) as all_of_them:
        yield all_of_them


@pytest.fixture(scope="module")
def comfyui(running, toy_models, tmp_path_factory):
    """A ComfyUI that has the trained tiny models and reaches the loopback providers."""
    base = tmp_path_factory.mktemp("every graph 小")
    shutil.copytree(toy_models, base / "models")  # for the files that the trained ones do not stand in for
    trained_models(base / "models")
    place_photograph(base / "input", crop=(0, 120, 416, 184))  # narrow: a quarter of 240p's pixels
    variables = {**running.environment(), "WAN22_TURBO_WAVESPEED_STARTS_PER_MINUTE": "0"}  # five more than a minute's
    with ComfyServer(base, environment=variables) as server:
        yield server


def draft(path):
    """Returns a shipped prompt, shorter and smaller, and otherwise as it is."""
    prompt = json.loads(path.read_text(encoding="utf-8"))
    for node in prompt.values():
        node["inputs"].update(DRAFT.get(node["class_type"], {}))
        if path.stem == LONG and path != JOINED and "prompt" in node["inputs"]:
            lines = node["inputs"]["prompt"].splitlines()
            assert len(lines) == 6
            node["inputs"]["prompt"] = "\n".join(lines[:2])
    return prompt


@pytest.fixture(
    scope="module", params=[*PROMPTS, JOINED], ids=lambda path: "long_clip_joined" if path == JOINED else path.stem
)
def finished(request, comfyui):
    prompt = draft(request.param)
    return request.param.stem, prompt, run(comfyui, prompt)


def texts(finished, class_type):
    _, prompt, outputs = finished
    return [
        text for node, output in outputs.items() if prompt[node]["class_type"] == class_type
        for text in output.get("text", ())
    ]  # fmt: skip


def test_a_prompt_runs_to_its_mp4s(finished, comfyui):
    name, _, outputs = finished
    lengths = []
    for output in outputs.values():
        for file in output["images"] if output.get("animated") else ():
            with av.open(str(comfyui.base / "output" / file["subfolder"] / file["filename"])) as container:
                stream = container.streams.video[0]
                assert (stream.codec_context.name, stream.average_rate) == ("h264", 16)
                lengths.append(sum(1 for _ in container.decode(stream)))
    assert sorted(lengths) == CLIPS.get(name, [FRAMES])


def test_its_story_is_told_by_its_reports(finished, running):
    name = finished[0]
    for plan in texts(finished, "Wan22Turbo_Sampler"):
        assert plan.startswith(PLANS.get(name, "2 high + 2 low | ")), name
        assert "Warning" not in plan
        assert (f"sparse attention as trained ({TRAINED.get(name)}): density 0.1" in plan) is (name in TRAINED)
    for report in texts(finished, "Wan22Turbo_Lora"):
        assert "Warning" not in report
        assert "not applied" not in report
    if name == "wan22_lora_i2v":
        assert [ORBIT[0] in report for report in texts(finished, "Wan22Turbo_Lora")] == [False, True]
    for report in texts(finished, "Wan22Turbo_JoinClips"):
        assert report.startswith("5 + 5 frames -> 9: the frame that both hold is in it once.")
    for report in texts(finished, "Wan22Turbo_LongClip"):
        assert report.startswith("2 parts, 9 frames, 0.56 seconds; continued by last frame, anchored colours.")
        assert "Each part: 2 high + 2 low | " in report
        assert "Seam 1, frame 6: speed " in report
    if name == LONG:
        classes = ("Wan22Turbo_JoinClips", "Wan22Turbo_LongClip")
        assert len([report for each in classes for report in texts(finished, each)]) == 1
    if name == "wan22_hosted_lora_i2v":
        (job,) = [job for provider in running.providers for job in provider.jobs.values() if job.inputs.get("loras")
                  or job.inputs.get("high_noise_loras")]  # fmt: skip
        assert job.inputs["prompt"].startswith("orbit 180 around the subject")


@pytest.mark.parametrize("name", sorted(name for name in CLIPS if "hosted" in name))
def test_a_hosted_prompt_runs_through_the_client_and_is_paid_once(name, comfyui, running, picture, tmp_path):
    before = sum(provider.posts for provider in running.providers)
    sets = pairs(name, picture, seed=77)  # another picture and seed than above, so another job
    command_line = command(name, comfyui.address, tmp_path, sets)[2:]
    code, out, said = client(*command_line)
    assert code == 0, said
    paths = [Path(line) for line in out.splitlines()]
    assert {path.parent for path in paths} == {tmp_path}
    assert sorted(len(frames_of(path)) for path in paths) == CLIPS[name]
    assert f"{HOSTED_TITLE}: " in said
    assert sum(provider.posts for provider in running.providers) == before + 1
    assert KEY not in said + out


SHIPPED_ONCE = sorted((Path(__file__).parents[1] / "data" / "graphs").glob("*/api/*.json"))


def test_every_prompt_ever_shipped_is_still_accepted(comfyui):
    assert len(SHIPPED_ONCE) >= 9
    refused = {}
    for path in SHIPPED_ONCE:
        status, answer = comfyui.post("/prompt", {"prompt": json.loads(path.read_text(encoding="utf-8"))})
        if status != 200 or answer["node_errors"]:
            refused[path.name] = answer
        comfyui.post("/queue", {"clear": True})  # accepted is enough: they would run at full size
        comfyui.post("/interrupt", {})
    assert refused == {}


def draft_of(study, folder):
    """Writes a shipped study as a draft, for a narrow picture and one seed."""
    place_photograph(folder / "pictures", crop=(0, 120, 416, 184))
    text = (STUDIES / study).read_text(encoding="utf-8")
    for written, drafted in (
        (r"seeds = .+", "seeds = [1]"),
        (r'tier = ".+"', 'tier = "240p"'),
        (r"seconds = \d+", "seconds = 0.25"),
    ):
        text, count = re.subn(written, drafted, text)
        assert count == 1
    path = folder / study
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("study", "jobs"), [("steps_and_schedules.toml", 7), ("local_or_hosted.toml", 4)])
def test_a_shipped_study_runs_to_its_table(study, jobs, running, comfyui, tmp_path):
    path, before = draft_of(study, tmp_path), {each.name: len(each.charged) for each in running.providers}
    code, out, said = client("batch", str(path), "--server", comfyui.address, "-o", str(tmp_path / "out"))
    assert code == 0, said
    assert out == "".join(f"{tmp_path / 'out' / name}\n" for name in ("study.sqlite", "report.html"))
    done = rows(tmp_path / "out")
    assert [row["state"] for row in done] == ["done"] * jobs
    assert len({row["variant"] for row in done}) == jobs
    hosted = [row for row in done if row["graph"] == "wan22_hosted_i2v"]
    frames = {row["variant"]: len(frames_of(tmp_path / "out" / json.loads(row["clips"])[0])) for row in done}
    assert set(frames.values()) == ({FRAMES, HOSTED_FRAMES} if hosted else {FRAMES})
    paid = {each.name: len(each.charged) - before[each.name] for each in running.providers}
    assert set(paid.values()) == ({1} if hosted else {0})
    assert {row["variant"]: row["usd"] for row in hosted if row["usd"]}.keys() == (
        {"WaveSpeed", "AtlasCloud"} if hosted else set()
    )
