"""Lists the jobs of this user: when, where, in which state, for how much, and which can be picked up; sums per day.

To see them, in the folder of this pack:

    python -m hosted.jobs           # or with --json

It asks no provider and changes nothing. It shows no prompt, no address and no key, for the ledger holds none.
"""

import sys

if __name__ == "__main__":
    from . import run_command

    sys.exit(run_command("jobs"))


import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ..common.text import line
from .credentials import add_folder, private_folder
from .errors import HostedError
from .ledger import Ledger, Row
from .providers import BY_NAME, dollars
from .settings import DAY_CEILING_VARIABLE, Settings, counts, day_of, spent_since

COLUMNS = ("ordered (UTC)", "provider", "model", "state", "price", "job", "can be picked up")


def pick_up(row: Row, retired: bool, now: float) -> str:
    """Returns what the same inputs with the same seed would find."""
    if retired or row.state == "failed":
        return "no: it failed" if row.state == "failed" else "no: it was ordered anew"
    if row.state == "claimed":
        return "if the provider lists it"
    provider = BY_NAME.get(row.provider)
    ends = provider.kept_until(row.posted) if provider and row.state != "missing" else None
    if ends is not None and now < ends:
        return f"yes, until {moment(ends)[:10]}"
    return "if the provider has it"


def moment(seconds: float) -> str:
    """Writes a moment, in UTC, to the minute."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")


def listed(ledger: Ledger, environ: Mapping[str, str]) -> dict[str, Any]:
    """Returns everything there is to tell; PolicyError if the operator's limit is no number."""
    now = time.time()
    entries = list(ledger.entries())
    rows = [(entry.row, entry.retired) for entry in entries if entry.row]
    jobs = [_job(row, retired, now) for row, retired in sorted(rows, key=lambda each: each[0].posted)]
    days: dict[str, dict[str, Any]] = {}
    for job in jobs:
        day = days.setdefault(job["ordered"][:10], {"jobs": 0, "usd": 0.0, "price_unknown": 0})
        day["jobs"] += 1
        day["usd"] = round(day["usd"] + (job["counts_usd"] or 0.0), 6)
        day["price_unknown"] += job["counts_usd"] is None
    return {
        "jobs": jobs,
        "days": days,
        "limit_per_day_usd": Settings(environ).daily_ceiling(),
        "spent_today_usd": round(spent_since((row for row, _ in rows), day_of(now)), 6),
        "cannot_be_read": [line(f"{entry.name}.json", 120) for entry in entries if entry.row is None],
    }


def _job(row: Row, retired: bool, now: float) -> dict[str, Any]:
    return {
        "ordered": moment(row.posted),
        "provider": row.provider,
        "model": row.model,
        "state": row.state,
        "job": row.job_id,
        "usd": row.usd,
        "usd_asked": row.asked,
        "usd_charged": row.charged,
        "counts_usd": counts(row),
        "can_be_picked_up": pick_up(row, retired, now),
        "request": row.digest,
    }


def table(told: Mapping[str, Any]) -> str:
    """Writes it all for people, in plain letters."""
    lines = [COLUMNS, *(_line(job) for job in told["jobs"])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text += [""] if told["jobs"] else ["There are no jobs.", ""]
    for day, sums in told["days"].items():
        unknown = f", and {sums['price_unknown']} of unknown price" if sums["price_unknown"] else ""
        text.append(f"{day}: {sums['jobs']} {'job' if sums['jobs'] == 1 else 'jobs'}, {dollars(sums['usd'])}{unknown}")
    limit = told["limit_per_day_usd"]
    of = f"no limit is set in {DAY_CEILING_VARIABLE}" if limit is None else f"the limit is {dollars(limit)}"
    text.append(f"Today, since 00:00 UTC: {dollars(told['spent_today_usd'])}; {of}.")
    if told["cannot_be_read"]:
        text.append(f"These files of the folder jobs cannot be read: {', '.join(told['cannot_be_read'])}.")
    return "\n".join(text).encode("ascii", "backslashreplace").decode()


def _line(job: Mapping[str, Any]) -> tuple[str, ...]:
    provider = BY_NAME.get(job["provider"])
    counted = "unknown" if job["counts_usd"] is None else dollars(job["counts_usd"])
    kind = "charged" if job["usd_charged"] is not None else "as asked" if job["usd_asked"] else "estimated"
    free = job["state"] == "failed" and job["counts_usd"] == 0
    price = f"{counted}{', failed' if free else '' if counted == 'unknown' else f' {kind}'}"
    title = provider.title if provider else job["provider"]
    return (job["ordered"], title, job["model"], job["state"], price, job["job"] or "-", job["can_be_picked_up"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Lists them."""
    parser = argparse.ArgumentParser(prog="python -m hosted.jobs", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="for programs")
    add_folder(parser)
    options = parser.parse_args(arguments)
    try:
        told = listed(Ledger(private_folder(parser, options) / "jobs"), os.environ)
    except (HostedError, OSError) as error:
        parser.exit(1, f"{error if isinstance(error, HostedError) else error.strerror}\n")
    sys.stdout.write((json.dumps(told, indent=1) if options.json else table(told)) + "\n")
    return 0
