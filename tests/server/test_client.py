"""`python client` and its Python side against a real ComfyUI: clips, refusals, uploads, what may be set."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pack.client import job, make, prompts, schema
from pack.tests.server.client_process import LOCAL, ROOT, UPLOADED, client, command, frames_of, pairs
from pack.tests.server.relay import impatient_proxy_to, relay_to
from PIL import Image

pytestmark = pytest.mark.server


_SAVE = {"fps": 16, "filename_prefix": "two/clip", "codec": "h264", "metadata": "none", "video": ["1", 0]}
TWO_OUTPUTS = {  # without models; ComfyUI refuses one of them
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}, "_meta": {"title": "Your picture"}},
    "2": {"class_type": "Wan22Turbo_SaveMp4", "inputs": {**_SAVE, "crf": 18}, "_meta": {"title": "First clip"}},
    "3": {"class_type": "Wan22Turbo_SaveMp4", "inputs": {**_SAVE, "crf": 99}, "_meta": {"title": "Second clip"}},
}


@pytest.fixture
def two_outputs(tmp_path):
    path = tmp_path / "two.json"
    path.write_text(json.dumps(TWO_OUTPUTS), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", [LOCAL[0], "wan22_long_clip_i2v"])  # each of them runs over the network, below
def test_a_prompt_runs_to_an_mp4_from_python(server, picture, tmp_path, name):
    (path,) = make(server.address, name, pairs(name, picture), tmp_path)
    frames = frames_of(path)
    assert len(frames) in (5, 9)  # the long clip has two parts
    assert frames[0].std() > 5
    record = next(iter(reversed(server.get("/history").values())))
    posted = json.dumps(record["prompt"], ensure_ascii=False)
    assert UPLOADED in posted
    assert str(picture.parent) not in posted
    assert str(tmp_path) not in posted


@pytest.mark.parametrize("name", LOCAL)
def test_every_prompt_runs_to_an_mp4_over_the_network(server, picture, tmp_path, name, start):
    with relay_to(server) as relay:
        where = f"http://127.0.0.1:{relay.port}"
        running = start(command(name, where, tmp_path, pairs(name, picture, seed=1)))
        code, out = running.end()
    assert code == 0, running.said
    (path,) = (Path(line) for line in out.splitlines())
    assert path.parent == tmp_path
    assert len(frames_of(path)) in (5, 9)
    sizes = {file.stat().st_size for file in (server.base / "output").rglob(path.name)}
    assert path.stat().st_size in sizes
    assert re.search(r"s {2}[^\n]*(Sampler|Long Clip)[^\n]* {2}\d+/\d+", running.said)
    assert re.search(r"(Sampler|Each part)[^\n]*: \d+ high( \+ \d+ low)? \| ", running.said)


def test_of_two_outputs_with_one_invalid_the_other_is_saved_and_the_refusal_explained(server, two_outputs, tmp_path):
    code, out, said = client("run", str(two_outputs), "--server", server.address, "-o", str(tmp_path / "out"))
    assert code == 4
    (path,) = (Path(line) for line in out.splitlines())
    assert len(frames_of(path)) == 1
    assert "The server leaves out Second clip:\nSecond clip, input 'crf': It must be at most 51, got 99." in said


def test_a_proxy_that_withholds_every_first_answer_costs_neither_the_clip_nor_a_second_job(
    server, connection, two_outputs, tmp_path
):
    with impatient_proxy_to(server) as proxy:
        where = ("--server", f"http://127.0.0.1:{proxy.server_port}", "-o", str(tmp_path / "out"))
        code, out, said = client("run", str(two_outputs), *where, "--set", "first_clip.crf=30")
    assert code == 4, said
    assert len(frames_of(out.strip())) == 1
    assert "The answer to the prompt got lost. Asking the server whether it has the job." in said
    assert "The server leaves out Second clip. Why, it said in the answer that got lost." in said
    assert proxy.passed.count("POST prompt") == 1
    assert proxy.withheld >= {"prompt", "queue", "history", "view"}
    job_id = re.search(r"^Job (\S+)$", said, re.MULTILINE)[1]
    assert connection.locate(job_id).outputs == ("2",)


def test_a_clip_that_was_deleted_on_the_server_is_said_and_another_prefix_makes_it_anew(server, two_outputs, tmp_path):
    where = ("--server", server.address, "-o", str(tmp_path / "out"))
    both = ("--set", "first_clip.crf=31", "--set", "second_clip.crf=32")
    code, out, said = client("run", str(two_outputs), *where, *both)
    assert (code, len(out.splitlines())) == (0, 2), said
    for line in out.splitlines():
        (server.base / "output" / "two" / Path(line).name).unlink()
    code, out, said = client("run", str(two_outputs), *where, *both)
    assert (code, out) == (7, "")
    assert said.count("ComfyUI does not make again what it remembers. Set another filename_prefix") == 2
    again = [part for name in ("first_clip", "second_clip") for part in ("--set", f"{name}.filename_prefix=two/again")]
    code, out, said = client("run", str(two_outputs), *where, *both, *again)
    assert (code, len(out.splitlines())) == (0, 2), said


def test_strictly_nothing_runs_where_a_part_is_refused(server, two_outputs, tmp_path):
    where = ("--server", server.address, "-o", str(tmp_path / "out"))
    code, out, said = client("run", str(two_outputs), *where, "--strict")
    assert (code, out) == (3, "")
    assert "Second clip, input 'crf': It must be at most 51, got 99." in said
    assert not (tmp_path / "out").exists()
    code, out, said = client("run", str(two_outputs), *where, "--set", "first_clip.crf=1", "--set", "3.crf=2")
    assert (code, len(out.splitlines())) == (0, 2), said


def test_a_whole_prompt_that_is_refused_is_explained(server, tmp_path):
    code, _, said = client("run", LOCAL[0], "--server", server.address, "--set", "vae=gone.safetensors")
    assert code == 3
    assert said.startswith("Load Wan 2.2 I2V: vae: 'gone.safetensors' is not in ComfyUI's folder 'vae'.")


def test_a_node_that_fails_is_named(server, picture, tmp_path, start):
    values = {**pairs(LOCAL[0], picture), "cfg": 3.5}
    code, _ = (running := start(command(LOCAL[0], server.address, tmp_path, values))).end()
    assert code == 1
    assert "rCM Sampler failed: " in running.said
    assert "cfg other than 1 needs a negative prompt" in running.said


def test_a_job_may_be_sent_now_and_fetched_later_and_nothing_is_overwritten(server, two_outputs, tmp_path):
    where = ("--server", server.address)
    code, sent, _ = client("run", str(two_outputs), *where, "--no-wait", "--set", "second_clip.crf=20")
    assert code == 0
    saved = [client("fetch", sent.strip(), *where, "-o", str(tmp_path / "out"))[1].split("\n") for _ in range(2)]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 4, saved
    assert sum(" (1).mp4" in name for name in names) == 2
    code, _, said = client("fetch", "00000000-0000-4000-8000-000000000000", *where)
    assert code == 5
    assert "The server has no job 00000000-0000-4000-8000-000000000000." in said


@pytest.mark.parametrize("name", [UPLOADED, 'quote " and [brackets].png', "plain.png"])
def test_pictures_keep_their_names_and_are_not_stored_twice(connection, picture, tmp_path, name):
    first, second = tmp_path / name, tmp_path / "other" / name
    second.parent.mkdir()
    first.write_bytes(picture.read_bytes())
    Image.new("RGB", (8, 8), name and "red").save(second)
    stored = connection.upload(first)
    assert connection.upload(first) == stored
    other = connection.upload(second)
    assert other != stored
    assert Path(other).suffix == ".png"
    for sent, path in ((stored, first), (other, second)):
        with connection.view({"filename": sent, "type": "input"}) as answer:
            assert answer.read() == path.read_bytes()


@pytest.mark.parametrize("name", prompts.names())
def test_the_shipped_schema_is_what_the_server_says(server, connection, name):
    said = schema.schema_of(name, job.settings_on(connection, prompts.load(name)))
    shipped = schema.load(name)
    if server.get("/system_stats")["system"]["comfyui_version"] != "0.30.0":  # core's tooltips and choices move
        said, shipped = ours(said), ours(shipped)
    assert shipped == said, "Run `make schemas`."


def ours(made):
    """Returns the part of a schema that describes this pack's own nodes, whatever core's are like."""
    own = {"Load Wan 2.2 I2V", "rCM Sampler", "Fit to 720p", "Image to Video Latent", "Save MP4"}
    return {key: known for key, known in made["properties"].items() if known["x-comfyui"]["title"] in own}


def test_what_may_be_set_is_listed_with_and_without_a_server(server):
    code, shipped, _ = client("inputs", LOCAL[0])
    assert code == 0
    assert "picture" in shipped
    assert client("inputs", LOCAL[0], "--server", server.address)[1] == shipped
    assert set(client("list")[1].split()) >= set(prompts.names())
    code, _, said = client("run", LOCAL[0], "--server", server.address, "--set", "second=1")
    assert (code, said) == (2, "The prompt has no input called 'second'. Did you mean seconds or encoder or seed?\n")
    code, _, said = client("run", LOCAL[0], "--server", "http://127.0.0.1:9")
    assert code == 6
    assert said.startswith("No ComfyUI answers at http://127.0.0.1:9 (")


@pytest.mark.skipif(not (shutil.which("jq") and shutil.which("curl") and shutil.which("bash")), reason="no curl and jq")
def test_the_page_says_it_in_curl(server, picture, tmp_path):
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    script = re.search(r"## The same with curl and jq\n\n```sh\n(.+?)```", page, re.DOTALL)[1]
    draft = {
        "http://127.0.0.1:8188": server.address,
        "inputs.seconds = 3": 'inputs.seconds = 0.3 | .["5"].inputs.tier = "240p"',
        "workflows/": f"{ROOT}/workflows/",
    }
    for shipped, here in draft.items():
        assert shipped in script
        script = script.replace(shipped, here)
    shutil.copy(picture, tmp_path / "cat.png")
    result = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert len(frames_of(tmp_path / "clip.mp4")) == 5
