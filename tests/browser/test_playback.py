"""Saved clips in a real browser: they play, seek, loop, show their colours, and open as a graph."""

import json
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from find_browser import ARGUMENTS, ensure_browser, settle
from pack.media.codecs import CODECS, Codec, Encoder
from pack.media.mp4 import Mp4Writer
from pack.media.recipe import recipe
from pack.media.resolution import Size
from pack.tests.browser.hands import COLOURS, OPEN, SEEK, shown_at, twin
from pack.tests.toy import runs

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
GRAPH = ROOT / "workflows" / "wan22_turbo_i2v.json"
PICTURES = ROOT / "output" / "screenshots"
FRAMES = 33  # two seconds and a frame: more than one group of pictures would hide bad seeking, this is one
BARS = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)]
SIZES = {"720p": Size(1280, 720), "480p": Size(832, 480)}

PLAY = """() => new Promise((resolve, reject) => {
    video.onended = () => resolve({time: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames});
    video.play().catch(reject);
})"""
LOOP = """wanted => new Promise((resolve, reject) => {
    let last = 0, turns = 0;
    video.loop = true;
    video.playbackRate = 4;
    video.ontimeupdate = () => {
        if (video.currentTime < last && ++turns === wanted) resolve(turns);
        last = video.currentTime;
    };
    video.play().catch(reject);
})"""
# Where a file's sound is loudest, and how long it is, in seconds.
LOUDEST = """async name => {
    const answer = await fetch('/view?type=output&filename=' + encodeURIComponent(name));
    const sound = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(await answer.arrayBuffer());
    const samples = sound.getChannelData(0).map(Math.abs);
    const loudest = samples.reduce((one, other) => Math.max(one, other));
    return {time: samples.indexOf(loudest) / 48000, length: sound.duration};
}"""
# What the browser tells the page when a file is let go over the canvas.
DROP = """async name => {
    const answer = await fetch('/view?type=output&filename=' + encodeURIComponent(name));
    const file = new File([await answer.blob()], name, {type: 'video/mp4'});
    const transfer = new DataTransfer(), canvas = app.canvas.canvas;
    transfer.items.add(file);
    app.graph.clear();
    for (const kind of ['dragenter', 'dragover', 'drop']) {
        const place = {clientX: canvas.clientWidth / 2, clientY: canvas.clientHeight / 2};
        canvas.dispatchEvent(
            new DragEvent(kind, {...place, dataTransfer: transfer, bubbles: true, cancelable: true}));
    }
    return file.size;
}"""

# Tells when the frontend has done with a file.
HANDLED = """() => {
    window.handled = false;
    const handle = app.handleFile;
    app.handleFile = async function (...file) {
        try { return await handle.apply(this, file); } finally { app.handleFile = handle; window.handled = true; }
    };
}"""

# Colours as a graphics card makes them. Chromium without one converts with a factor for blue of 2 in place of 2.11, its
# fixed-point limit, which shows any saturated BT.709 colour up to 12 levels off.
SHADER = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


def save(server, name, frames, size, **settings):
    """Writes a clip into the server's output folder."""
    folder = server.base / "output"
    folder.mkdir(exist_ok=True)
    with Mp4Writer(folder / name, size, **settings) as video:
        for frame in frames:
            video.write(frame)
    return name


def numbered(size):
    """Frames that are told apart by their grey."""
    for number in range(FRAMES):
        yield np.full((size.height, size.width, 3), number / (FRAMES - 1), np.float32)


@pytest.mark.parametrize("codec", ["h264", "av1"])  # H.265 is not in Debian's Chromium
def test_a_clip_plays_to_its_end(tab, server, codec):
    found = tab.evaluate(OPEN, save(server, f"{codec}.mp4", numbered(SIZES["480p"]), SIZES["480p"], codec=codec))
    assert (found["width"], found["height"]) == SIZES["480p"]
    assert found["duration"] == pytest.approx(FRAMES / 16, abs=1e-3)
    ended = tab.evaluate(PLAY)
    assert ended["time"] == pytest.approx(FRAMES / 16, abs=1e-3)
    assert ended["frames"] >= FRAMES / 2  # a slow machine drops some


def test_a_clip_is_sought_to_the_frame(tab, server):
    size = SIZES["480p"]
    tab.evaluate(OPEN, save(server, "seek.mp4", numbered(size), size))
    for number in (20, 3, 32, 0, 17, 16):
        tab.evaluate(SEEK, (number + 0.5) / 16)
        ((red, green, blue),) = tab.evaluate(COLOURS, [[size.width // 2, size.height // 2]])
        assert [red, green, blue] == pytest.approx([255 * number / (FRAMES - 1)] * 3, abs=2), number


def test_a_clip_loops(tab, server):
    tab.evaluate(OPEN, save(server, "loop.mp4", numbered(SIZES["480p"]), SIZES["480p"]))
    assert tab.evaluate(LOOP, 2) == 2


def click_at(path, seconds, length):
    """Writes silence with a click of 5 ms in it."""
    sound = np.zeros(48000 * length, np.int16)
    sound[int(48000 * seconds) :][:240] = 30000 * np.sign(np.sin(np.arange(240)))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 48000, 0, "NONE", ""))
        file.writeframes(sound.tobytes())
    return path.name


def a_minute(server, sound, **changes):
    """Returns the shipped prompt of the long clip for 24 parts of 2.5 s, of a small picture and with a sound track."""
    prompt = twin("wan22_long_clip_i2v")
    size = {"upscale_method": "area", "width": 48, "height": 32, "crop": "center"}
    prompt["5"] = {"class_type": "ImageScale", "inputs": {"image": ["4", 0], **size}}
    prompt["9"] = {"class_type": "LoadAudio", "inputs": {"audio": sound}}
    own = {"prompts": "It turns.", "parts": 24, "seconds": 2.5, "steps": 1, "audio": ["9", 0], "metadata": "none"}
    prompt["7"]["inputs"] |= own | {"filename_prefix": "minute", **changes}
    return prompt


@pytest.mark.slow
def test_a_long_clip_of_a_minute_seeks_and_loops_and_its_sound_is_in_time_at_its_end(tab, server):
    prompt = a_minute(server, click_at(server.base / "input" / "click.wav", 59.5, 61))
    name = runs.run(server, prompt)["7"]["images"][0]["filename"]
    with av.open(str(server.base / "output" / name)) as file:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]).astype(float)
    assert len(frames) == 41 + 23 * 40
    found = tab.evaluate(OPEN, name)
    assert found["duration"] == pytest.approx(len(frames) / 16, abs=1e-3)
    for seconds in (10, 59, 45):
        assert np.abs(frames - shown_at(tab, seconds + 0.5 / 16)).mean((1, 2, 3)).argmin() == 16 * seconds
    tab.evaluate(SEEK, 59.0)
    assert tab.evaluate(LOOP, 1) == 1
    sound = tab.evaluate(LOUDEST, name)
    assert sound["time"] == pytest.approx(59.5, abs=1 / 16)
    assert sound["length"] == pytest.approx(found["duration"], abs=1 / 16)


@pytest.mark.parametrize("tier", SIZES)
def test_colour_bars_in_a_canvas(browser, server, tier):
    size = SIZES[tier]
    columns = np.arange(size.width) * len(BARS) // size.width
    frame = np.broadcast_to(np.array(BARS, np.float32)[columns], (size.height, size.width, 3))
    name = save(server, f"bars {tier}.mp4", [frame] * 3, size)
    centres = [[(2 * bar + 1) * size.width // (2 * len(BARS)), size.height // 2] for bar in range(len(BARS))]
    arguments = [argument for argument in ARGUMENTS if argument != "--disable-gpu"] + SHADER
    with browser.browser_type.launch(executable_path=ensure_browser(), args=arguments) as chromium:
        tab = chromium.new_page(viewport={"width": 1300, "height": 760})
        tab.goto(server.address + "/queue")
        tab.evaluate(OPEN, name)
        tab.evaluate(SEEK, 1.5 / 16)
        shown = np.array(tab.evaluate(COLOURS, centres), dtype=float)
        PICTURES.mkdir(parents=True, exist_ok=True)
        tab.locator("video").screenshot(path=PICTURES / f"bars_{tier}.png")
    assert np.abs(shown - 255.0 * np.array(BARS)).max() <= 2


def noise(size):
    random = np.random.default_rng(0)
    for _ in range(48):
        yield random.random((size.height, size.width, 3), dtype=np.float32)


@pytest.mark.parametrize("large", [False, True], ids=["small", "above 64 MiB"])
def test_a_clip_that_is_dropped_on_the_canvas_opens_as_its_graph(page, server, monkeypatch, large):
    graph = json.loads(GRAPH.read_text(encoding="utf-8"))
    quick = Codec("H.264", Encoder("libx264", {"preset": "ultrafast"}), Encoder("none", {}), range(1, 52), "avc1")
    monkeypatch.setitem(CODECS, "h264", quick)
    size = SIZES["720p"] if large else Size(96, 64)
    notes = {"workflow": json.dumps(graph), "prompt": "{}"}
    dropped = page.evaluate(DROP, save(server, f"drop {large} 小.mp4", noise(size), size, crf=1, metadata=notes))
    assert (dropped > 64 * 2**20) == large
    page.wait_for_function("count => app.graph.nodes.length === count", arg=len(graph["nodes"]))
    types = page.evaluate("() => app.graph.nodes.map(node => node.type)")
    assert sorted(types) == sorted(node["type"] for node in graph["nodes"])
    assert page.page_errors == []


PRIVATE = "My neighbour waves from her garden."
POSTED = {
    "1": {"class_type": "Wan22Turbo_Lora", "inputs": {"prompt": PRIVATE, "lora_high": "cat.safetensors"}},
    "2": {"class_type": "Wan22Turbo_Sampler", "inputs": {"steps": 4}},
}
LEVELS = {"recipe": {"recipe": json.dumps(recipe(POSTED, {}, {"fps": 16}))}, "none": {}}


@pytest.mark.parametrize("level", LEVELS)
def test_a_clip_that_keeps_its_graph_to_itself_is_dropped_as_a_video(page, server, level):
    name = save(server, f"drop {level}.mp4", noise(Size(96, 64)), Size(96, 64), metadata=LEVELS[level])
    page.evaluate(HANDLED)
    page.evaluate(DROP, name)
    page.wait_for_function("() => window.handled")
    settle(page)
    types = page.evaluate("() => app.graph.nodes.map(node => node.type)")
    assert set(types) <= {"LoadVideo"}  # the clip itself, or nothing, as the frontend has it
    assert PRIVATE not in json.dumps(page.evaluate("() => app.graph.serialize()"))
    assert PRIVATE not in page.locator("body").inner_text()
    assert page.page_errors == []


def test_a_copy_that_the_share_check_made_still_opens_as_the_graph(page, server):
    from share_check import check

    graph = json.loads(GRAPH.read_text(encoding="utf-8"))
    lora = next(node for node in graph["nodes"] if node["type"] == "Wan22Turbo_Lora")
    lora["widgets_values"][0] = "C:\\Users\\ada\\loras\\cat.safetensors"
    name = save(server, "private.mp4", noise(Size(96, 64)), Size(96, 64), metadata={"workflow": json.dumps(graph)})
    folder = server.base / "output"
    assert check(folder / name, False, folder / "shared")
    (folder / "shared" / name).replace(folder / "shared.mp4")
    page.evaluate(DROP, "shared.mp4")
    page.wait_for_function("count => app.graph.nodes.length === count", arg=len(graph["nodes"]))
    opened = page.evaluate("() => app.graph.serialize().nodes.find(node => node.type === 'Wan22Turbo_Lora')")
    assert opened["widgets_values"][0] == "cat.safetensors"
    assert "Users" not in json.dumps(page.evaluate("() => app.graph.serialize()"))
