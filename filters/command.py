"""A program that the operator names. It reads the question as JSON, and answers by JSON or by its exit status."""

import json
import os
import selectors
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from ..common.text import read_json
from .question import NoAnswerError, Question
from .settings import COMMAND, ENVIRONMENT, Settings

POSIX = os.name == "posix"
MOST = 65_536  # bytes of an answer
LOOK = 0.05  # seconds between two looks whether a program has ended whose output stays open
# What a program needs to run at all. Keys of providers and tokens are in other variables.
PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
    "SYSTEMROOT", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERPROFILE",
)  # fmt: skip


def judge(known: Settings, question: Question) -> Any:
    """Runs the program and returns its answer: what it writes, else True for the exit status 0 and False for another.

    Pictures are files in a folder that only this user can enter, and that is gone afterwards.

    Raises:
        NoAnswerError: It cannot be started, is killed, takes too long, or writes too much or no JSON.
    """
    with tempfile.TemporaryDirectory(prefix="wan22-turbo-") as folder, tempfile.TemporaryFile() as asked:
        asked.write(json.dumps(told(question, Path(folder))).encode())
        asked.seek(0)
        # Nothing of the question is an argument: whoever lists the processes of a machine sees those.
        status, written = run(arguments(known.of(COMMAND)), asked, environment(known), known.seconds())
    if len(written) > MOST:
        raise NoAnswerError(f"it wrote more than {MOST} bytes")
    if status < 0:
        raise NoAnswerError(f"it was ended by signal {-status}")
    if not written.strip():
        return status == 0
    answer = read_json(written)
    if answer is None:
        raise NoAnswerError(f"what it wrote is no JSON (exit status {status})")
    return False if status and answer_allows(answer) else answer


def answer_allows(answer: Any) -> bool:
    """Returns whether an answer says yes, which the exit status may contradict."""
    return answer is True or (isinstance(answer, dict) and answer.get("allow") is True)


def told(question: Question, folder: Path) -> dict[str, Any]:
    """Returns the question as JSON, and writes its pictures into a folder."""
    files = [folder / f"{number}.png" for number in range(1, len(question.pictures) + 1)]
    for file, pixels in zip(files, question.pictures, strict=True):
        Image.fromarray(pixels).save(file, compress_level=1)
    return {
        "stage": question.stage,
        "prompt": question.prompt,
        "negative_prompt": question.negative_prompt,
        "trigger_words": question.trigger_words,
        "loras": question.loras,
        "pictures": [str(file) for file in files],
        "clip": question.clip and str(question.clip),
    }


def arguments(command: str) -> list[str]:
    """Splits a command as a shell does. No shell runs it."""
    try:
        parts = shlex.split(command, posix=POSIX)
    except ValueError as error:
        raise NoAnswerError(f"{COMMAND} cannot be read ({error})") from None
    return parts if POSIX else [part.strip('"') for part in parts]


def environment(known: Settings) -> dict[str, str]:
    """Returns the variables that the program gets: few, and those that the operator names beside them."""
    also = [name.strip() for name in known.of(ENVIRONMENT).split(",")]
    given: Mapping[str, str] = known.environ
    return {name: given[name] for name in (*PASSED_ON, *also) if name in given}


def run(command: list[str], asked: Any, environ: dict[str, str], seconds: float) -> tuple[int, bytes]:
    """Runs a program to its end, and returns its exit status and the beginning of what it wrote.

    Nothing of it is left running, whatever it started itself, unless that began a session of its own: then it loses the
    output that it shared.
    """
    try:
        process = subprocess.Popen(
            command, stdin=asked, stdout=subprocess.PIPE, env=environ, start_new_session=POSIX, close_fds=True
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise NoAnswerError(f"the program cannot be started ({reason})") from None
    late = threading.Event()
    watch = threading.Timer(seconds, lambda: (late.set(), end(process)))
    watch.daemon = True
    watch.start()
    try:
        written = read(process)
        if len(written) > MOST:
            end(process)
        status = process.wait()
    finally:
        watch.cancel()
        end(process)
        process.wait()
        if process.stdout:
            process.stdout.close()
    if late.is_set():
        raise NoAnswerError(f"it took longer than {seconds:g} s")
    return status, written


def read(process: "subprocess.Popen[bytes]") -> bytes:
    """Reads what a program writes until it ends or has written too much. Whatever it started may hold its output on."""
    assert process.stdout is not None
    if not POSIX:  # where nobody can wait for a pipe
        return process.stdout.read(MOST + 1)
    written = b""
    with selectors.DefaultSelector() as pipe:
        pipe.register(process.stdout, selectors.EVENT_READ)
        while len(written) <= MOST:
            ended = process.poll() is not None  # asked first: then all that it wrote is in the pipe
            if pipe.select(0 if ended else LOOK):
                piece = os.read(process.stdout.fileno(), MOST + 1 - len(written))
                if not piece:
                    break
                written += piece
            elif ended:
                break
    return written


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a program and what it has started."""
    with suppress(OSError):
        if POSIX:
            os.killpg(process.pid, signal.SIGKILL)  # the group outlives its leader
        else:
            process.kill()
