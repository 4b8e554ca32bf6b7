"""A prompt, from the values that a person gives to the clip on their disk."""

import difflib
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import explain, settings
from .cancel import cancel
from .errors import CancelledError, PartlyRefusedError, RefusedError, UsageError
from .follow import Follower
from .progress import Display
from .prompts import Prompt, title
from .save import check_target, save_all
from .server import Server
from .settings import Setting
from .values import read

ON_SERVER = (" [input]", " [output]", " [temp]")  # ComfyUI's own way to name one of its folders


def settings_on(server: Server, prompt: Prompt) -> list[Setting]:
    """Lists what may be set in a prompt, as this server's nodes describe it."""
    return settings.settings_of(prompt, server.object_info(node["class_type"] for node in prompt.values()))


def prepare(server: Server, prompt: Prompt, values: Mapping[str, Any]) -> Prompt:
    """Sets values by their readable names, and sends the pictures among them to the server.

    Raises:
        UsageError: A name or value does not fit. All of them are checked before the first picture is sent.
        RefusedError: The server lacks a node.
    """
    known = settings_on(server, prompt)
    chosen: dict[Setting, Any] = {}
    for name, value in values.items():
        setting = settings.find(known, name)
        if setting in chosen:
            raise UsageError(f"{setting.name} was given twice.")
        chosen[setting] = read(setting, value)
    local = {setting: local_file(setting, value) for setting, value in chosen.items() if setting.files == "upload"}
    for setting, path in local.items():
        if path is not None:
            chosen[setting] = server.upload(path)
    return settings.apply(prompt, chosen.items())


def local_file(setting: Setting, value: str) -> Path | None:
    """Returns the user's own file, or None where the value names one that the server has."""
    with suppress(OSError, RuntimeError):  # too long for a name, in a folder closed to us, of "~nobody"
        path = Path(value).expanduser()
        if path.is_file():
            return path
    if value in setting.known or value.endswith(ON_SERVER):
        return None
    close = difflib.get_close_matches(value, setting.known, n=1)
    hint = f" There is {close[0]}." if close else ""
    raise UsageError(
        f"{setting.name} must be a file of yours, or one in the server's input folder; '{value}' is neither.{hint}"
    )


def submit(server: Server, prompt: Prompt, client_id: str, display: Display, strict: bool) -> tuple[str, str]:
    """Posts a prompt under an id of our own.

    Returns:
        The job's id, and what the server refused of it, in sentences; "" if nothing.

    Raises:
        RefusedError: The server refused all of it, or, if strict, a part of it.
        CancelledError: Ctrl-C.
    """
    prompt_id = str(uuid.uuid4())
    try:
        answer = server.submit(prompt, prompt_id, client_id)
    except KeyboardInterrupt:
        raise CancelledError(cancel(server, prompt_id)) from None
    if "prompt_id" not in answer:
        raise explain.refuse(prompt, answer)
    sentences = explain.refusal(prompt, answer)
    if not sentences:
        return prompt_id, ""
    refused = f"The server leaves out {', '.join(explain.skipped(prompt, answer))}:\n" + "\n".join(sentences)
    if strict:
        raise RefusedError(f"{refused}\n{cancel(server, prompt_id)}")
    display.say(refused)
    return prompt_id, refused


def finish(
    server: Server, follower: Follower, prompt_id: str, prompt: Prompt, target: Path, overwrite: bool, display: Display
) -> list[Path]:
    """Follows a job to its end, tells what its nodes report, and saves what it made.

    Raises:
        RunError: A node failed, or somebody interrupted it.
        CancelledError: Ctrl-C.
    """
    try:
        record = follower.follow(prompt_id, prompt)
        explain.check_end(prompt, record)
        for node_id, results in record["outputs"].items():
            for text in results.get("text", ()):
                display.say(f"{title(prompt, node_id)}: {text}")
        return save_all(server, record, target, overwrite)
    except KeyboardInterrupt:
        display.end()
        display.say("Stopping the job on the server. Ctrl-C again leaves it to itself.")
        raise CancelledError(cancel(server, prompt_id)) from None
    finally:
        display.end()
        follower.disconnect()


def run(
    server: Server,
    prompt: Prompt,
    values: Mapping[str, Any],
    target: Path,
    display: Display,
    overwrite: bool = False,
    strict: bool = False,
) -> list[Path]:
    """Runs a prompt and returns where what it made is.

    Args:
        server: That runs it.
        prompt: In API format; see `prompts.load`.
        values: By readable name; see `settings`.
        target: A folder, or a file's name if the prompt makes one file.
        display: Shows the run.
        overwrite: Replace files; otherwise new ones get a number.
        strict: Run nothing where the server refuses a part.

    Raises:
        PartlyRefusedError: The server refused a part, and the rest is made and saved.
        ClientError: And all of its other kinds.
    """
    check_target(target, prompt)
    ready = prepare(server, prompt, values)
    client_id = uuid.uuid4().hex
    follower = Follower(server, client_id, display)
    try:
        prompt_id, refused = submit(server, ready, client_id, display, strict)
    except BaseException:
        follower.disconnect()
        raise
    display.say(f"Job {prompt_id}")
    saved = finish(server, follower, prompt_id, ready, target, overwrite, display)
    if refused:
        raise PartlyRefusedError(refused, saved)
    return saved
