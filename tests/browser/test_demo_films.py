"""Films of `make demo` in a browser: what a reader sees there is held against their captions."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from demo import scene_of
from pack.tests.browser.hands import OPEN, shown_at
from pack.tiny import judge
from pack.tiny.scenes import FPS
from PIL import Image

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "output" / "screenshots"
SCENES = int(os.environ.get("DEMO_SCENES", "1"))


@pytest.mark.parametrize("number", range(SCENES))
def test_the_demos_film_does_what_its_caption_says(tab, server, tmp_path, number):
    environment = {**os.environ, "WAN22_TURBO_CACHE": str(tmp_path)}
    command = [sys.executable, str(ROOT / "tools" / "demo.py"), "--scene", str(number)]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "The clip: 416x240, 17 frames" in result.stdout
    clip = ROOT / re.search(r"^ *(output.*\.mp4)$", result.stdout, re.MULTILINE)[1]
    name = f"demo {number}.mp4"
    shutil.copy(clip, server.base / "output" / name)
    found = tab.evaluate(OPEN, name)
    shown = [shown_at(tab, (frame + 0.5) / FPS) for frame in range(round(found["duration"] * FPS))]
    PICTURES.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(shown[::4], 1)).save(PICTURES / f"demo_{number}.png")
    scene = scene_of(number)
    assert scene.caption in result.stdout
    assert "says: that is what happens" in result.stdout
    assert judge.judge(scene, np.stack(shown)).obeys
