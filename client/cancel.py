"""Cancels one job, and no other, and waits until the server confirms it."""

import time

from .errors import ClientError
from .server import Server
from .shapes import Job, messages

CONFIRM_SECONDS = 30.0  # a node that is loading 14 GB looks for the wish to stop only afterwards
ASK_AGAIN = 3.0  # seconds: ComfyUI forgets a wish that comes in the moment in which a job starts
PAUSE = 0.25


def cancel_or_say(server: Server, prompt_id: str) -> str:
    """Cancels a job and says in a sentence what became of it, also where that cannot be known."""
    try:
        return cancel(server, prompt_id)
    except ClientError as error:
        return f"Whether job {prompt_id} was cancelled is not known, and it may still run. {error}"


def cancel(server: Server, prompt_id: str, patience: float = CONFIRM_SECONDS) -> str:
    """Cancels a job and says in a sentence what became of it.

    Raises:
        UnreachableError: The server stayed away.
    """
    began = time.monotonic()
    asked = ""
    asked_at = began
    while True:
        job = server.locate(prompt_id)
        if job.state in ("done", "unknown"):
            return outcome(job, asked, prompt_id)
        now = time.monotonic()
        if job.state != asked or now - asked_at > ASK_AGAIN:
            (server.remove if job.state == "pending" else server.interrupt)(prompt_id)
            asked, asked_at = job.state, now
        if now - began >= patience:
            return f"The server was asked to stop job {prompt_id}, and has not done so yet. It may still run."
        time.sleep(PAUSE)


def outcome(job: Job, asked: str, prompt_id: str) -> str:
    """Returns what became of a job that the server no longer runs."""
    if job.state == "unknown":
        return f"Cancelled: job {prompt_id} left the queue unrun." if asked else f"The server has no job {prompt_id}."
    if any(kind == "execution_interrupted" for kind, _ in messages(job.record.get("status") or {})):
        return f"Cancelled: the server confirms that job {prompt_id} has stopped."
    return f"Too late: job {prompt_id} had ended. What it made is fetched by: python client fetch {prompt_id}"
