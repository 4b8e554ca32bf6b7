"""The shipped hosted graph through a real ComfyUI process: picture in, MP4 out, paid once, and no secret anywhere."""

import copy
import json
import threading
import time
import urllib.error

import av
import pytest
from comfy_server import DIRECT
from pack.tests.toy.faults import says
from pack.tests.toy.hosted_prompt import (
    GRAPH_FILE,
    HOSTED,
    JOBS,
    LORA,
    MODELS,
    SAVE,
    TOKEN,
    add_lora,
    refused,
    run,
    saved,
    shipped,
)
from pack.tests.toy.loopback import KEY, SIGNATURE

pytestmark = pytest.mark.server


@pytest.mark.parametrize("name", MODELS)
def test_a_picture_becomes_an_mp4(name, running, comfyui):
    provider = running.named(name)
    finished = run(comfyui, shipped(1, name))
    with av.open(str(saved(comfyui, finished))) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (96, 64, 16)
        assert sum(1 for _ in container.decode(stream)) == 17
    (report,) = finished[HOSTED]["text"]
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
    assert "?*** at 0.8 on both; owner/second at 0.8 on high" in finished[HOSTED]["text"][0]


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
    for seed, fault in enumerate(
        (says(401, f"bad key {KEY}"), says(422, f"at https://cdn.example/a?signature={SIGNATURE}")), 31
    ):
        running.providers[0].break_next("submit", fault(running.providers[0]))
        _, accepted = comfyui.post("/prompt", {"prompt": add_lora(shipped(seed))})
        assert wait_for(comfyui, accepted["prompt_id"])["status"]["status_str"] == "error"
    (clip,) = set((comfyui.base / "output").rglob("*.mp4")) - clips
    with av.open(str(clip)) as container:
        assert {"prompt", "workflow"} <= set(container.metadata)
        assert "/download/models/7?***" in container.metadata["prompt"]
        assert "/download/models/7?***" in container.metadata["workflow"]
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


def await_rest(server):
    """Waits for an empty queue: ComfyUI tells that a prompt has ended before it takes it off."""
    deadline = time.monotonic() + 60
    while any(server.get("/queue").values()):
        assert time.monotonic() < deadline, server.log_tail()
        time.sleep(0.02)


def test_an_interrupt_ends_the_waiting_and_the_next_run_picks_the_job_up(running, comfyui):
    provider = running.providers[0]
    provider.seconds = 6.0

    def stop_when_submitted():
        while "poll" not in [phase for phase, _ in provider.requests]:  # it waits for its job
            time.sleep(0.01)
        comfyui.post("/interrupt", {})

    stopper = threading.Thread(target=stop_when_submitted)
    stopper.start()
    assert refused(comfyui, shipped(4)).startswith("Somebody interrupted the run on the server, at ")
    stopper.join()
    (job,) = provider.jobs
    assert (
        f"job {job} goes on and is charged. Run the same again, with seed 4, to pick it up."
        in comfyui.log.read_text("utf-8")
    )
    finished = run(comfyui, shipped(4))
    assert "picked up again" in finished[HOSTED]["text"][0]
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
    await_rest(comfyui)
    status, accepted = comfyui.post("/prompt", {"prompt": prompt})
    assert status == 200, accepted
    answers, meanwhile = 0, False
    while len(provider.jobs) < 20:
        queue = comfyui.get("/queue", timeout=5)
        answers += 1
        at_work = [item[1] for item in (*queue["queue_running"], *queue["queue_pending"])]
        assert at_work == [accepted["prompt_id"]], comfyui.log_tail()
        meanwhile |= len(list((comfyui.base / "output").glob("meanwhile*"))) > pictures
        time.sleep(0.02)
    history = wait_for(comfyui, accepted["prompt_id"])
    assert history["status"]["status_str"] == "success"
    assert len(provider.jobs) == provider.posts == 20
    assert 2 <= provider.peak <= JOBS
    assert answers > 20
    assert meanwhile  # a picture was saved before the last job had even begun
    assert sum("images" in output for node, output in history["outputs"].items() if int(node) >= 200) == 20
