"""Downloads what a job made: to a temporary name, then whole under its own, beside what is there already."""

import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from .errors import RunError, SaveError, UsageError
from .prompts import Prompt
from .server import Server

ATTEMPTS = 3
CHUNK = 1 << 20  # bytes
OURS = {"Wan22Turbo_SaveMp4", "Wan22Turbo_DecodeMp4"}  # nodes that save one MP4 each
CLIPS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif", ".webp", ".apng", ".png", ".jpg", ".jpeg"}


def check_target(target: Path, prompt: Prompt) -> None:
    """Refuses an output that cannot be, while nothing has run yet.

    Raises:
        UsageError: A file is where a folder must be, nothing may be written there, or the name does not fit what the
            prompt makes.
    """
    try:
        named = target.suffix.lower() in CLIPS and not target.is_dir()
        folder = target.parent if named else target
        there = next((part for part in (folder, *folder.parents) if part.exists()), None)
        usable = there is not None and there.is_dir() and os.access(there, os.W_OK)
    except OSError as error:
        raise UsageError(f"The output cannot be written: {error.strerror}.") from error
    if not usable:
        why = "may not be written to" if there is None or there.is_dir() else "is a file"
        raise UsageError(
            f"The output must be a folder, or a clip's name in one, but {(there or folder).name or folder} {why}."
        )
    ours = sum(node["class_type"] in OURS for node in prompt.values())
    if named and ours > 1:
        raise UsageError(f"The prompt makes {ours} files, so the output must be a folder, got {target.name}.")
    if named and ours and target.suffix.lower() != ".mp4":
        raise UsageError(f"The prompt makes an MP4, so its name must end in .mp4, got {target.name}.")


def outputs(record: dict[str, Any]) -> list[dict[str, str]]:
    """Lists the files that a job put into the server's output folder, in order, each once."""
    files = [
        item
        for results in (record.get("outputs") or {}).values()
        for items in results.values()
        if isinstance(items, list)
        for item in items
        if isinstance(item, dict) and item.get("filename") and item.get("type") == "output"
    ]
    return [file for number, file in enumerate(files) if file not in files[:number]]


def save_all(server: Server, record: dict[str, Any], target: Path, overwrite: bool) -> list[Path]:
    """Downloads every file that a job made.

    Args:
        server: That has them.
        record: The job's entry in the history.
        target: A folder, or the name for a file if the job made just one.
        overwrite: Replace a file of that name; otherwise the new one gets a number.

    Raises:
        RunError: It made none.
        SaveError: One could not be fetched or written.
    """
    files = outputs(record)
    if not files:
        raise RunError("The run ended well and saved nothing in the server's output folder. Add a node that saves.")
    if len(files) > 1 and any(names(target, file) for file in files):
        raise SaveError(f"The job made {len(files)} files, so the output must be a folder, got {target.name}.")
    return [save(server, file, target, overwrite) for file in files]


def save(server: Server, file: dict[str, str], target: Path, overwrite: bool) -> Path:
    """Downloads one file and returns where it is.

    Args:
        server: That has it.
        file: How the server calls it: {filename, subfolder, type}.
        target: A folder, or the file's name here if it ends as the file does.
        overwrite: Replace a file of that name; otherwise the new one gets a number.

    Raises:
        SaveError: It could not be fetched or written. Nothing half-written is left.
    """
    plain = plain_name(file["filename"])
    folder, name = (target.parent, target.name) if names(target, file) else (target, plain)
    temporary = folder / f".wan22-turbo-{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as part:
            fetch(server, file, part)
            part.flush()
            os.fsync(part.fileno())
        path = folder / name if overwrite else reserve(folder / name)
        temporary.replace(path)
    except OSError as error:
        raise SaveError(
            f"The clip could not be written: {error.strerror}. It is on the server as {file['filename']}."
        ) from error
    finally:
        with suppress(OSError):  # never made, or under its own name by now
            temporary.unlink()
    return path


def names(target: Path, file: dict[str, str]) -> bool:
    """Says whether a target is the name for a file, not a folder: v1.0 is none for an MP4."""
    return target.suffix.lower() == Path(file["filename"]).suffix.lower() != "" and not target.is_dir()


def fetch(server: Server, file: dict[str, str], part: Any) -> None:
    """Writes a file of the server into an open one, from the beginning again where the connection breaks."""
    reason = ""
    for attempt in range(1, ATTEMPTS + 1):
        part.seek(0)
        part.truncate()
        try:
            with server.view(file) as response:
                if response.status_code != 200:
                    raise SaveError(f"The server does not give {file['filename']} (HTTP {response.status_code}).")
                for chunk in response.iter_raw(CHUNK):
                    part.write(chunk)
                promised = response.headers.get("Content-Length")
            if promised is None or part.tell() == int(promised):
                return
            reason = f"{part.tell()} of {promised} bytes came"
        except httpx.TransportError as error:
            reason = server.address.mask(str(error)) or type(error).__name__
        if attempt < ATTEMPTS:
            server.say(f"The download broke ({reason}). Starting it again.")
            time.sleep(attempt)
    raise SaveError(f"{file['filename']} could not be downloaded: {reason}. It is still on the server.")


def plain_name(name: str) -> str:
    """Returns the last part of a name, however the server's system writes paths."""
    plain = name.replace("\\", "/").rpartition("/")[2].lstrip(".")
    if not plain:
        raise SaveError("The server gave a file without a name. Nothing was saved.")
    return plain


def reserve(path: Path) -> Path:
    """Makes an empty file under the first name that nobody has: clip.mp4, clip (1).mp4, and so on."""
    name, number = path, 0
    while True:
        try:
            name.open("x").close()
        except FileExistsError:
            number += 1
            name = path.with_name(f"{path.stem} ({number}){path.suffix}")
        else:
            return name
