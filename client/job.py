"""A prompt, from the values that a person gives to the clip on their disk."""

import uuid
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import explain, pictures, settings
from .cancel import cancel_or_say
from .errors import CancelledError, PartlyRefusedError, RefusedError, UnreachableError, UsageError
from .follow import DAY, Follower
from .printable import printable
from .progress import Display
from .prompts import Prompt, title
from .save import check_target, save_all
from .server import Server
from .settings import Setting
from .values import read

TEXTS = 100  # of one run, that are shown
ON_SERVER = (" [input]", " [output]", " [temp]")  # ComfyUI's own way to name one of its folders


def settings_on(server: Server, prompt: Prompt) -> list[Setting]:
    """Lists what may be set in a prompt, as this server's nodes describe it."""
    return settings.settings_of(prompt, server.object_info(node["class_type"] for node in prompt.values()))


def prepare(
    server: Server,
    prompt: Prompt,
    values: Mapping[str, Any],
    say: Callable[[str], None],
    known: Sequence[Setting] = (),
    sent: MutableMapping[str, str] | None = None,
) -> Prompt:
    """Sets values by their readable names, and sends the pictures among them to the server.

    Args:
        server: That shall run it.
        prompt: In API format.
        values: By readable name.
        say: Takes a sentence for the user, about a picture that is not sent as it is.
        known: What may be set in it on this server, where that was asked before.
        sent: The names on this server of files that it was sent before; those that are sent now join them.

    Raises:
        UsageError: A name or value does not fit. All of them are checked before the first picture is sent.
        RefusedError: The server lacks a node.
    """
    known, sent = list(known) or settings_on(server, prompt), {} if sent is None else sent
    chosen: dict[Setting, Any] = {}
    for name, value in values.items():
        setting = settings.find(known, name)
        if setting in chosen:
            raise UsageError(f"{setting.name} was given twice.")
        chosen[setting] = read(setting, value)
    local = {setting: local_file(setting, value) for setting, value in chosen.items() if setting.files == "upload"}
    new = {setting: path for setting, path in local.items() if path is not None and str(path) not in sent}
    ready = {setting: pictures.ready(path, setting.pictures) for setting, path in new.items()}
    for setting, file in ready.items():
        if file.said:
            say(file.said)
        sent[str(new[setting])] = server.upload(file.path, file.content)
    chosen |= {setting: sent[str(path)] for setting, path in local.items() if path is not None}
    return settings.apply(prompt, chosen.items())


def local_file(setting: Setting, value: str) -> Path | None:
    """Returns the user's own file, or None where the value names one that the server has."""
    with suppress(OSError, RuntimeError):  # too long for a name, in a folder closed to us, of "~nobody"
        path = Path(value).expanduser()
        if path.is_file():
            return path
    if value in setting.known or value.endswith(ON_SERVER):
        return None
    close = settings.close_to(value, setting.known, 1)
    hint = f" There is {close[0]}." if close else ""
    raise UsageError(
        f"{setting.name} must be a file of yours, or one in the server's input folder; '{value}' is neither.{hint}"
    )


def submit(
    server: Server, prompt: Prompt, client_id: str, display: Display, strict: bool, prompt_id: str = ""
) -> tuple[str, str]:
    """Posts a prompt under an id of our own: a new one, unless it is given.

    Returns:
        The job's id, and what the server refused of it, in sentences; "" if nothing.

    Raises:
        RefusedError: The server refused all of it, or, if strict, a part of it.
        CancelledError: Ctrl-C.
    """
    prompt_id = prompt_id or str(uuid.uuid4())
    try:
        answer = server.submit(prompt, prompt_id, client_id)
    except KeyboardInterrupt:
        raise CancelledError(cancel_or_say(server, prompt_id)) from None
    if "prompt_id" not in answer:
        raise explain.refuse(prompt, answer)
    refused = in_words(prompt, answer) if "node_errors" in answer else left_out(server, prompt, prompt_id)
    if refused and strict:
        raise RefusedError(f"{refused}\n{cancel_or_say(server, prompt_id)}")
    if refused:
        display.say(server.address.mask(refused))
    return prompt_id, refused


def in_words(prompt: Prompt, answer: Mapping[str, Any]) -> str:
    """Returns which outputs the server refused, and why; "" if none."""
    sentences = explain.refusal(prompt, dict(answer))
    if not sentences:
        return ""
    return f"The server leaves out {', '.join(explain.skipped(prompt, dict(answer)))}:\n" + "\n".join(sentences)


def left_out(server: Server, prompt: Prompt, prompt_id: str) -> str:
    """Returns which outputs of a job the server does not make, where its answer to the prompt got lost; "" if none."""
    made = server.locate(prompt_id).outputs
    if made is None:
        return ""
    info = server.object_info(node["class_type"] for node in prompt.values())
    outputs = [key for key, node in prompt.items() if info.get(node["class_type"], {}).get("output_node") is True]
    missing = ", ".join(title(prompt, output) for output in outputs if output not in made)
    return f"The server leaves out {missing}. Why, it said in the answer that got lost." if missing else ""


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
        prompt = prompt or record["prompt"][2]
        explain.check_end(prompt, record)
        for text in texts(prompt, record):
            display.say(server.address.mask(text))
        return save_all(server, record, target, overwrite)
    except KeyboardInterrupt:
        display.end()
        display.say("Stopping the job on the server. Ctrl-C again leaves it to itself.")
        raise CancelledError(cancel_or_say(server, prompt_id)) from None
    except UnreachableError as error:
        later = f"Job {prompt_id} may go on there. Fetch its clip later with: python client fetch {prompt_id}"
        raise type(error)(f"{error} {later}") from error
    finally:
        display.end()
        follower.disconnect()


def texts(prompt: Prompt, record: Mapping[str, Any]) -> list[str]:
    """Returns what the nodes of a finished job report."""
    said = [
        f"{title(prompt, node_id)}: {printable(text)}"
        for node_id, results in record["outputs"].items()
        for text in explain.listed(results.get("text"))
    ]
    return said if len(said) <= TEXTS else [*said[:TEXTS], f"And {len(said) - TEXTS} more texts."]


def run(
    server: Server,
    prompt: Prompt,
    values: Mapping[str, Any],
    target: Path,
    display: Display,
    overwrite: bool = False,
    strict: bool = False,
    timeout: float = DAY,
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
        timeout: Seconds that the job may take.

    Raises:
        PartlyRefusedError: The server refused a part, and the rest is made and saved.
        ClientError: And all of its other kinds.
    """
    check_target(target, prompt)
    ready = prepare(server, prompt, values, display.say)
    client_id = uuid.uuid4().hex
    follower = Follower(server, client_id, display, timeout)
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
