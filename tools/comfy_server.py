"""A real ComfyUI process on the loopback address, with this pack installed in a base directory of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Straight to the address: a proxy that pip needs would be asked for this machine's own 127.0.0.1.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
START_SECONDS = 180.0
STOP_SECONDS = 15.0
PICTURE = "example.png"  # as the shipped graphs name it
FOLDERS = ("custom_nodes", "models", "input", "output", "temp", "user")


class ComfyServer:
    """Starts on entering a `with` block, ends on leaving it.

    Args:
        base: ComfyUI's base directory; what is missing in it is made.
        arguments: More arguments for main.py.
        port: To listen on; 0 takes a free one.
        folder: Name of the pack's folder in custom_nodes.
        environment: Variables of the process, beside those of this one.
        cloned: Installs the pack as people do, with `git clone`: without what git ignores.
    """

    def __init__(
        self,
        base: Path,
        arguments: Sequence[str] = (),
        port: int = 0,
        folder: str = "wan22-turbo",
        environment: Mapping[str, str] | None = None,
        cloned: bool = False,
    ):
        self.base = base
        self.arguments = arguments
        self.port = port or free_port()
        self.folder = folder
        self.environment = {**os.environ, **(environment or {})}
        self.install = clone if cloned else link
        self.log = base / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "ComfyServer":
        make_base(self.base)
        self.install(self.base / "custom_nodes" / self.folder)
        command = [
            sys.executable, str(ROOT / "tools" / "launch.py"), "--listen", "127.0.0.1", "--port", str(self.port),
            "--base-directory", str(self.base), "--database-url", f"sqlite:///{self.base / 'user' / 'comfyui.db'}",
            *other_frontend(self.environment), *self.arguments,
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=self.environment
            )
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_until_ready(self) -> None:
        """Waits for the first answer.

        Raises:
            RuntimeError: The process ended, or did not answer in time. The text ends with the tail of its log.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"ComfyUI ended while starting. Its last words:\n{self.log_tail()}")
            try:
                self.get("/system_stats")
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
            else:
                return
        raise RuntimeError(f"ComfyUI did not answer within {START_SECONDS:.0f} seconds:\n{self.log_tail()}")

    def stop(self) -> None:
        """Ends the process that this object started, and no other."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def get(self, path: str, timeout: float = 10.0) -> Any:
        """Returns the JSON answer to a GET."""
        with DIRECT.open(self.address + path, timeout=timeout) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any, timeout: float = 30.0) -> tuple[int, Any]:
        """POSTs JSON and returns status and answer, also where the status is an error."""
        request = urllib.request.Request(
            self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with DIRECT.open(request, timeout=timeout) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def set_setting(self, name: str, value: Any) -> None:
        """Sets one of the frontend's settings, as its own dialog does."""
        self.post("/settings", {name: value})

    def log_tail(self, lines: int = 30) -> str:
        """Returns the end of the server's log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def other_frontend(environment: Mapping[str, str]) -> list[str]:
    """Returns the arguments for a frontend in place of ComfyUI's own, as a newer ComfyUI will have it."""
    folder = environment.get("COMFYUI_FRONTEND")
    return ["--front-end-root", folder] if folder else []


def make_base(base: Path) -> None:
    """Makes the folders of a ComfyUI base directory that are missing."""
    for name in FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)


def link(installed: Path) -> None:
    """Puts this pack there, linked where the system allows it, else copied."""
    if installed.is_symlink():
        installed.unlink()
    elif installed.exists():
        shutil.rmtree(installed)
    try:
        installed.symlink_to(ROOT, target_is_directory=True)
    except OSError:  # Windows without the right to make links
        shutil.copytree(ROOT, installed, ignore=shutil.ignore_patterns(".git", "output", "__pycache__"))


def clone(installed: Path, checkout: Path = ROOT) -> None:
    """Puts this pack there with `git clone`, and what was changed since the last commit on top.

    Args:
        installed: The folder, which must not be there yet.
        checkout: The pack's working tree; it may belong to another user.

    Raises:
        RuntimeError: There is no git, or no checkout to clone. The text says what is needed.
    """
    if shutil.which("git") is None:
        raise RuntimeError("Installing the pack as people do needs git, and there is none on the PATH. Install git.")
    if not (checkout / ".git").exists():
        raise RuntimeError(
            f"Installing the pack as people do needs a checkout made by git clone, and {checkout} is none. "
            "Clone the repository instead of unpacking an archive of it."
        )
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "gitconfig")
        settings.write_text("[safe]\n\tdirectory = *\n", encoding="utf-8")  # which git heeds in no -c option
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": str(settings)}

        def git(*arguments: str) -> str:
            command = ["git", "-C", str(checkout), *arguments]
            return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, encoding="utf-8").stdout

        git("clone", "--quiet", str(checkout), str(installed.absolute()))
        changed = git("diff", "--name-only", "--no-renames", "-z", "HEAD")
        added = git("ls-files", "--others", "--exclude-standard", "-z")
    for name in filter(None, (changed + added).split("\0")):
        copy_over(checkout / name, installed / name)


def copy_over(source: Path, target: Path) -> None:
    """Makes a file what another one is, also where that one is a link or is gone. Folders are left out."""
    target.unlink(missing_ok=True)
    if source.is_symlink() or source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)


def free_port() -> int:
    """Returns a port on the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def port_is_free(port: int) -> bool:
    """Returns whether nobody listens on a port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def place_photograph(folder: Path, crop: tuple[int, int, int, int] | None = None) -> None:
    """Puts a photograph of a cat, 451x300, into an input folder, under the name that the shipped graphs have for it.

    Args:
        folder: Made if it is missing.
        crop: Left, top, right and bottom in pixels, to take a part of it.
    """
    from PIL import Image
    from skimage.data import chelsea  # by Stefan van der Walt, in the public domain

    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(chelsea()).crop(crop).save(folder / PICTURE)


def tiny_models(models: Path) -> None:
    """Makes the tiny models, in a process of its own, unless they are there already."""
    stamp = models / ".tiny"
    maker = ROOT / "tests" / "toy" / "models.py"
    made_by = maker.read_text(encoding="utf-8")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == made_by + file_list(models):
        return
    subprocess.run(
        [sys.executable, "-m", "tests.toy.models", str(models.resolve())], check=True, env=os.environ, cwd=ROOT
    )
    stamp.write_text(made_by + file_list(models), encoding="utf-8")


TRAINED = ROOT / "tiny" / "models"
# LoRAs that other shipped graphs name, and the trained ones that stand in for them: a few-step pair is one for any
# schedule, and a style is a style.
STAND_INS = {
    "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise": "Wan22-I2V-A14B-HIGH-rCM6_0_lora_rank_64_bf16",
    "wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise": "Wan22-I2V-A14B-LOW-rCM1_0_lora_rank_64_bf16",
    "wan22_14b_i2v_orbit_high_noise": "zebra_paint_high_noise",
    "wan22_14b_i2v_orbit_low_noise": "zebra_paint_low_noise",
}


def trained_models(models: Path) -> None:
    """Copies the trained tiny models into a ComfyUI's models folder, also under the names that other graphs ask for."""
    shutil.copytree(TRAINED, models, dirs_exist_ok=True)
    for wanted, trained in STAND_INS.items():
        shutil.copy(TRAINED / "loras" / f"{trained}.safetensors", models / "loras" / f"{wanted}.safetensors")


def file_list(folder: Path) -> str:
    """Lists the model files below a folder, with their sizes."""
    return "\n".join(f"{path.name} {path.stat().st_size}" for path in sorted(folder.rglob("*.safetensors")))
