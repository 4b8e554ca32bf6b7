"""`python client` and its Python side against a real ComfyUI: clips, cancelled runs, broken networks, restarts."""

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import numpy as np
import pytest
from comfy_server import ComfyServer, free_port
from pack.client import address, job, make, prompts, schema
from pack.client.server import Server
from PIL import Image

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
HOSTED = "Wan22Turbo_Hosted"  # wants a provider and its key; tests/server/test_hosted.py has both, if it is there
LOCAL = [name for name in prompts.names() if HOSTED not in {node["class_type"] for node in prompts.load(name).values()}]
LOCAL.sort(key=lambda name: name != "wan22_turbo_i2v")
DRAFT = {"tier": "240p", "seconds": 0.3}
LONG = {"schedule": "shifted", "steps": 100}
UPLOADED = "a cat 小 100%.png"

each_prompt = pytest.mark.parametrize("name", LOCAL)
posix = pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to whole groups only")


def pairs(name, picture, **more):
    """Returns the values for a prompt: a draft from a picture."""
    wanted = {**DRAFT, **more}
    values = {}
    for setting in schema.settings_in(schema.load(name)):
        if setting.input in wanted:
            values[setting.name] = wanted[setting.input]
        elif setting.files == "upload":
            values[setting.name] = str(picture)
    return values


def command(name, where, out, values, *options):
    sets = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return [
        sys.executable, str(ROOT / "client"), "run", name, "--server", where, "--output", str(out), *sets, *options,
    ]  # fmt: skip


class Process:
    """A client at work, whose lines can be waited for."""

    def __init__(self, arguments):
        self.process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self.said = ""
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.said += line

    def wait_for(self, pattern, seconds=120.0):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.said):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def end(self, seconds=180.0):
        """Waits for its end, and returns exit code and standard output. What does not end in time is killed."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        if not self.process.stdout.closed:
            self.out = self.process.stdout.read()
            self.process.stdout.close()
            self.process.stderr.close()
        return self.process.returncode, self.out

    @property
    def job(self):
        return re.search(r"^Job ([0-9a-f-]{36})$", self.said, re.MULTILINE)[1]


def client(*arguments):
    """Runs the client to its end."""
    result = subprocess.run([sys.executable, str(ROOT / "client"), *arguments], capture_output=True, text=True)
    assert "Traceback" not in result.stderr, result.stderr
    return result.returncode, result.stdout, result.stderr


class Relay:
    """A network between client and server that can be cut."""

    def __init__(self, port):
        self.port, self.target, self.pairs, self.whole, self.ended = free_port(), port, [], True, False
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.thread = threading.Thread(target=self.accept)
        self.thread.start()

    def accept(self):
        threads = []
        while not self.ended:
            if not select.select([self.listener], [], [], 0.05)[0]:
                continue
            near, _ = self.listener.accept()
            if not self.whole:
                near.close()
                continue
            pair = (near, socket.create_connection(("127.0.0.1", self.target)))
            self.pairs.append(pair)
            for source, sink in (pair, pair[::-1]):
                threads.append(threading.Thread(target=self.pipe, args=(source, sink)))
                threads[-1].start()
        self.cut()
        for thread in threads:
            thread.join()
        for near, far in self.pairs:
            near.close()
            far.close()

    @staticmethod
    def pipe(source, sink):
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        self.whole = False
        for near, far in self.pairs:
            for end in (near, far):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)  # wakes the threads that read from it; a close would not

    def close(self):
        self.ended = True
        self.thread.join()
        self.listener.close()


@pytest.fixture
def start():
    """Starts clients, and ends those that a failed test leaves."""
    started = []

    def one(arguments):
        started.append(Process(arguments))
        return started[-1]

    yield one
    for one_of_them in started:
        one_of_them.end(0 if one_of_them.process.poll() is None else 1)


@contextmanager
def relay_to(server):
    relay = Relay(server.port)
    try:
        yield relay
    finally:
        relay.close()


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / UPLOADED
    noise = np.random.default_rng(5).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((192, 128)).save(path)
    return path


@pytest.fixture
def two_outputs(tmp_path):
    """A prompt without models, of whose two outputs ComfyUI refuses one."""
    save = {"fps": 16, "filename_prefix": "two/clip", "codec": "h264", "metadata": "none", "video": ["1", 0]}
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}, "_meta": {"title": "Your picture"}},
        "2": {"class_type": "Wan22Turbo_SaveMp4", "inputs": {**save, "crf": 18}, "_meta": {"title": "First clip"}},
        "3": {"class_type": "Wan22Turbo_SaveMp4", "inputs": {**save, "crf": 99}, "_meta": {"title": "Second clip"}},
    }
    path = tmp_path / "two.json"
    path.write_text(json.dumps(prompt), encoding="utf-8")
    return path


@pytest.fixture
def comfyui(server):
    speaking = Server(address.parse(server.address), patience=5.0)
    yield speaking
    speaking.close()


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", [LOCAL[0], "wan22_long_clip_i2v"])  # each of them runs over the network, below
def test_a_prompt_runs_to_an_mp4_from_python(server, comfyui, picture, tmp_path, name):
    (path,) = make(server.address, name, pairs(name, picture), tmp_path)
    frames = frames_of(path)
    assert len(frames) in (5, 9)  # the long clip is two in one
    assert frames[0].std() > 5
    record = next(iter(reversed(comfyui.get("/history").values())))
    posted = json.dumps(record["prompt"], ensure_ascii=False)
    assert UPLOADED in posted
    assert str(picture.parent) not in posted
    assert str(tmp_path) not in posted


@each_prompt
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
    assert re.search(r"s {2}[^\n]*Sampler[^\n]* {2}\d+/\d+", running.said)
    assert re.search(r"Sampler[^\n]*: \d+ high( \+ \d+ low)? \| ", running.said)


def test_a_prompt_runs_in_the_process_of_comfyui_itself(server, picture, tmp_path):
    base = tmp_path / "base"
    for folder in ("custom_nodes", "input", "output", "temp", "user"):
        (base / folder).mkdir(parents=True)
    (base / "models").symlink_to(server.base / "models", target_is_directory=True)
    (base / "custom_nodes" / "pack").symlink_to(ROOT, target_is_directory=True)
    values = [f"{name}={value}" for name, value in pairs(LOCAL[0], picture).items()]
    result = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("one_process.py")), str(base), str(free_port()),
         str(tmp_path / "out"), LOCAL[0], *values],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert len(frames_of(re.search(r"^saved (.+)$", result.stdout, re.MULTILINE)[1])) == 5


@posix
def test_ctrl_c_stops_the_run_on_the_server_and_saves_nothing(server, comfyui, picture, tmp_path, start):
    running = start(command(LOCAL[0], server.address, tmp_path, pairs(LOCAL[0], picture, **LONG)))
    running.wait_for(r"rCM Sampler {2}1/100")
    running.process.send_signal(signal.SIGINT)
    code, out = running.end(60)
    assert (code, out) == (130, ""), running.said
    assert f"Cancelled: the server confirms that job {running.job} has stopped." in running.said
    assert "Traceback" not in running.said
    assert list(tmp_path.iterdir()) == []
    kinds = [kind for kind, _ in comfyui.locate(running.job).record["status"]["messages"]]
    assert "execution_interrupted" in kinds


@posix
def test_ctrl_c_takes_a_waiting_job_out_of_the_queue_and_leaves_the_running_one(
    server, comfyui, picture, tmp_path, start
):
    first = start(command(LOCAL[0], server.address, tmp_path, pairs(LOCAL[0], picture, **LONG)))
    first.wait_for(r"rCM Sampler {2}1/100")
    second = start(command(LOCAL[0], server.address, tmp_path, pairs(LOCAL[0], picture, seed=2)))
    second.wait_for(r"Waiting in the queue, 1 before this one\.")
    second.process.send_signal(signal.SIGTERM)
    assert second.end(60) == (130, "")
    assert f"Cancelled: job {second.job} left the queue unrun." in second.said
    assert comfyui.locate(first.job).state == "running"
    code, out, _ = client("cancel", first.job, "--server", server.address)
    assert (code, out) == (0, f"Cancelled: the server confirms that job {first.job} has stopped.\n")
    assert first.end(60) == (1, "")
    assert "Somebody interrupted the run on the server, at rCM Sampler." in first.said


def test_a_network_that_breaks_and_comes_back_costs_nothing(server, picture, tmp_path, start):
    with relay_to(server) as relay:
        where = f"http://127.0.0.1:{relay.port}"
        running = start(command(LOCAL[0], where, tmp_path, pairs(LOCAL[0], picture, seed=3)))
        running.wait_for(r"rCM Sampler {2}1/4")
        relay.cut()
        running.wait_for(r"does not answer\. Waiting for it, up to 60 seconds\.")
        relay.whole = True
        code, out = running.end()
    assert code == 0, running.said
    assert running.said.count("The server's websocket is out of reach.") == 1
    assert len(frames_of(out.strip())) == 5


def test_a_server_that_restarts_in_the_middle_has_lost_the_job_and_the_client_says_so(server, picture, tmp_path, start):
    base, port = tmp_path / "base", free_port()
    base.mkdir()
    (base / "models").symlink_to(server.base / "models", target_is_directory=True)
    with ComfyServer(base, ["--disable-api-nodes"], port) as before:
        running = start(command(LOCAL[0], before.address, tmp_path / "out", pairs(LOCAL[0], picture, **LONG)))
        running.wait_for(r"rCM Sampler {2}1/100")
    with ComfyServer(base, ["--disable-api-nodes"], port):
        code, out = running.end(120)
        again = client("fetch", running.job, "--server", f"http://127.0.0.1:{port}")
    assert (code, out) == (5, ""), running.said
    assert f"no longer has job {running.job}, neither in its queue nor in its history" in running.said
    assert "it is safe to run the same command again" in running.said
    assert "Traceback" not in running.said
    assert again[0] == 5
    assert not (tmp_path / "out").exists()


def test_of_two_outputs_with_one_invalid_the_other_is_saved_and_the_refusal_explained(server, two_outputs, tmp_path):
    code, out, said = client("run", str(two_outputs), "--server", server.address, "-o", str(tmp_path / "out"))
    assert code == 4
    (path,) = (Path(line) for line in out.splitlines())
    assert len(frames_of(path)) == 1
    assert "The server leaves out Second clip:\nSecond clip, input 'crf': It must be at most 51, got 99." in said


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
def test_pictures_keep_their_names_and_are_not_stored_twice(comfyui, picture, tmp_path, name):
    first, second = tmp_path / name, tmp_path / "other" / name
    second.parent.mkdir()
    first.write_bytes(picture.read_bytes())
    Image.new("RGB", (8, 8), name and "red").save(second)
    stored = comfyui.upload(first)
    assert comfyui.upload(first) == stored
    other = comfyui.upload(second)
    assert other != stored
    assert Path(other).suffix == ".png"
    for sent, path in ((stored, first), (other, second)):
        with comfyui.view({"filename": sent, "type": "input"}) as answer:
            assert answer.read() == path.read_bytes()


@pytest.mark.parametrize("name", prompts.names())
def test_the_shipped_schema_is_what_the_server_says(server, comfyui, name):
    said = schema.schema_of(name, job.settings_on(comfyui, prompts.load(name)))
    shipped = schema.load(name)
    if server.get("/system_stats")["system"]["comfyui_version"] != "0.30.0":  # core's tooltips and choices move
        said, shipped = ours(said), ours(shipped)
    assert shipped == said, "Run `python client schema --write --server ADDRESS` against this ComfyUI."


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
def test_the_readme_says_it_in_curl(server, picture, tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = re.search(r"The same with curl and jq:\n\n```sh\n(.+?)```", readme, re.DOTALL)[1]
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
