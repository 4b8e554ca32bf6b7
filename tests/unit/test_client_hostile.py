"""Servers that mean harm, or are broken: a sentence, a documented exit code, nothing half-written, little memory."""

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from pack.tests.toy.hostile import KINDS, PROMPT, Hostile
from PIL import Image

CLIENT = Path(__file__).parents[1] / "toy" / "hostile_client.py"
MOST = 100  # megabytes above the start
DOCUMENTED = {0, 1, 2, 3, 4, 5, 6, 7, 8, 130}


@pytest.fixture(scope="module")
def hostile():
    running = Hostile()
    yield running
    running.close()


@pytest.fixture(scope="module")
def prompt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompt")
    (folder / "prompt.json").write_text(json.dumps(PROMPT), encoding="utf-8")
    Image.new("RGB", (8, 8)).save(folder / "cat.png")
    return folder


class Client:
    """The client's entry point in a process of its own, asked again and again."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(CLIENT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    def run(self, *arguments):
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the client's process has ended"
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()


@pytest.fixture(scope="module")
def client(hostile, prompt, tmp_path_factory):
    running = Client()
    first = running.run(*arguments(hostile, "good", prompt, tmp_path_factory.mktemp("first")))  # the start
    assert first["code"] == 0, first["said"]
    yield running
    running.end()


def arguments(hostile, kind, prompt, out):
    return [
        "run", str(prompt / "prompt.json"),
        "--server", f"http://127.0.0.1:{hostile.port}/{quote(kind)}?token=secret-word",
        "--output", str(out), "--patience", "0.1", "--timeout", "0.5", "--set", f"picture={prompt / 'cat.png'}",
    ]  # fmt: skip


def test_there_are_enough_of_them():
    assert sum(kind.code != 0 for kind in KINDS.values()) >= 34


@pytest.mark.parametrize("name", KINDS)
def test_harm_ends_in_a_sentence(hostile, client, prompt, tmp_path, name):
    kind = KINDS[name]
    hostile.jobs.pop(name, None)
    done = client.run(*arguments(hostile, name, prompt, tmp_path / "out"))
    assert done["code"] == kind.code in DOCUMENTED, done["said"]
    assert re.search(kind.words, done["said"].splitlines()[-1]), done["said"][-3000:]
    assert "Traceback" not in done["said"]
    assert "secret-word" not in done["said"]
    assert done["said"].replace("\n", "").isprintable()
    assert len(done["said"]) < 300_000
    assert [path.name for path in (tmp_path / "out").glob("*")] == list(kind.saved)
    assert done["out"] == "".join(f"{tmp_path / 'out' / file}\n" for file in kind.saved)
    assert list(tmp_path.iterdir()) in ([tmp_path / "out"], [])
    assert done["memory"] < MOST
    assert hostile.prompts[name] <= 1 + (name == "good")
