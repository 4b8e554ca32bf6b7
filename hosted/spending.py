"""What a job costs, and what the operator lets a run and a day cost.

A price is asked of the provider where it answers that, else taken from its dated table. A day is one of UTC, so that it
is the same for all ComfyUI processes of a user. A job counts for the day on which its order left: with what the
provider charged, else with its price; not at all if it failed at a provider that charges no failed jobs. A row that
cannot be read is not counted; `python -m hosted.jobs` names it.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from ..common.text import MAX_USD
from .errors import PolicyError
from .ledger import Ledger, Row
from .providers import BY_NAME
from .settings import CEILING_VARIABLE, DAY_CEILING_VARIABLE

PRICES_OF = "September 2026"
DAY = 86_400  # seconds
LOCK = "day"  # held from the look at what is spent until the new row is on disk


def dollars(usd: float) -> str:
    """Writes an amount, with as many digits as it needs."""
    return f"${usd:.2f}" if abs(usd * 100 - round(usd * 100)) < 1e-6 else f"${usd:.4f}".rstrip("0")


@dataclass(frozen=True)
class Price:
    """US dollars for a clip; None where nobody names them."""

    usd: float | None
    asked: bool  # of the provider, just before the job

    @classmethod
    def quoted(cls, usd: float) -> "Price":
        """Returns what a provider answered; what can be no price is none."""
        return cls(usd if usd <= MAX_USD else None, asked=True)

    def __str__(self) -> str:
        if self.usd is None and self.asked:
            return "price unknown; what the provider names can be none"
        if self.usd is None:
            return f"price unknown; no source of {PRICES_OF} names it"
        return f"{dollars(self.usd)}, as asked" if self.asked else f"about {dollars(self.usd)}, prices of {PRICES_OF}"


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
    """Checks that a job may be ordered today. Whoever asks holds `LOCK`.

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
