"""A picture becomes an MP4 inside a real ComfyUI: `make demo`. With --serve, the server stays: `make serve`.

Without --models it runs on tiny models that were trained on drawn scenes, so it needs no GPU and no download. Then the
picture is such a scene, and a reader tells whether the film does what its caption says.
"""

import argparse
import json
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
from comfy_server import PICTURE, ROOT, ComfyServer, free_port, port_is_free, trained_models
from contact_sheet import contact_sheet, read_clip
from PIL import Image, ImageOps
from rich.console import Console
from setup_cache import cache_dir

sys.path.append(str(ROOT))  # last, so that it hides nothing
from client import ClientError, make
from client.progress import Lines
from tiny.drawing import draw
from tiny.scenes import KINDS, Scene, random_scene

GRAPH = ROOT / "workflows" / "wan22_turbo_i2v.json"
OUTPUT = ROOT / "output"
USUAL_PORT = 8188
SCENE = 0  # a disc that moves to the left
DRAWN = 832, 480  # pixels of the picture
MODEL_FOLDERS = ("diffusion_models", "text_encoders", "vae", "loras")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--models", type=Path, help="a ComfyUI models folder that holds the real files")
    parser.add_argument("--image", type=Path, help="the picture to start from; else a drawn scene")
    parser.add_argument("--scene", type=int, default=SCENE, help=f"which scene, from 0 on, default {SCENE}")
    parser.add_argument("--prompt", help="what is to happen; else the scene's own caption")
    parser.add_argument("--tier", default="240p", choices=("720p", "480p", "240p"), help="default 240p")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of the clip, default 1")
    parser.add_argument("--serve", action="store_true", help="leave the server running instead")
    options = parser.parse_args(arguments)
    if options.scene < 0:
        parser.error(f"--scene must be 0 or more, got {options.scene}")
    return options


def prepare_base(options: argparse.Namespace) -> tuple[Path, list[str]]:
    """Makes the base directory and returns it, with the arguments that ComfyUI needs for it."""
    base = cache_dir() / ("demo-real" if options.models else "demo-tiny")
    arguments = ["--output-directory", str(OUTPUT)] if options.serve else []  # else the client fetches the clip
    for folder in ("input", "user/default/workflows"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    OUTPUT.mkdir(exist_ok=True)
    if options.models:
        if not (options.models / "diffusion_models").is_dir():
            raise DemoError(f"--models must be a ComfyUI models folder; {options.models} holds no diffusion_models.")
        paths = base / "model_paths.json"  # JSON is YAML
        named = {folder: folder for folder in MODEL_FOLDERS}
        paths.write_text(json.dumps({"real": {"base_path": str(options.models.absolute()), **named}}), encoding="utf-8")
        arguments += ["--extra-model-paths-config", str(paths)]
    else:
        trained_models(base / "models")
    if options.image:
        place_picture(options.image, base / "input" / PICTURE)
    else:
        Image.fromarray(draw(scene_of(options.scene), *DRAWN, 1)[0]).save(base / "input" / PICTURE)
    shutil.copy(GRAPH, base / "user/default/workflows" / GRAPH.name)
    return base, arguments


def scene_of(number: int) -> Scene:
    """Returns the scene of a number; each has another kind than the one before."""
    kinds = list(KINDS)
    return random_scene(number, DRAWN[0] / DRAWN[1], 1.0, kinds[number % len(kinds)])


def place_picture(image: Path, target: Path) -> None:
    """Puts somebody's picture where the shipped graph looks for it."""
    try:
        ImageOps.exif_transpose(Image.open(image)).convert("RGB").save(target)
    except OSError as error:
        raise DemoError(f"The picture must be a file that can be read, got {image}: {error}.") from error


class DemoError(Exception):
    """The demo cannot run as asked. The text says why."""


class Timed(Lines):
    """A line for every stage and step, and how many seconds each stage took in all."""

    def __init__(self, console: Console):
        super().__init__(console)
        self.seconds: dict[str, float] = {}

    def stage(self, title: str) -> None:
        """Ends the stage before, and prints a node's title."""
        self.count()
        super().stage(title)

    def end(self) -> None:
        """Ends the last stage."""
        self.count()
        super().end()

    def count(self) -> None:
        """Adds the time of the stage up to now."""
        if self.now is not None:
            before = self.seconds.get(self.now.title, 0.0)
            self.seconds[self.now.title] = before + self.clock() - self.now.began


def summarise(path: Path, seconds: dict[str, float], options: argparse.Namespace) -> None:
    """Prints what came out, and how long each node took."""
    clip = read_clip(path)
    sheet = path.with_suffix(".png")
    contact_sheet(clip.frames).save(sheet)
    width, height = clip.frames[0].size
    say("\nWhat took how long")
    for title, spent in seconds.items():
        say(f"  {spent:6.1f} s  {title}")
    length = len(clip.frames) / clip.rate
    say(
        f"\nThe clip: {width}x{height}, {len(clip.frames)} frames, {float(clip.rate):g} a second, {float(length):.2f} s"
    )
    say(f"  {path.relative_to(ROOT)}\n  {sheet.relative_to(ROOT)}")
    if not options.models:
        say(what_it_shows(path, options))
        say(
            "\nTiny models made this, of 15 MB, trained on nothing but such scenes. With the real models, and a GPU:\n"
            '  make demo ARGS="--models /path/to/ComfyUI/models --tier 720p --seconds 5"\n'
            "To look at the graph: make serve"
        )


def caption_of(options: argparse.Namespace) -> dict[str, str]:
    """Returns the prompt by its readable name; none where the graph's own fits better."""
    if options.prompt:
        return {"prompt": options.prompt}
    return {} if options.image else {"prompt": scene_of(options.scene).caption}


def what_it_shows(path: Path, options: argparse.Namespace) -> str:
    """Returns what a reader sees in the film, where it can be held against a scene."""
    if options.image or options.prompt:
        return (
            "\nThese tiny models know drawn shapes on a pale ground and the words of their captions, and nothing else: "
            "a photograph stays a blurred likeness, and other words mean nothing to them."
        )
    from tiny import judge  # it needs OpenCV and torch, which the demo itself does not

    scene = scene_of(options.scene)
    verdict = judge.judge(scene, np.stack([np.asarray(frame) for frame in read_clip(path).frames]))
    return (
        f"\nThe caption: {scene.caption}.\n"
        f"A reader, which knows only the film, says: {'that is' if verdict.obeys else 'that is not'} what happens."
    )


def serve(server: ComfyServer) -> None:
    """Keeps the server until Ctrl-C."""
    say(f"\nComfyUI with Wan 2.2 Turbo: {server.address}")
    say(f"Open the graph there: Workflows (or press w), {GRAPH.stem}.")
    say("On a CPU, set Fit to 720p to 240p and seconds to 1 before you run it. Ctrl-C stops the server.")
    while server.process is not None and server.process.poll() is None:
        time.sleep(0.5)
    say("ComfyUI has ended. Its last words:\n" + server.log_tail())


def say(text: str) -> None:
    """Prints at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def end_orderly() -> None:
    """Turns a polite request to end into an exception, so that the server ends too.

    Not KeyboardInterrupt: the client would wait for ComfyUI to cancel the job, and Ctrl-C ends ComfyUI as well.
    """

    def stop(*_: object) -> None:
        raise SystemExit

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and not (name == "SIGHUP" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN):
            signal.signal(getattr(signal, name), stop)  # under nohup, a closed terminal ends nothing


def main(arguments: list[str]) -> int:
    """Runs the demo or the server."""
    options = parse(arguments)
    end_orderly()
    port = USUAL_PORT if options.serve and port_is_free(USUAL_PORT) else free_port()
    try:
        base, more = prepare_base(options)
        say("Starting ComfyUI" + ("" if options.models else " with tiny models"))
        with ComfyServer(base, more, port) as server:
            if options.serve:
                serve(server)
                return 1
            display = Timed(Console(file=sys.stdout))
            values = {"tier": options.tier, "seconds": options.seconds} | caption_of(options)
            (path,) = make(server.address, GRAPH.stem, values, OUTPUT / "video", display=display)
    except (DemoError, RuntimeError) as error:
        say(str(error))
        return 1
    except ClientError as error:
        say(str(error))
        return error.exit_code
    except SystemExit:
        say("\nStopped.")
        return 0 if options.serve else 130
    summarise(path, display.seconds, options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
