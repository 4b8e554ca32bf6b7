"""What the operator of a ComfyUI decides about hosted models, in environment variables.

    WAN22_TURBO_ALLOW_UNRESTRICTED=1        offers without content moderation may be used
    WAN22_TURBO_HOSTED_MODELS               labels that may be used, or patterns: WaveSpeed: wan-2.2/*, AtlasCloud: *
    WAN22_TURBO_HOSTED_MAX_USD              most that one run of a graph may cost
    WAN22_TURBO_HOSTED_MAX_USD_PER_DAY      most that all runs of a day may, of all who share a user directory
    WAN22_TURBO_<PROVIDER>_URL              another base address
    WAN22_TURBO_<PROVIDER>_JOBS             jobs at a time, where the account allows more or less than the default
    WAN22_TURBO_<PROVIDER>_STARTS_PER_MINUTE    0: as many as you like

<PROVIDER> is WAVESPEED, ATLASCLOUD or API302. They are read at every run and cannot be set from a graph. A misspelled
WAN22_TURBO_HOSTED_... is refused, for a limit was meant by it.

A day is one of UTC, so that it is the same for all ComfyUI processes of a user. A job counts for the day on which its
order left: with what the provider charged, else with its price; not at all if it failed at a provider that charges no
failed jobs. A row that cannot be read is not counted; `python -m hosted.jobs` names it.
"""

import difflib
import fnmatch
import threading
import time
import urllib.parse
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..common.address import is_loopback
from ..common.text import line
from .errors import PolicyError
from .ledger import Ledger, Row
from .providers import BY_NAME, Model, Price, Provider, dollars

PREFIX = "WAN22_TURBO_"
UNRESTRICTED_VARIABLE = f"{PREFIX}ALLOW_UNRESTRICTED"
MODELS_VARIABLE = f"{PREFIX}HOSTED_MODELS"
CEILING_VARIABLE = f"{PREFIX}HOSTED_MAX_USD"
DAY_CEILING_VARIABLE = f"{PREFIX}HOSTED_MAX_USD_PER_DAY"
LIMITS = (MODELS_VARIABLE, CEILING_VARIABLE, DAY_CEILING_VARIABLE)
DAY = 86_400  # seconds
DAY_LOCK = "day"  # held from the look at what is spent until the new row is on disk


class Settings(NamedTuple):
    """The operator's decisions."""

    environ: Mapping[str, str]  # the variables

    def check_allowed(self, provider: Provider, model: Model) -> None:
        """Raises PolicyError where a model may not be used here."""
        self._check_names()
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
        self._check_names()
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

    def _check_names(self) -> None:
        for name, value in self.environ.items():
            if name.startswith(f"{PREFIX}HOSTED") and name not in LIMITS and value.strip():
                nearest = difflib.get_close_matches(name, LIMITS, 1) or [CEILING_VARIABLE]
                raise PolicyError(
                    f"There is no variable {line(name, 80)}, and a limit may be meant by it. Whoever runs this ComfyUI "
                    f"corrects or removes it. The nearest that there is: {nearest[0]}."
                )

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


class SpendingLimit:
    """What each run of a graph has spent, so that twenty nodes together keep the operator's ceiling."""

    KEPT = 256  # runs

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.spent: OrderedDict[str, float] = OrderedDict()

    def spend(self, run_id: str, price: Price, ceiling: float | None) -> None:
        """Books a job that is about to be submitted.

        Raises:
            PolicyError: It would cost more than a run may, or nobody can say what it costs.
        """
        if ceiling is None:
            return
        if price.usd is None:
            raise PolicyError(
                f"A run may cost {dollars(ceiling)} here, and nobody names the price of this model. "
                f"Choose another one. Whoever runs this ComfyUI sets the limit in {CEILING_VARIABLE}."
            )
        with self.lock:
            before = self.spent.get(run_id, 0.0)
            if before + price.usd > ceiling + 1e-9:
                spent = f" after {dollars(before)} already spent" if before else ""
                raise PolicyError(
                    f"A run may cost {dollars(ceiling)} here, and this clip costs {dollars(price.usd)}{spent}. "
                    "Choose a shorter or smaller clip, or a cheaper model. "
                    f"Whoever runs this ComfyUI sets the limit in {CEILING_VARIABLE}."
                )
            self.spent[run_id] = before + price.usd
            while len(self.spent) > self.KEPT:
                self.spent.popitem(last=False)

    def settle(self, run_id: str, booked: float | None, cost: float | None) -> None:
        """Puts what a job cost in the place of what was booked for it; 0 for one that was refused."""
        with self.lock:
            if booked is not None and run_id in self.spent:
                self.spent[run_id] += (booked if cost is None else cost) - booked


def day_of(moment: float) -> int:
    """Returns when the day of a moment began; both in seconds since 1970."""
    return int(moment // DAY) * DAY


def counts(row: Row) -> float | None:
    """Returns what a job counts towards its day in US dollars; None where nobody names its price."""
    provider = BY_NAME.get(row.provider)
    if row.state == "failed" and provider and not provider.charges_failed_jobs:
        return 0.0
    return row.usd if row.charged is None else row.charged


def spent_since(rows: Iterable[Row], moment: float) -> float:
    """Returns the sum of what was ordered since a moment; what has a later date than now is counted, too."""
    return sum(counts(row) or 0.0 for row in rows if row.posted >= moment)


def check_day(ledger: Ledger, row: Row, limit: float) -> None:
    """Checks that a job may be ordered today. Whoever asks holds `DAY_LOCK`.

    Raises:
        PolicyError: It would cost more than is left of the day's limit, or nobody can say what it costs.
    """
    sets = f"Whoever runs this ComfyUI sets the limit in {DAY_CEILING_VARIABLE}."
    if row.usd is None:
        raise PolicyError(
            f"Hosted clips may cost {dollars(limit)} a day here, and nobody names the price of this model. "
            f"Choose another one. {sets}"
        )
    today = day_of(row.posted)
    written = ledger.entries(today - DAY)  # a day more, for a file server's clock may be behind
    spent = spent_since((entry.row for entry in written if entry.row), today)
    if spent + row.usd > limit + 1e-9:
        minutes = max(1, round((today + DAY - time.time()) / 60))
        raise PolicyError(
            f"Hosted clips may cost {dollars(limit)} a day here, {dollars(spent)} of it is spent today, and this clip "
            f"costs {dollars(row.usd)}. Choose a shorter or smaller clip or a cheaper model, or run again after "
            f"00:00 UTC, in {minutes // 60} h {minutes % 60} min. {sets}"
        )
