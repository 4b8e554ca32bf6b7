"""ComfyUIs that this program starts itself, and starts again when they die: `--start 2`."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .. import address
from ..errors import ClientError, UnreachableError, UsageError
from ..printable import printable
from ..progress import Display
from .engine import Found, Needs, Order
from .gpus import shared
from .servers import Servers
from .table import Result

ROOT = Path(__file__).resolve().parents[2]
KEEPER = Path(__file__).resolve().parent / "keeper.py"
LAUNCH = ROOT / "tools" / "launch.py"
SETUP = ROOT / "tools" / "bootstrap.py"
MACHINE = "machine"  # the name of each here, before its number
FOLDER = ".machines"  # of what they read and write, in the study's folder
READY = 600.0  # seconds until the first answer: some packs install things
PATIENCE = 2.0  # seconds that one may be silent; whether it lives is known
TAIL = 12  # lines of its log, where it does not start
MODELS = ("diffusion_models", "text_encoders", "vae", "loras", "clip_vision", "checkpoints")


@dataclass(frozen=True)
class Recipe:
    """How a ComfyUI is started.

    Args:
        comfyui: Its folder, with its packs and models; "" for the one of the set-up, with this pack.
        python: That runs it.
        models: A models folder beside its own.
        arguments: More of them, for main.py.
        environment: More variables.
    """

    comfyui: str = ""
    python: str = ""
    models: str = ""
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def found(self) -> "Recipe":
        """Returns the recipe with all that it leaves to the set-up, which is made where it is missing.

        Raises:
            UsageError: There is no such folder, or the set-up fails.
        """
        if self.comfyui:
            folder = Path(self.comfyui).expanduser().absolute()
            if not (folder / "main.py").is_file():
                raise UsageError(f"--comfyui must be a ComfyUI's folder, with its main.py; {folder.name} has none.")
            return Recipe(str(folder), self.python or sys.executable, self.models, self.arguments, self.environment)
        if not SETUP.is_file():
            raise UsageError("This installation has no set-up of its own. Name a ComfyUI: --comfyui FOLDER.")
        made = subprocess.run([sys.executable, str(SETUP)], stdout=subprocess.PIPE, text=True, encoding="utf-8")
        found = dict(line.split(None, 1) for line in made.stdout.splitlines() if line.strip())
        if made.returncode or not {"ComfyUI", "Python"} <= found.keys():
            raise UsageError("The set-up of a ComfyUI failed; what it said is above. Or name one: --comfyui FOLDER.")
        variables = {"COMFYUI_DIR": found["ComfyUI"], **self.environment}
        return Recipe("", found["Python"], self.models, self.arguments, variables)


class Machine:
    """One ComfyUI on the loopback address.

    Args:
        recipe: How it is started, found.
        folder: For what it reads and writes.
    """

    def __init__(self, recipe: Recipe, folder: Path):
        self.recipe = recipe
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def alive(self) -> bool:
        """Returns whether it runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> str:
        """Starts it, and returns its address once it answers.

        Raises:
            UnreachableError: It does not start. The text ends with its last words.
        """
        self.stop()
        self.port = free_port()
        for name in ("input", "output", "temp", "base/custom_nodes"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **self.recipe.environment}
        with (self.folder / "comfyui.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(KEEPER), *self.command()], stdin=subprocess.PIPE, stdout=log,
                stderr=subprocess.STDOUT, env=environment, cwd=self.recipe.comfyui or None,
            )  # fmt: skip
        deadline = time.monotonic() + READY
        while not answers(self.port):
            if not self.alive or time.monotonic() > deadline:
                self.stop()
                raise UnreachableError(f"A ComfyUI did not start here. Its last words:\n{self.last_words()}")
            time.sleep(0.1)
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Returns what runs it: a ComfyUI of yours as it is, that of the set-up with nothing but this pack."""
        recipe, folder = self.recipe, self.folder
        more = [
            "--listen",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--database-url",
            f"sqlite:///{folder / 'comfyui.db'}",
        ]
        for name in ("input", "output", "temp"):  # which another one would empty, as it starts
            more += [f"--{name}-directory", str(folder / name)]
        if recipe.models:
            paths = folder / "model_paths.json"  # JSON is YAML
            named = {name: name for name in MODELS}
            base = str(Path(recipe.models).expanduser().absolute())
            paths.write_text(json.dumps({"study": {"base_path": base, **named}}), encoding="utf-8")
            more += ["--extra-model-paths-config", str(paths)]
        if recipe.comfyui:
            return [recipe.python, str(Path(recipe.comfyui) / "main.py"), *more, *recipe.arguments]
        install(folder / "base" / "custom_nodes" / "wan22-turbo")
        return [recipe.python, str(LAUNCH), "--base-directory", str(folder / "base"), *more, *recipe.arguments]

    def stop(self) -> None:
        """Ends it, if it runs."""
        if self.process is None:
            return
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()
        self.process = None

    def last_words(self) -> str:
        """Returns the end of its log."""
        text = (self.folder / "comfyui.log").read_text(encoding="utf-8", errors="replace")
        return printable("\n".join(text.splitlines()[-TAIL:]))


class Started(Servers):
    """ComfyUIs of this machine.

    Args:
        recipe: How each is started.
        count: How many; where there are several, each gets one of the GPUs that this process may use.
        depth: Jobs that each has at once.
        folder: The study's.
        say: Takes a sentence for the user.
    """

    def __init__(self, recipe: Recipe, count: int, depth: int, folder: Path, say: Callable[[str], None]):
        super().__init__([], [], PATIENCE, say)
        shares = shared(count, recipe.arguments)
        found = recipe.found()
        self.depths = dict.fromkeys(names(count), depth)
        self.machines = {}
        for number, (name, share) in enumerate(zip(self.depths, shares, strict=True)):
            each = replace(found, environment={**share, **found.environment})
            self.machines[name] = Machine(each, (folder / FOLDER / str(number + 1)).absolute())

    def open(self, place: str, needs: Needs) -> Found:
        """Starts a ComfyUI where it does not run, and asks it as one that ran already."""
        machine = self.machines[place]
        if not machine.alive:
            self.addresses[place] = address.parse(machine.start())
            while self.free[place]:
                self.free[place].pop().close()
        return super().open(place, needs)

    def run(self, place: str, order: Order, display: Display) -> Result:
        """Runs a job. Of a ComfyUI that died nothing is there any more."""
        try:
            return super().run(place, order, display)
        except ClientError as error:
            if self.machines[place].alive:
                raise
            raise UnreachableError(f"The ComfyUI of {place} has died. It is started again. {error}") from error

    def close(self) -> None:
        """Ends what was started."""
        super().close()
        for machine in self.machines.values():
            machine.stop()


def names(count: int) -> list[str]:
    """Names so many ComfyUIs of this machine."""
    return [f"{MACHINE} {number}" for number in range(1, count + 1)]


def install(folder: Path) -> None:
    """Puts this pack where a ComfyUI finds it: linked where the system allows that, else copied."""
    if folder.exists() or folder.is_symlink():
        return
    try:
        folder.symlink_to(ROOT, target_is_directory=True)
    except OSError:
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", "results", "output", "__pycache__"))


def free_port() -> int:
    """Returns a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """Returns whether a ComfyUI speaks there already."""
    request = b"GET /queue HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), 5.0) as line:
            line.settimeout(5.0)
            line.sendall(request)
            return line.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False
