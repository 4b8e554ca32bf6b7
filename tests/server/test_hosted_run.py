"""The shipped hosted graph through a real ComfyUI process: picture in, MP4 out, paid once, and no secret anywhere."""

import asyncio
import copy
import json
import threading
import time
import urllib.error
from pathlib import Path

import av
import pytest
from comfy_client import PromptError, run_prompt
from comfy_server import DIRECT, ComfyServer
from pack.tests.toy.faults import says
from pack.tests.toy.providers import KEY, PROVIDERS, SIGNATURE, Running
from PIL import Image
from skimage.data import chelsea

pytestmark = pytest.mark.server

PROMPT_FILE = Path(__file__).parents[2] / "workflows" / "api" / "wan22_hosted_i2v.json"
GRAPH_FILE = PROMPT_FILE.parents[1] / PROMPT_FILE.name
MODELS = {
    "wavespeed": "WaveSpeed: wan-2.2/image-to-video-lora",
    "atlascloud": "AtlasCloud: wan-2.2/image-to-video-lora",
    "api302": "302.AI: wan-2.2/image-to-video-lora",
}
SPICY = "AtlasCloud: wan-2.2-turbo-spicy/image-to-video-lora (unrestricted)"
TOKEN = "civitai-secret-1"  # of a LoRA's address
LORA = f"https://civitai.com/api/download/models/7?type=Model&token={TOKEN}"
JOBS = 6
HOSTED, SAVE = "7", "9"  # in the shipped graph


def make_base(base):
    (base / "input").mkdir(parents=True)
    Image.fromarray(chelsea()).save(base / "input" / "example.png")
    return base


def shipped(seed, model="wavespeed", **changes):
    """Returns the shipped prompt for another provider and seed; equal ones would answer from ComfyUI's cache."""
    prompt = json.loads(PROMPT_FILE.read_text(encoding="utf-8"))
    prompt[HOSTED]["inputs"].update({"model": MODELS.get(model, model), "seed": seed, **changes})
    return prompt


def add_lora(prompt, node="20", before=None, **changes):
    inputs = {"url": LORA, "scale": 0.8, "expert": "both", "trigger_words": "", **changes}
    prompt[node] = {"class_type": "Wan22Turbo_HostedLora", "inputs": inputs, "_meta": {"title": "Hosted LoRA"}}
    if before:
        inputs["loras"] = [before, 0]
    prompt[HOSTED]["inputs"]["loras"] = [node, 0]
    return prompt


@pytest.fixture(scope="module")
def running():
    with Running(*(each() for each in PROVIDERS.values())) as all_of_them:
        yield all_of_them


@pytest.fixture(scope="module")
def comfyui(running, tmp_path_factory):
    variables = {
        **running.environment(),
        "WAN22_TURBO_WAVESPEED_JOBS": str(JOBS),
        "WAN22_TURBO_WAVESPEED_STARTS_PER_MINUTE": "0",
    }
    with ComfyServer(make_base(tmp_path_factory.mktemp("hosted 小")), environment=variables) as server:
        yield server


@pytest.fixture(autouse=True)
def healthy(running):
    for provider in running.providers:
        provider.reset()


def run(server, prompt, on_progress=lambda _: None):
    return asyncio.run(run_prompt(server.address, prompt, on_progress))


def saved(server, finished):
    (file,) = finished.outputs[SAVE]["images"]
    return server.base / "output" / file["subfolder"] / file["filename"]


def refused(server, prompt):
    """Returns why a prompt does not run: ComfyUI refuses it, or a node of it fails."""
    with pytest.raises(PromptError) as error:
        run(server, prompt)
    return str(error.value)


@pytest.mark.parametrize("name", MODELS)
def test_a_picture_becomes_an_mp4(name, running, comfyui):
    provider = next(each for each in running.providers if each.name == name)
    finished = run(comfyui, shipped(1, name))
    with av.open(str(saved(comfyui, finished))) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (96, 64, 16)
        assert sum(1 for _ in container.decode(stream)) == 17
    (report,) = finished.outputs[HOSTED]["text"]
    (job,) = provider.jobs
    assert report.startswith(f"{MODELS[name]} | 480p, 5 s, seed 1\nJob {job} | took ")
    (upload,) = provider.uploads.values()
    assert upload.startswith(b"\x89PNG")
    assert provider.problems == provider.leaks == []
    run(comfyui, shipped(1, name))  # from ComfyUI's cache
    assert provider.posts == 1


def test_trigger_words_join_the_prompt_as_they_do_locally(running, comfyui):
    prompt = add_lora(shipped(2), trigger_words="cinematic glow, Soft Daylight")
    finished = run(comfyui, add_lora(prompt, "21", before="20", url="owner/second", expert="high"))
    (job,) = running.providers[0].jobs.values()
    assert job.inputs["prompt"].startswith("cinematic glow, The camera holds still")  # "soft daylight" is there already
    assert job.inputs["loras"] == [{"path": LORA, "scale": 0.8}]
    assert job.inputs["high_noise_loras"] == [{"path": "owner/second", "scale": 0.8}]
    assert "?*** at 0.8 on both; owner/second at 0.8 on high" in finished.outputs[HOSTED]["text"][0]


def test_secrets_are_nowhere(running, comfyui):
    """A run that works and runs that fail; then everything that a person, or a guest, could read."""
    prompt = add_lora(shipped(3))
    prompt["30"] = {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "still"}}
    graph = json.loads(GRAPH_FILE.read_text(encoding="utf-8"))
    graph["nodes"].append({"type": "Wan22Turbo_HostedLora", "widgets_values": [LORA, 1.0, "both", ""]})
    body = {"prompt": prompt, "extra_data": {"extra_pnginfo": {"workflow": graph}}}
    clips = set((comfyui.base / "output").rglob("*.mp4"))
    status, accepted = comfyui.post("/prompt", body)
    assert status == 200, accepted
    history = wait_for(comfyui, accepted["prompt_id"])
    assert history["status"]["status_str"] == "success"
    for fault in (says(401, f"bad key {KEY}"), says(500, f"at https://cdn.example/a?signature={SIGNATURE}")):
        running.providers[0].break_next("submit", fault(running.providers[0]))
        _, accepted = comfyui.post("/prompt", {"prompt": add_lora(shipped(hash(fault) % 1000 + 100))})
        assert wait_for(comfyui, accepted["prompt_id"])["status"]["status_str"] == "error"
    (clip,) = set((comfyui.base / "output").rglob("*.mp4")) - clips
    with av.open(str(clip)) as container:
        assert {"prompt", "workflow"} <= set(container.metadata)
        assert "token=***" in container.metadata["prompt"]
        assert "token=***" in container.metadata["workflow"]
    routes = ("/history", "/settings", "/object_info", "/queue", "/system_stats", "/prompt", "/internal/logs",
              "/userdata?dir=", "/users", "/workflow_templates", "/embeddings", "/api/jobs", "/features")  # fmt: skip
    seen = {route: read(comfyui, route) for route in routes}
    ours = read(comfyui, "/extensions") + b"".join(path.read_bytes() for path in GRAPH_FILE.parent.rglob("*.json"))
    files = {path.relative_to(comfyui.base): path.read_bytes() for path in comfyui.base.rglob("*") if is_ours(path)}
    assert any(path.suffix == ".png" for path in files)
    assert any("__wan22_turbo" in path.parts and path.suffix == ".json" for path in files)
    assert comfyui.log.relative_to(comfyui.base) in files
    for place, content in {**seen, **files, "shipped": ours}.items():
        assert KEY.encode() not in content, place
        assert SIGNATURE.encode() not in content, place
    # The token is in the graph that the user posted, which ComfyUI keeps for him. We repeat it nowhere.
    without = [content for path, content in files.items() if path.suffix not in (".png", ".db", ".db-wal")]
    assert not any(TOKEN.encode() in content for content in without)
    rows = b"".join(content for path, content in files.items() if "__wan22_turbo" in path.parts)
    assert not [word for word in (b"camera", b"://", b"civitai") if word in rows]


def is_ours(path):
    return path.is_file() and not path.is_symlink() and "custom_nodes" not in path.parts


def read(server, route):
    try:
        with DIRECT.open(server.address + route, timeout=20) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:  # an older ComfyUI does not have every route
        return error.read()


def wait_for(server, prompt_id):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        history = server.get(f"/history/{prompt_id}")
        if history:
            return history[prompt_id]
        time.sleep(0.05)
    raise AssertionError(server.log_tail())


def test_an_interrupt_ends_the_waiting_and_the_next_run_picks_the_job_up(running, comfyui):
    provider = running.providers[0]
    provider.seconds = 6.0

    def stop_when_submitted():
        while not provider.jobs:
            time.sleep(0.01)
        time.sleep(0.3)
        comfyui.post("/interrupt", {})

    stopper = threading.Thread(target=stop_when_submitted)
    stopper.start()
    assert refused(comfyui, shipped(4)) == "The run was interrupted."
    stopper.join()
    (job,) = provider.jobs
    assert f"job {job} goes on and is charged. Run the same again to pick it up." in comfyui.log.read_text("utf-8")
    finished = run(comfyui, shipped(4))
    assert "picked up again" in finished.outputs[HOSTED]["text"][0]
    assert len(provider.jobs) == provider.posts == 1


def test_a_failure_of_another_node_loses_nothing(running, comfyui):
    running.providers[0].seconds = 4.0
    prompt = shipped(5)
    prompt["40"] = copy.deepcopy(prompt[HOSTED])
    prompt["40"]["inputs"].update({"model": MODELS["atlascloud"], "seed": 55})
    prompt["41"] = {"class_type": "Wan22Turbo_SaveMp4", "inputs": {**prompt[SAVE]["inputs"], "video": ["40", 0]}}
    running.providers[1].break_next("submit", says(402, "Payment Required")(running.providers[1]))
    assert "The account at AtlasCloud has no credit left (402: Payment Required)." in refused(comfyui, prompt)
    run(comfyui, shipped(5))
    assert len(running.providers[0].jobs) == 1
    assert running.providers[0].posts == 1


def test_twenty_nodes_of_a_graph_wait_together_while_comfyui_answers_and_other_nodes_go_on(running, comfyui):
    provider = running.providers[0]
    provider.seconds = 1.0
    prompt = shipped(0)
    for index in range(20):
        node, save = str(100 + index), str(200 + index)
        prompt[node] = copy.deepcopy(prompt[HOSTED])
        prompt[node]["inputs"]["seed"] = 1000 + index
        prompt[save] = {"class_type": "Wan22Turbo_SaveMp4", "inputs": {**prompt[SAVE]["inputs"], "video": [node, 0]}}
    del prompt[HOSTED], prompt[SAVE]
    prompt["30"] = {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "meanwhile"}}
    pictures = len(list((comfyui.base / "output").glob("meanwhile*")))
    status, accepted = comfyui.post("/prompt", {"prompt": prompt})
    assert status == 200, accepted
    answers, meanwhile = 0, False
    while len(provider.jobs) < 20:
        queue = comfyui.get("/queue", timeout=5)
        answers += 1
        assert [item[1] for item in queue["queue_running"]] == [accepted["prompt_id"]]
        meanwhile |= len(list((comfyui.base / "output").glob("meanwhile*"))) > pictures
        time.sleep(0.02)
    history = wait_for(comfyui, accepted["prompt_id"])
    assert history["status"]["status_str"] == "success"
    assert len(provider.jobs) == provider.posts == 20
    assert provider.peak == JOBS
    assert answers > 20
    assert meanwhile  # a picture was saved before the last job had even begun
    assert sum("images" in output for node, output in history["outputs"].items() if int(node) >= 200) == 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "WaveSpeed: wan-9"}, "The hosted model must be one of WaveSpeed: wan-2.2/image-to-video, "),
        ({"seed": 2**31}, "A hosted model takes a seed of 0 to 2147483647, got 2147483648."),
        ({"seed": -1}, "A hosted model takes a seed of 0 to 2147483647, got -1."),
        ({"duration": 6}, "takes duration 5 or 8, got 6."),
        ({"resolution": "1080p"}, "takes resolution 480p or 720p, got 1080p."),
        ({"prompt": "  "}, "A hosted model needs a prompt, got none."),
        ({"model": SPICY}, "Whoever runs this ComfyUI can allow them by setting WAN22_TURBO_ALLOW_UNRESTRICTED=1."),
        ({"if_flagged": "maybe"}, "Value not in list"),
    ],
)
def test_bad_values_are_refused_before_the_run(changes, message, running, comfyui):
    status, answer = comfyui.post("/prompt", {"prompt": shipped(6, **changes)})
    assert status == 400
    assert message in json.dumps(answer["node_errors"])
    assert not running.providers[0].requests


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": f"file:///home/{TOKEN}"}, "got file:///home/"),
        ({"url": LORA.replace("https", "http")}, "got http://civitai.com/api/download/models/7?***"),
        ({"url": ""}, "got nothing"),
        ({"scale": 9.0}, "A hosted LoRA takes a scale of 0 to 4, got 9."),
        ({"expert": "middle"}, "Value not in list"),
    ],
)
def test_a_bad_lora_is_refused_before_the_run(changes, message, comfyui):
    status, answer = comfyui.post("/prompt", {"prompt": add_lora(shipped(6), **changes)})
    assert status == 400
    told = json.dumps(answer["node_errors"])
    assert message in told
    assert f"token={TOKEN}" not in told


def test_four_loras_are_one_too_many(running, comfyui):
    prompt = add_lora(shipped(7))
    for node in range(21, 24):
        add_lora(prompt, str(node), before=str(node - 1))
    assert "A model takes 3 LoRAs in loras, got 4. Take some away." in refused(comfyui, prompt)
    assert not running.providers[0].requests


def test_a_hosted_model_takes_exactly_one_picture(running, comfyui):
    prompt = shipped(8)
    prompt["30"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["4", 0], "amount": 2}}
    prompt[HOSTED]["inputs"]["image"] = ["30", 0]
    assert "A hosted model takes one picture as image, got 2. Choose one of them." in refused(comfyui, prompt)
    prompt["30"] = {"class_type": "ImageFromBatch", "inputs": {"image": ["4", 0], "batch_index": 0, "length": 1}}
    run(comfyui, prompt)
    assert len(running.providers[0].jobs) == 1


def test_a_flagged_clip_is_not_saved_if_the_node_is_set_to_stop(running, comfyui):
    running.providers[0].flagged = True
    clips = len(list((comfyui.base / "output").rglob("*.mp4")))
    told = refused(comfyui, shipped(9, if_flagged="stop"))
    assert "flagged the content of job wavespeed-" in told
    assert len(list((comfyui.base / "output").rglob("*.mp4"))) == clips
    kept = run(comfyui, shipped(9))
    assert "Content flag of WaveSpeed: FLAGGED" in kept.outputs[HOSTED]["text"][0]
    assert len(running.providers[0].jobs) == 1


def test_without_a_key_the_variable_and_the_command_are_named(tmp_path):
    with ComfyServer(make_base(tmp_path / "no key"), environment=dict.fromkeys(keys(), "")) as server:
        for name, variable in zip(MODELS, keys(), strict=True):
            status, answer = server.post("/prompt", {"prompt": shipped(1, name)})
            assert status == 400
            told = json.dumps(answer["node_errors"])
            assert (
                f"sets the environment variable {variable}, or runs `python -m hosted.credentials set {name}`" in told
            )


def keys():
    return ("WAVESPEED_API_KEY", "ATLASCLOUD_API_KEY", "API302_KEY")


def test_a_comfyui_without_api_nodes_has_no_hosted_models(server):
    status, answer = server.post("/prompt", {"prompt": shipped(1)})
    assert status == 400
    assert "started with --disable-api-nodes, so hosted models are switched off" in json.dumps(answer["node_errors"])
