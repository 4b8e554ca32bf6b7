"""What a run of a study begins with: its jobs, written down, and which of them are done, or tried or fetched again."""

import json
import re
from pathlib import Path
from typing import NamedTuple

from . import plan
from .desk import MOST_LOST
from .folder import fetch, gone
from .graphs import Graph
from .plan import Job
from .study import Study
from .table import Table

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


class Prepared(NamedTuple):
    """A study whose table says what is to be done.

    Attributes:
        jobs: By digest.
        graphs: By the names in the study.
        lost: How many jobs are done whose clips are no longer in the folder.
    """

    jobs: dict[str, Job]
    graphs: dict[str, Graph]
    lost: int

    def told(self) -> str:
        """Returns what is said of such jobs where nobody asks for their clips."""
        return f"{self.lost} jobs are done whose clips are no longer in the folder. --missing gets these again."


def prepared(said: Study, table: Table, refused: bool, missing: bool) -> Prepared:
    """Plans a study, and opens what is left of it, on request also what was refused, or whose clip is gone.

    Raises:
        UsageError: A job cannot be.
        SaveError: The table cannot be written.
    """
    graphs: dict[str, Graph] = {}
    jobs = {job.digest: job for job in plan.jobs(said, graphs, table.digest_of)}
    digests = {name: plan.digest_of_prompt(graph.prompt) for name, graph in graphs.items()}
    about = {"name": said.name, "text": said.text, "version": version(), "graphs": json.dumps(digests)}
    table.plan(jobs.values(), about)
    table.again(said.tries, refused, MOST_LOST)
    lost = gone(table)
    if missing:
        fetch(table, lost)
    return Prepared(jobs, graphs, len(lost))


def version() -> str:
    """Returns the version of this checkout, "" where it was taken apart."""
    text = PROJECT.read_text(encoding="utf-8") if PROJECT.is_file() else ""
    found = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    return found[1] if found else ""
