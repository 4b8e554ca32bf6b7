"""API keys: from the environment, else from a file that only its owner can read. Never from a graph.

To set one, in the folder of this pack:

    python -m hosted.credentials set wavespeed

It reads the key without showing it. `python -m hosted.credentials show` says which keys there are, and no more.
"""

import sys

if __name__ == "__main__":
    from . import run_command

    sys.exit(run_command("credentials"))


import argparse
import getpass
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..common.files import atomic_write, read_bounded
from .errors import AuthError, HostedError
from .ledger import FOLDER, POSIX, PRIVATE, make_folder
from .providers import BY_NAME, PROVIDERS, Provider

FILE = "keys.json"
LONGEST = 65_536  # bytes of the file
COMMAND = "python -m hosted.credentials set"


def find_key(provider: Provider, folder: Path, environ: Mapping[str, str]) -> str:
    """Returns the key of a provider.

    Args:
        folder: That of this pack in ComfyUI's user directory.

    Raises:
        AuthError: There is none, it cannot be one, or the file is not its owner's alone.
    """
    key = environ.get(provider.key_variable, "").strip() or _read(folder).get(provider.key_variable, "")
    if not key:
        raise AuthError(
            f"{provider.title} needs an API key, and there is none. Whoever runs this ComfyUI sets the environment "
            f"variable {provider.key_variable}, or runs `{COMMAND} {provider.name}` in the folder of this pack."
        )
    return _checked(provider, key)


def has_key(provider: Provider, folder: Path, environ: Mapping[str, str]) -> bool:
    """Returns whether there is a key for a provider."""
    return bool(environ.get(provider.key_variable, "").strip() or _read(folder).get(provider.key_variable))


def store_key(provider: Provider, key: str, folder: Path) -> None:
    """Writes a key into the file, which only its owner can read, at any moment; an empty one is removed.

    Raises:
        AuthError: The text cannot be a key, or the file that is there is not its owner's alone.
        HostedError: The folder cannot be closed to others.
    """
    keys = {**_read(folder), provider.key_variable: _checked(provider, key.strip()) if key.strip() else ""}
    make_folder(folder)
    with atomic_write(folder / FILE) as file:
        file.write(json.dumps({variable: kept for variable, kept in keys.items() if kept}).encode())


def _checked(provider: Provider, key: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise AuthError(
            f"The key of {provider.title} must be one word of plain letters, digits and signs, and it is not. "
            "Copy it again."
        )
    return key


def _read(folder: Path) -> dict[str, str]:
    path = folder / FILE
    try:
        if path.is_symlink():
            raise AuthError(
                f"The file of API keys must be a file of its own, got a link. Remove {FILE} from ComfyUI's folder "
                f"user/{FOLDER}, and set the keys again: `{COMMAND} wavespeed`."
            )
        content, status = read_bounded(path, LONGEST)
        _check_owner(status)
        keys = json.loads(content)
        return {name: key for name, key in keys.items() if isinstance(key, str)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError):
        raise AuthError(f"The file of API keys cannot be read. Set the keys again: `{COMMAND} wavespeed`.") from None


def _check_owner(status: os.stat_result) -> None:
    if not POSIX:
        return
    if status.st_uid != os.geteuid():
        raise AuthError(
            "The file of API keys must belong to the user who runs ComfyUI, and belongs to another one. Remove "
            f"{FILE} from ComfyUI's folder user/{FOLDER}, and set the keys again as that user: `{COMMAND} wavespeed`."
        )
    if stat.S_IMODE(status.st_mode) & PRIVATE:
        raise AuthError(
            f"The file of API keys must be readable by its owner alone, got mode {stat.S_IMODE(status.st_mode):04o}. "
            f"Run: chmod 600 {FILE}, in ComfyUI's folder user/{FOLDER}."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Sets a key, or says which there are."""
    parser = argparse.ArgumentParser(
        prog="python -m hosted.credentials", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("action", choices=("set", "remove", "show"))
    parser.add_argument("provider", nargs="?", choices=list(BY_NAME))
    add_folder(parser)
    options = parser.parse_args(arguments)
    folder = private_folder(parser, options, may_be_new=options.action == "set")
    provider = BY_NAME.get(options.provider)
    try:
        if options.action != "show":
            if provider is None:
                parser.error(f"name a provider: {', '.join(BY_NAME)}")
            store_key(provider, _ask(provider) if options.action == "set" else "", folder)
        for each in [provider] if provider else PROVIDERS:
            present = "present" if has_key(each, folder, os.environ) else "absent"
            sys.stdout.write(f"{each.title} ({each.key_variable}): {present}\n")
    except (HostedError, OSError) as error:
        parser.exit(1, f"{error if isinstance(error, HostedError) else error.strerror}\n")
    return 0


def _ask(provider: Provider) -> str:
    key = getpass.getpass(f"Key of {provider.title}: ").strip()
    if not key:
        raise AuthError("No key was typed, so nothing has changed.")
    return key


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Adds the option that `private_folder` reads."""
    parser.add_argument("--user-directory", type=Path, help="ComfyUI's; else user/ of the ComfyUI around this pack")


def private_folder(parser: argparse.ArgumentParser, options: argparse.Namespace, may_be_new: bool = False) -> Path:
    """Returns this pack's folder in ComfyUI's user directory; ends the program where there is none.

    Args:
        may_be_new: The directory itself may be missing, as before ComfyUI's first start, but not the one around it.
    """
    named = options.user_directory
    if named:
        needed = named.parent if may_be_new and not named.exists() else named
        if not needed.is_dir():
            parser.error(
                f"there is no folder {needed.name}. Name the one that ComfyUI calls user, and makes when it starts for "
                "the first time"
            )
        return named / FOLDER
    around = Path(__file__).absolute().parents[3]
    if not (around / "main.py").is_file():
        parser.error("this pack is not in a ComfyUI's custom_nodes folder; name --user-directory")
    return around / "user" / FOLDER
