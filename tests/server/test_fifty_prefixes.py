"""Fifty random prefixes in one prompt: each becomes a clip that ComfyUI serves, or is refused before anything runs."""

import random
import unicodedata
import urllib.parse
import urllib.request

import pytest
from pack.tests.server.test_hosted_run import wait_for
from pack.tests.server.test_saving_early import events_of

pytestmark = pytest.mark.server

LETTERS = (
    "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789 _-",
    "a./",
    "a.../_",
    "ab\\:*?\"<>|#%&+'~$`;=,@!()[]{}^",
    "小猫镜头高噪äéßøñ",
    "😀🐈‍⬛👩‍👧é\u0301ก็\u200d",
    "שלוםمرحبا\u200f",
    "ab\u202e\u2066\n\t\x7f\u2028",
)
TOKENS = ("%year%", "%month%-%day%", "%width%x%height%", "%hour%%minute%%second%", "%date:yyyy%", "%Node.widget%", "%")
FOLDERS = ("", "", "a/", "shots/x.y/", "./", "../", "a/../b/", "小/", "/", "%year%/")


def prefixes(count):
    """Names of 1 to 300 letters, the same in each run."""
    chance = random.Random(50)
    for _ in range(count):
        letters, length = chance.choice(LETTERS), min(chance.randint(1, 300), chance.randint(1, 300))
        name = "".join(chance.choices(letters, k=length))
        if chance.random() < 0.3:
            name = name[: length // 2] + chance.choice(TOKENS) + name[length // 2 :]
        yield (chance.choice(FOLDERS) + name)[:300]


def view(server, saved):
    with urllib.request.urlopen(f"{server.address}/view?{urllib.parse.urlencode(saved)}") as answer:
        return answer.read()


def test_each_of_fifty_prefixes_is_served_or_refused(server):
    saving = {"fps": 16, "codec": "h264", "crf": 30, "metadata": "none", "video": ["0", 0]}
    size = {"width": 32, "height": 32, "batch_size": 1, "color": 0}
    prompt = {"0": {"class_type": "EmptyImage", "inputs": size}}
    typed = {str(number): prefix for number, prefix in enumerate(prefixes(50), 1)}
    for node_id, prefix in typed.items():
        prompt[node_id] = {"class_type": "Wan22Turbo_SaveMp4", "inputs": {**saving, "filename_prefix": prefix}}
    output = server.base / "output"
    before = set(output.rglob("*.mp4"))
    answer, _ = events_of(server, prompt)
    refused = answer["node_errors"]
    for node_id, errors in refused.items():
        said = {error["details"].partition(" - ")[2] for error in errors["errors"]}
        assert len(said) == 1, typed[node_id]
        assert not {unicodedata.category(letter) for letter in said.pop()} & {"Cc", "Cs", "Zl", "Zp"}, typed[node_id]
    record = wait_for(server, answer["prompt_id"])  # ComfyUI tells of the end before it is in the history
    assert record["status"]["status_str"] == "success", record["status"]
    assert record["outputs"].keys() == typed.keys() - refused.keys()
    clips = [saved for node in record["outputs"].values() for saved in node["images"]]
    for saved in clips:
        assert view(server, saved)[4:8] == b"ftyp", saved
    assert len(set(output.rglob("*.mp4")) - before) == len(clips) == len({tuple(saved.values()) for saved in clips})
    assert len(clips) > 15
    assert len(refused) > 15
