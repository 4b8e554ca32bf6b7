"""Tries every fault of every hosted provider several times and writes what came of it into docs/hosted.md.

make bench ARGS="fault_matrix [times]"
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import harness
from pack.tests.toy.faults import FAULTS, Fault
from pack.tests.toy.hosted import expected, try_fault
from pack.tests.toy.loopback import Provider, Running
from pack.tests.toy.providers import PROVIDERS

PAGE = harness.ROOT / "docs" / "hosted.md"
TIMES = 5

WORDS = {
    "clip": "goes on, clip",
    "AuthError": "says which key",
    "BalanceError": "says that the account is empty",
    "RefusedError": "passes the provider's words on",
    "RateLimitedError": "gives up, says so",
    "UnavailableError": "says so",
    "UnclearError": "looks into the list of jobs; says that none began",
    "JobFailedError": "passes the verdict on",
    "ModeratedError": "passes the refusal on",
    "JobGoneError": "says so; the next run asks once more",
    "JobPendingError": "says that the job is not lost",
    "DownloadError": "keeps nothing; the next run downloads again",
}


def main(times: int) -> None:
    """Tries, and writes."""
    with Running(*(each() for each in PROVIDERS.values())) as running:
        rows = [row(fault, running, times) for fault in FAULTS]
    table = "| fault | what the node does | tried | submitted twice | paid, lost |\n|---|---|---|---|---|\n"
    harness.write_table(PAGE, table + "".join(rows), "fault matrix")


def row(fault: Fault, running: Running, times: int) -> str:
    """Tries one fault at every provider, and returns its line of the table."""
    counts: Counter[str] = Counter()
    for provider in running.providers:
        if fault.phase == "price" and provider.name != "wavespeed":
            continue
        for _ in range(times):
            counts += try_once(fault, provider, running)
    mark = " ¹" if counts["hidden"] else ""
    words = (
        f"| {fault.text} | {WORDS[fault.first]}{mark} | {counts['tried']} | {counts['twice']} | {counts['lost']} |\n"
    )
    sys.stdout.write(words)
    sys.stdout.flush()
    return words


def try_once(fault: Fault, provider: Provider, running: Running) -> Counter[str]:
    """Tries a fault once, with everything new."""
    provider.reset()
    with tempfile.TemporaryDirectory() as folder:
        trial = try_fault(fault, provider, running, Path(folder))
    if (trial.first.name, trial.again.name) != expected(fault, provider):
        raise SystemExit(f"{provider.name}, {fault.text}: {trial.first.text} Then: {trial.again.text}")
    hidden = trial.lost if provider.name == "api302" else 0  # it has no list of jobs; see the page
    return Counter(tried=1, twice=trial.twice, lost=trial.lost - hidden, hidden=hidden)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else TIMES)
