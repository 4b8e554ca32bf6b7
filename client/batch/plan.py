"""Jobs of a study, each known by its inputs: what it posts and the bytes of its pictures, whatever these are called.

Nothing here asks a server. What may be set in a shipped graph its schema says; in a graph of your own, what it holds.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import settings
from ..errors import UsageError
from ..printable import short
from ..prompts import Prompt
from ..settings import Setting
from ..values import check_text
from .graphs import SEEDS, Graph, is_file, load, value_of
from .study import Study
from .tables import Row, masked, reason

HOSTED = "Wan22Turbo_Hosted"
OFFER = ("model", "resolution", "duration")  # inputs of that node which decide what a clip costs
LONGEST = 60  # letters of each part of a clip's name
MOST = 96  # and bytes: with all that is put around it, a name has 255 at most

Offer = tuple[str, str, int]


@dataclass(frozen=True)
class Job:
    """One clip to be made.

    Args:
        digest: Of its inputs; two jobs with the same one are the same job.
        name: Of its clip's file, without the ending.
        graph: As the study names it.
        variant: What it is compared as.
        picture: Name of the picture's file, "" for none or several.
        prompt: What it is told, "" where its graph keeps that in several inputs.
        seed: None where its graph has several, and they differ.
        values: By the graph's own readable names; files of yours with their whole path.
        files: The names of those, and the sha256 of their bytes.
        offers: What hosted nodes in it order.
    """

    digest: str
    name: str
    graph: str
    variant: str
    picture: str
    prompt: str
    seed: int | None
    values: Mapping[str, Any] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict)
    offers: tuple[Offer, ...] = ()

    @property
    def kept_seed(self) -> int | str | None:
        """The seed as SQLite keeps it: ComfyUI's have 64 bits, and of those of SQLite's numbers one is the sign."""
        return str(self.seed) if self.seed and self.seed >= 1 << 63 else self.seed

    def shown(self) -> dict[str, Any]:
        """Returns its values as they may be shown: files by their names, addresses without what may be a token."""
        return {name: Path(value).name if name in self.files else masked(value) for name, value in self.values.items()}


def jobs(study: Study, graphs: dict[str, Graph], digest_of: Callable[[Path], str]) -> Iterator[Job]:
    """Yields the jobs of a study.

    Args:
        study: Whose rows they are.
        graphs: Gets those that they name.
        digest_of: Returns the digest of a file's bytes.

    Raises:
        UsageError: One cannot be, or two are the same.
    """
    seen: dict[str, int] = {}
    for number, row in enumerate(study.rows, 1):
        place = row.place or f"Job {number} ({row.variant})"
        try:
            if row.graph not in graphs:
                graphs[row.graph] = load(row.graph, study.folder, study.measure)
            job = planned(row, graphs[row.graph], study.folder, digest_of)
        except UsageError as error:
            raise UsageError(f"{place}: {error}") from error
        if job.digest in seen:
            other = study.rows[seen[job.digest] - 1]
            first = other.place or f"Job {seen[job.digest]} ({other.variant})"
            raise UsageError(
                f"{first} and {place} are the same: every input of theirs is "
                "equal. Remove one of them, or give it another seed."
            )
        seen[job.digest] = number
        yield job


def planned(row: Row, graph: Graph, folder: Path, digest_of: Callable[[Path], str]) -> Job:
    """Returns the job that a row means.

    Raises:
        UsageError: A name or a value does not fit, or it has no picture.
    """
    chosen: dict[Setting, Any] = {}
    check_text("variant", row.variant)
    for name, value in row.values.items():
        for setting in graph.find(name):
            if setting in chosen:
                raise UsageError(f"{setting.name} is given twice.")
            chosen[setting] = value_of(setting, value, folder, graph.own)
    missing = [each.name for each in graph.known if each.files == "upload" and each not in chosen]
    if missing:
        raise UsageError(
            f"It has no picture for '{missing[0]}'. Name files in the study, as in pictures = [\"*.jpg\"], or set "
            f"'{missing[0]}' to one that the servers have in their input folders."
        )
    files = {setting: Path(value) for setting, value in chosen.items() if is_file(setting, value)}
    names = [path.name for path in files.values()]
    digests = {setting: digest_of(path) for setting, path in files.items()}
    posted = settings.apply(graph.prompt, {**chosen, **{each: f"sha256:{digests[each]}" for each in files}}.items())
    digest = digest_of_prompt(posted)
    own = {setting: chosen.get(setting, setting.default) for setting in graph.known}
    seeds = {value for setting, value in own.items() if setting.input in SEEDS}
    picture = names[0] if len(names) == 1 else ""
    return Job(
        digest=digest,
        name=file_name(Path(picture).stem, row.variant, digest),
        graph=row.graph,
        variant=short(row.variant),
        picture=picture,
        prompt=masked(next((str(value) for setting, value in own.items() if setting.name == "prompt"), "")),
        seed=seeds.pop() if len(seeds) == 1 else None,
        values={setting.name: value for setting, value in chosen.items()},
        files={setting.name: digest for setting, digest in digests.items()},
        offers=tuple(offers(posted)),
    )


def offers(prompt: Prompt) -> Iterator[Offer]:
    """Yields what the hosted nodes of a prompt order."""
    for node in prompt.values():
        if node["class_type"] == HOSTED:
            model, resolution, duration = (node["inputs"].get(name) for name in OFFER)
            yield str(model), str(resolution), duration if isinstance(duration, int) else 0


def cost(job: Job, prices: Mapping[Offer, float]) -> float | None:
    """Returns what a job costs; None where nobody says."""
    known = [prices.get(offer) for offer in job.offers]
    return None if None in known else sum(usd for usd in known if usd is not None)


def digest_of_prompt(prompt: Prompt) -> str:
    """Identifies a prompt by all that ComfyUI computes with; titles are for people."""
    computed = {key: [node["class_type"], plain(node["inputs"])] for key, node in prompt.items()}
    return hashlib.sha256(json.dumps(computed, sort_keys=True).encode()).hexdigest()


def plain(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns inputs in which 1 and 1.0 are the same, as they are in JSON."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in inputs.items()
    }


def bytes_digest(path: Path) -> str:
    """Identifies a file by its bytes.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            whole = hashlib.sha256()
            while piece := file.read(1 << 20):
                whole.update(piece)
    except OSError as error:
        raise UsageError(f"The picture {path.name} cannot be read: {reason(error)}.") from error
    return whole.hexdigest()


def file_name(picture: str, variant: str, digest: str) -> str:
    """Names a clip, for people by its picture and variant, and for sure by its digest."""
    parts = (re.sub(r"[^\w=.]+", "-", part).strip("-.")[:LONGEST] for part in (picture, variant))
    cut = (part.encode()[:MOST].decode(errors="ignore") for part in parts)
    return "_".join([*filter(None, cut), digest[:12]])
