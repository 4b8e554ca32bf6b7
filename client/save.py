"""Downloads what a job made: to a temporary name, then whole under its own, beside what is there already."""

import os
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from . import answers
from .answers import Json, ShapeError
from .errors import ClientError, RunError, SaveError, UsageError
from .files import check_kind, fault, plain_name, suffix
from .printable import short
from .prompts import Prompt
from .publish import flush, is_one_of, published
from .server import Server
from .shapes import messages, text
from .transport import BrokenError, decoded

ATTEMPTS = 3
PAUSE = 1.0  # seconds before the second attempt; twice as long before the third
MANY = 1000  # files of one job
LARGEST = 64_000_000_000  # bytes of a file
OURS = {"Wan22Turbo_SaveMp4", "Wan22Turbo_DecodeMp4", "Wan22Turbo_LongClip"}  # nodes that save one MP4 each
CLIPS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif", ".webp", ".apng", ".png", ".jpg", ".jpeg"}
# What helps where a file is gone from the server.
NEW = "Somebody deleted or moved it there. Run the prompt again."
OLD = (
    "It was made by an earlier run and deleted there since, and ComfyUI does not make again what it remembers. "
    "Set another filename_prefix, which saves it anew without sampling again; or another seed."
)

File = dict[str, str]


class BrokenFileError(Exception):
    """What came of a file is not whole, or not what its name says."""


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


def outputs(record: Json) -> list[File]:
    """Lists the files that a job put into the server's output folder, in order, each once."""
    files = {tuple(file.values()): file for results in record["outputs"].values() for file in files_of(results)}
    return list(files.values())


def files_of(results: Json) -> list[File]:
    """Lists the files among the results of a node."""
    listed = (file_of(item) for items in results.values() if isinstance(items, list) for item in items)
    return [file for file in listed if file is not None]


def file_of(item: Any) -> File | None:
    """Reads how the server calls a file in its output folder; None for what is none."""
    if not isinstance(item, dict) or item.get("type") != "output" or not item.get("filename"):
        return None
    try:
        return {"filename": text(item["filename"]), "subfolder": text(item.get("subfolder", "")), "type": "output"}
    except ShapeError:
        return None


def save_all(server: Server, record: Json, target: Path, overwrite: bool) -> list[Path]:
    """Downloads every file that a job made.

    Args:
        server: That has them.
        record: The job's entry in the history.
        target: A folder, or the name for a file if the job made just one.
        overwrite: Replace a file of that name; otherwise the new one gets a number.

    Raises:
        RunError: It made none.
        SaveError: One could not be fetched or written; the others are in its `saved`.
    """
    files = outputs(record)
    if not files:
        raise RunError("The run ended well and saved nothing in the server's output folder. Add a node that saves.")
    if len(files) > MANY:
        raise SaveError(f"The job made {len(files)} files, and at most {MANY} are fetched. They are on the server.")
    if len(files) > 1 and any(names(target, file) for file in files):
        raise SaveError(f"The job made {len(files)} files, so the output must be a folder, got {target.name}.")
    old, saved = remembered(record), []
    problems: list[ClientError] = []
    for file in files:
        try:
            saved.append(save(server, file, target, overwrite, OLD if tuple(file.values()) in old else NEW, saved))
        except ClientError as error:
            problems.append(error)
            if not isinstance(error, SaveError):  # the server is away, and stays so for the others
                break
    if problems:
        raise SaveError("\n".join(map(str, problems)), saved) from problems[0]
    return saved


def save(server: Server, file: File, target: Path, overwrite: bool, hint: str = "", keep: Sequence[Path] = ()) -> Path:
    """Downloads one file and returns where it is.

    Args:
        server: That has it.
        file: How the server calls it: {filename, subfolder, type}.
        target: A folder, or the file's name here if it ends as the file does.
        overwrite: Replace a file of that name; otherwise the new one gets a number.
        hint: What to say if the server does not have it any more.
        keep: Files that are not replaced in any case: those of the same job.

    Raises:
        SaveError: It could not be fetched or written. Nothing half-written is left.
    """
    plain = plain_name(file["filename"])
    check_kind(plain)
    folder, name = (target.parent, target.name) if names(target, file) else (target, plain)
    temporary = folder / f".wan22-turbo-{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("x+b") as part:
            fetch(server, file, part, hint)
            flush(part, server.say)
        return published(temporary, folder / name, overwrite and not is_one_of(folder / name, keep))
    except OSError as error:
        raise SaveError(f"The clip could not be written: {error.strerror}. It is on the server as {plain}.") from error
    finally:
        with suppress(OSError):  # never made, or under its own name by now
            temporary.unlink()


def names(target: Path, file: File) -> bool:
    """Returns whether a target is the name for a file, not a folder: v1.0 is none for an MP4."""
    return target.suffix.lower() == suffix(plain_name(file["filename"])) != "" and not target.is_dir()


def fetch(server: Server, file: File, part: BinaryIO, hint: str = "") -> None:
    """Writes a file of the server into an open one, from the beginning again where what comes is not all of it.

    Raises:
        SaveError: It did not come whole, is not what its name says, or the server does not have it.
    """
    name, broken = plain_name(file["filename"]), BrokenFileError()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return server.patiently(lambda: download(server, file, part, hint))
        except BrokenFileError as error:
            broken = BrokenFileError(server.address.mask(str(error)))
        if attempt < ATTEMPTS:
            server.say(f"The download broke ({short(str(broken))}). Starting it again.")
            time.sleep(PAUSE * attempt)
    raise SaveError(f"{name} could not be downloaded: {short(str(broken))}. It is still on the server.") from broken


def download(server: Server, file: File, part: BinaryIO, hint: str) -> None:
    """Writes a file of the server into an open one, once.

    Raises:
        ForeignError: Somebody else answered.
        BrokenFileError: What came is not whole, or not what its name says.
        SaveError: The server does not have it, or it is too large.
    """
    part.seek(0)
    part.truncate()
    name = plain_name(file["filename"])
    with server.view(file) as response:
        if response.status_code in (400, 403, 404) and not any(decoded(response)):  # ComfyUI says no more than that
            raise SaveError(f"The server does not give {name} (HTTP {response.status_code}). {hint}".strip())
        if response.status_code != 200:
            raise answers.foreign(server.address, response.status_code, response.headers)
        try:
            for piece in decoded(response):
                part.write(piece)
                if part.tell() > LARGEST:
                    raise SaveError(
                        f"{name} has more than {LARGEST / 1e9:.0f} GB, and is not saved. It is on the server."
                    )
        except (httpx.TransportError, BrokenError) as error:
            raise BrokenFileError(str(error) or type(error).__name__) from error
    wrong = fault(part, name)
    if wrong:
        raise BrokenFileError(wrong)


def remembered(record: Json) -> set[tuple[str, ...]]:
    """Returns the files of nodes that ComfyUI did not run, as it had run them before."""
    cached = {
        node
        for kind, data in messages(record.get("status") or {})
        if kind == "execution_cached" and isinstance(data.get("nodes"), list)
        for node in data["nodes"]
        if isinstance(node, str)
    }
    return {
        tuple(file.values()) for node in cached & record["outputs"].keys() for file in files_of(record["outputs"][node])
    }
