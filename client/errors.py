"""What can go wrong, and the exit code of the command line for each.

ClientError                 the root; `except ClientError` catches all of them
    RunError            1   a node failed, or somebody interrupted the run on the server
        SpentError          its hosted job came to nothing and may be charged; another try is another job
    UsageError          2   a name, value or file that cannot be used; nothing was sent
    RefusedError        3   the server refused the whole prompt; nothing runs
        NotTakenError       it said so before it took any of it, so nothing can have been paid
    PartlyRefusedError  4   the server refused some outputs; what the others made is saved, see `saved`
    JobLostError        5   the server no longer knows the job
    UnreachableError    6   the server does not answer, or answers as no ComfyUI does
        TooMuchError        it answers with more than memory should hold
    SaveError           7   the clip is made, and could not be saved here; what could be is in `saved`
    TooLongError        8   the job did not end in the time that it was given; it goes on
    CeilingError        9   what is left of a study would cost more than it may
    CancelledError    130   cancelled with Ctrl-C
"""

from collections.abc import Iterable
from pathlib import Path

from .printable import printable


class ClientError(Exception):
    """Anything that this client cannot do. The text is made of full sentences for a person, safe for a terminal.

    Attributes:
        saved: The files that were saved all the same.
    """

    exit_code = 1

    def __init__(self, text: str, saved: Iterable[Path] = ()):
        super().__init__(printable(text))
        self.saved = list(saved)


class RunError(ClientError):
    """A node failed, or somebody interrupted the run on the server."""


class SpentError(RunError):
    """A provider gave a hosted job up, and may charge it all the same. Another try is another job there."""


class UsageError(ClientError):
    """A name, value or file that cannot be used. Nothing was sent."""

    exit_code = 2


class RefusedError(ClientError):
    """The server refused the whole prompt. Nothing runs."""

    exit_code = 3


class NotTakenError(RefusedError):
    """The server took nothing of the prompt, so that nothing of it has run or was paid."""


class PartlyRefusedError(ClientError):
    """The server refused some outputs. What the others made is in `saved`."""

    exit_code = 4


class JobLostError(ClientError):
    """The server no longer knows the job: it was restarted, or somebody removed the job."""

    exit_code = 5


class UnreachableError(ClientError):
    """The server does not answer, or answers as no ComfyUI does."""

    exit_code = 6


class TooMuchError(UnreachableError):
    """The server answers with more than memory should hold."""


class SaveError(ClientError):
    """The clip is made, and could not be saved here. It is still on the server."""

    exit_code = 7


class TooLongError(ClientError):
    """The job did not end in the time that it was given. It goes on at the server."""

    exit_code = 8


class CeilingError(ClientError):
    """What is left of a study would cost more than it may."""

    exit_code = 9


class CancelledError(ClientError):
    """Cancelled with Ctrl-C. The text says what became of the job."""

    exit_code = 130
