"""`make demo` and `make serve` as a newcomer runs them, once the set-up is done."""

import os
import re
import signal
import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest
from comfy_server import DIRECT
from PIL import Image

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, str(ROOT / "tools" / "demo.py")]


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, "WAN22_TURBO_CACHE": str(tmp_path), "PYTHONUNBUFFERED": "1"}


def test_demo_leaves_a_clip_and_a_contact_sheet_and_says_what_ran(environment, tmp_path):
    picture = tmp_path / "my lake.jpg"
    sideways = Image.radial_gradient("L").convert("CMYK").resize((80, 300))
    exif = Image.Exif()
    exif[0x0112] = 6  # a phone held upright
    sideways.save(picture, exif=exif)
    result = subprocess.run(
        [*DEMO, "--seconds", "0.3", "--image", str(picture)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    said = result.stdout
    assert result.returncode == 0, said + result.stderr
    assert "Fit to 720p: 300x80 -> 416x112 (240p)" in said
    assert "rCM Sampler: 2 high + 2 low | .9950 .9338 | .8529 .6090" in said
    assert re.search(r"[0-9.]+ s  rCM Sampler  4/4", said)
    assert "The clip: 416x112, 5 frames, 16 a second, 0.31 s" in said
    assert "a photograph stays a blurred likeness" in said
    assert "--models /path/to/ComfyUI/models" in said
    clip, sheet = (ROOT / line.strip() for line in said.splitlines() if line.strip().startswith("output"))
    assert clip.suffix == ".mp4"
    assert clip.stat().st_size > 1000
    with Image.open(sheet) as picture_of_frames:
        assert picture_of_frames.width > 500


def test_a_scene_that_is_none_is_said_before_anything_starts(environment):
    result = subprocess.run([*DEMO, "--scene", "-1"], env=environment, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.endswith("--scene must be 0 or more, got -1\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image", "gone.jpg"], "The picture must be a file that can be read, got gone.jpg"),
        (["--models", "."], "--models must be a ComfyUI models folder; . holds no diffusion_models."),
    ],
)
def test_demo_says_in_a_sentence_what_it_cannot_use(environment, tmp_path, arguments, message):
    result = subprocess.run([*DEMO, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert message in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no groups of processes to send a signal to")
def test_ctrl_c_ends_the_demo_and_its_comfyui_without_waiting_for_it(environment, tmp_path):
    Image.radial_gradient("L").resize((451, 60)).save(tmp_path / "narrow.png")
    with subprocess.Popen(
        [*DEMO, "--seconds", "2", "--image", str(tmp_path / "narrow.png")],
        env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = ""
        while "rCM Sampler" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to both
        rest, _ = process.communicate(timeout=180)
    assert process.returncode == 130
    assert rest.endswith("\nStopped.\n")
    assert "does not answer" not in rest


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_serve_prints_its_address_and_ends_with_its_server_when_asked(environment, tmp_path):
    with subprocess.Popen(
        [*DEMO, "--serve"], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        address = re.search(r"http://127\.0\.0\.1:\d+", said)[0]
        assert DIRECT.open(f"{address}/system_stats", timeout=10).status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    with pytest.raises(urllib.error.URLError):
        DIRECT.open(f"{address}/system_stats", timeout=10)
