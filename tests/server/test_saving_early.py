"""What cannot be saved is refused before a model is loaded, and nothing that was computed is lost."""

import json
import urllib.parse
import urllib.request
import uuid

import pytest
from pack.tests.server.test_decode import prompt_of, run
from websockets.sync.client import connect

pytestmark = pytest.mark.server


def events_of(server, prompt):
    """Runs a prompt, and returns ComfyUI's answer to it and what it told meanwhile: type and data."""
    client = uuid.uuid4().hex
    with connect(f"{server.address.replace('http', 'ws')}/ws?clientId={client}", max_size=None) as socket:
        status, answer = server.post("/prompt", {"prompt": prompt, "client_id": client})
        assert status == 200, answer
        events = []
        while not (events and events[-1][0] in ("execution_success", "execution_error")):
            message = socket.recv(timeout=60)
            if isinstance(message, str):
                event = json.loads(message)
                events.append((event["type"], event["data"]))
    return answer, events


def linked(prompt, name, class_type, **inputs):
    """Gives a node's input a link to a node, where ComfyUI cannot know its value when the prompt is posted."""
    prompt["9"] = {"class_type": class_type, "inputs": inputs}
    prompt["3"]["inputs"][name] = ["9", 0]
    return prompt


@pytest.mark.parametrize("node", ["Wan22Turbo_DecodeMp4", "Wan22Turbo_SaveMp4"])
@pytest.mark.parametrize(
    ("name", "class_type", "inputs", "said"),
    [
        ("crf", "PrimitiveInt", {"value": 99}, "H.264 takes a CRF of 1 (best) to 51, got 99."),
        ("filename_prefix", "PrimitiveString", {"value": "../x"}, "'../x' leads out of it. Remove the ../."),
        ("filename_prefix", "PrimitiveString", {"value": "v1..2"}, "two dots side by side"),
    ],
)
def test_what_comes_through_a_link_is_refused_before_anything_else_runs(server, node, name, class_type, inputs, said):
    prompt = linked(prompt_of(f"early/{node}", node), name, class_type, **inputs)
    _, events = events_of(server, prompt)
    kind, data = events[-1]
    assert kind == "execution_error"
    assert said in data["exception_message"]
    assert data["node_id"] == "3"
    ran = [data["node"] for kind, data in events if kind == "executing" and data["node"]]
    assert ran in (["9", "3"], ["3"])  # the linked value may be known from an earlier run
    assert not (server.base / "output" / "early").exists()


def test_a_node_that_waits_for_its_clip_does_not_look_as_if_it_ran(server):
    _, events = events_of(server, prompt_of("waits/clip"))
    assert events[-1][0] == "execution_success"
    running = [
        [node for node, state in data["nodes"].items() if state["state"] == "running"]
        for kind, data in events
        if kind == "progress_state"
    ]
    assert all(len(nodes) <= 1 for nodes in running)
    assert running[-2] == ["3"]


def test_the_name_is_refused_when_the_prompt_is_posted(server):
    for prefix in ("../x", "v1..2", "a\nb", "x" * 250, "小" * 90, "\ud800", "", "y" * 1_000_000):
        status, answer = server.post("/prompt", {"prompt": prompt_of(prefix)})
        assert status == 400
        (refusal,) = {error["details"].partition(" - ")[2] for error in answer["node_errors"]["3"]["errors"]}
        assert refusal.endswith(".")
        assert len(refusal) < 300
        assert str(server.base) not in refusal


def test_view_serves_what_was_saved(server):
    for prefix in ("served/", 'served/a"b\\c', "served/小 #1?&%41+", "served/v1.2.", "a/../served/-x"):
        saved = run(server, prompt_of(prefix))
        with urllib.request.urlopen(f"{server.address}/view?{urllib.parse.urlencode(saved)}") as answer:
            body = answer.read()
        assert body == (server.base / "output" / saved["subfolder"] / saved["filename"]).read_bytes()


def test_a_slash_at_the_end_twice_gives_two_clips(server):
    first, second = (run(server, prompt_of("slash/clips/", crf=crf)) for crf in (18, 20))
    assert first != second
    assert {path.name for path in (server.base / "output" / "slash").iterdir()} == {
        "clips_00001_.mp4",
        "clips_00002_.mp4",
    }
