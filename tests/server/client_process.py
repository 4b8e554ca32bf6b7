"""`python client` as a process, at work on a real ComfyUI."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
from pack.client import prompts, schema

ROOT = Path(__file__).parents[2]
HOSTED = "Wan22Turbo_Hosted"  # wants a provider and its key; tests/server/test_graphs.py has both
LOCAL = [name for name in prompts.names() if HOSTED not in {node["class_type"] for node in prompts.load(name).values()}]
LOCAL.sort(key=lambda name: name != "wan22_turbo_i2v")
DRAFT = {"tier": "240p", "seconds": 0.3}
LONG = {"schedule": "shifted", "steps": 100, "tier": "480p", "seconds": 1}  # long enough to be stopped
UPLOADED = "a cat 小 100%.png"


def pairs(name, picture, **more):
    """Returns the values for a prompt: a draft from a picture."""
    wanted = {**DRAFT, **more}
    values = {}
    for setting in schema.settings_in(schema.load(name)):
        if setting.input in wanted:
            values[setting.name] = wanted[setting.input]
        elif setting.files == "upload":
            values[setting.name] = str(picture)
        elif setting.input == "prompt" and "\n" in setting.default:
            values[setting.name] = "\n".join(setting.default.splitlines()[:2])  # of a story, its first two parts
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


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
