"""What all ComfyUI processes of a user have spent on a day, by the ledger, and the operator's ceiling on it.

A day is one of UTC, so that it is the same for all of them. A job counts for the day on which its order left: with what
the provider charged, else with its price; not at all if it failed at a provider that charges no failed jobs. A row that
cannot be read is not counted; `python -m hosted.jobs` names it.
"""

import time
from collections.abc import Iterable

from .errors import PolicyError
from .ledger import Ledger, Row
from .models import dollars
from .providers import PROVIDERS
from .settings import DAY_CEILING_VARIABLE

DAY = 86_400  # seconds
FAILED_FREE = {provider.name for provider in PROVIDERS if provider.failed_free}
LOCK = "day"  # held from the look at what is spent until the new row is on disk


def day_of(moment: float) -> int:
    """Returns when the day of a moment began; both in seconds since 1970."""
    return int(moment // DAY) * DAY


def counts(row: Row) -> float | None:
    """Returns what a job counts towards its day in US dollars; None where nobody names its price."""
    if row.state == "failed" and row.provider in FAILED_FREE:
        return 0.0
    return row.usd if row.charged is None else row.charged


def spent_since(rows: Iterable[Row], moment: float) -> float:
    """Returns the sum of what was ordered since a moment; what has a later date than now is counted, too."""
    return sum(counts(row) or 0.0 for row in rows if row.posted >= moment)


def check(ledger: Ledger, row: Row, limit: float) -> None:
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
