"""What the operator of a ComfyUI decides about hosted models, in environment variables.

    WAN22_TURBO_ALLOW_UNRESTRICTED=1        offers without content moderation may be used
    WAN22_TURBO_HOSTED_MODELS               labels that may be used, or patterns: WaveSpeed: wan-2.2/*, AtlasCloud: *
    WAN22_TURBO_HOSTED_MAX_USD              most that one run of a graph may cost
    WAN22_TURBO_HOSTED_MAX_USD_PER_DAY      most that all runs of a day may, of all who share a user directory
    WAN22_TURBO_<PROVIDER>_URL              another base address
    WAN22_TURBO_<PROVIDER>_JOBS             jobs at a time, where the account allows more or less than the default
    WAN22_TURBO_<PROVIDER>_STARTS_PER_MINUTE    0: as many as you like

<PROVIDER> is WAVESPEED, ATLASCLOUD or API302. They are read at every run and cannot be set from a graph.
Beside them, the folder of keys and paid jobs, which only its owner can enter, whatever the umask.
"""

import fnmatch
import os
import stat
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..common.address import is_loopback
from ..common.text import line
from .errors import HostedError, PolicyError
from .providers import Model, Provider

FOLDER = "__wan22_turbo"  # ComfyUI serves no user folder whose name begins with two underscores
POSIX = os.name == "posix"  # Windows has no such modes: there, the profile's folder is its owner's
PRIVATE = 0o077  # what nobody else may
PREFIX = "WAN22_TURBO_"
UNRESTRICTED_VARIABLE = f"{PREFIX}ALLOW_UNRESTRICTED"
MODELS_VARIABLE = f"{PREFIX}HOSTED_MODELS"
CEILING_VARIABLE = f"{PREFIX}HOSTED_MAX_USD"
DAY_CEILING_VARIABLE = f"{PREFIX}HOSTED_MAX_USD_PER_DAY"


@dataclass(frozen=True)
class Settings:
    """The operator's decisions."""

    environ: Mapping[str, str]  # the variables

    def check_allowed(self, provider: Provider, model: Model) -> None:
        """Raises PolicyError where a model may not be used here."""
        label = provider.label(model)
        if model.unrestricted and self.environ.get(UNRESTRICTED_VARIABLE) != "1":
            raise PolicyError(
                f"Models without content moderation are switched off here, got '{label}'. Choose another one. "
                f"Whoever runs this ComfyUI can allow them by setting {UNRESTRICTED_VARIABLE}=1."
            )
        patterns = [pattern.strip() for pattern in self.environ.get(MODELS_VARIABLE, "").split(",") if pattern.strip()]
        if patterns and not any(fnmatch.fnmatchcase(label, pattern) for pattern in patterns):
            raise PolicyError(
                f"The models allowed here are {', '.join(patterns)}, got '{label}'. Choose one of them. "
                f"Whoever runs this ComfyUI sets them in {MODELS_VARIABLE}."
            )

    def ceiling(self) -> float | None:
        """Returns the most that a run may cost in US dollars; None for no limit."""
        return self._number(CEILING_VARIABLE, None)

    def daily_ceiling(self) -> float | None:
        """Returns the most that all jobs of a day may cost in US dollars; None for no limit."""
        return self._number(DAY_CEILING_VARIABLE, None)

    def jobs(self, provider: Provider) -> int:
        """Returns how many jobs may run at a time, at least one."""
        return max(1, int(self._number(_variable(provider, "JOBS"), provider.jobs) or 1))

    def starts_per_minute(self, provider: Provider) -> int:
        """Returns how many jobs may start in a minute; 0 for no limit."""
        return int(self._number(_variable(provider, "STARTS_PER_MINUTE"), provider.starts_per_minute) or 0)

    def base(self, provider: Provider) -> str:
        """Returns the address that a provider's paths are below; PolicyError if neither https nor this machine."""
        variable = _variable(provider, "URL")
        base = self.environ.get(variable, "").strip().rstrip("/") or provider.base
        parts = urllib.parse.urlsplit(base)
        named = not parts.hostname or parts.hostname == "localhost"  # clips come from no name of this machine
        if named or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))):
            raise PolicyError(
                f"{variable} must be an https address. http is for a server on this machine itself, "
                "written as a number: http://127.0.0.1:8000, not localhost."
            )
        return base

    def trusted_origin(self, provider: Provider) -> str | None:
        """Returns the one origin that files may come from although it is on this machine: the operator's own server."""
        parts = urllib.parse.urlsplit(self.base(provider))
        return f"{parts.scheme}://{parts.netloc}" if is_loopback(parts.hostname or "") else None

    def _number(self, variable: str, default: float | None) -> float | None:
        text = self.environ.get(variable, "").strip()
        try:
            number = float(text) if text else default
        except ValueError:
            number = -1.0
        if number is not None and not 0 <= number < 1e9:
            raise PolicyError(
                f"{variable} must be a number of 0 or more, got '{line(text, 60)}'. Whoever runs this ComfyUI sets it."
            )
        return number


def _variable(provider: Provider, what: str) -> str:
    return f"{PREFIX}{provider.name.upper()}_{what}"


def make_folder(path: Path) -> None:
    """Makes a folder and those above it that are missing, and closes what of this pack's own was left open.

    Raises:
        HostedError: It is open to others, and cannot be closed.
        OSError: It cannot be made.
    """
    line = [path, *path.parents]
    ours = next((index for index, each in enumerate(line) if each.name == FOLDER), 0)
    for each in reversed(line):
        try:
            each.mkdir(0o700)
        except FileExistsError:
            if each not in line[: ours + 1]:
                continue  # ComfyUI's own, or the machine's
        except OSError:
            if not each.is_dir():
                raise
            continue
        close(each)


def close(folder: Path) -> None:
    """Takes from everybody but its owner what they may do in a folder; HostedError if it is another user's."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not POSIX or mode == 0o700:
        return
    try:
        os.chmod(folder, 0o700)
    except OSError:
        if mode & PRIVATE:
            raise HostedError(
                f"A folder of keys and paid jobs must be open to its owner alone, got mode {mode:04o}. Run: "
                f"chmod 700 {folder.name}, in ComfyUI's folder user{'' if folder.name == FOLDER else f'/{FOLDER}'}, "
                "as the user who owns it."
            ) from None
