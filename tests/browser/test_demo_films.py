"""Films of `make demo` in a browser: what a reader sees there is held against their captions."""

import base64
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pack.tests.browser.hands import OPEN, SEEK
from pack.tiny import judge
from pack.tiny.scenes import FPS, KINDS, random_scene
from PIL import Image

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "output" / "screenshots"
# What the video shows, as a PNG in base64; a list of all its numbers takes a second.
PICTURE = """() => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext('2d').drawImage(video, 0, 0);
    return canvas.toDataURL('image/png').split(',')[1];
}"""
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
    shown = []
    for frame in range(round(found["duration"] * FPS)):
        tab.evaluate(SEEK, (frame + 0.5) / FPS)
        shown.append(np.array(Image.open(io.BytesIO(base64.b64decode(tab.evaluate(PICTURE)))).convert("RGB")))
    PICTURES.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(shown[::4], 1)).save(PICTURES / f"demo_{number}.png")
    scene = random_scene(number, 832 / 480, 1.0, list(KINDS)[number % len(KINDS)])
    assert scene.caption in result.stdout
    assert "says: that is what happens" in result.stdout
    assert judge.judge(scene, np.stack(shown)).obeys
