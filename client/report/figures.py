"""The numbers of a report: of each variant, and of its difference from another one on the same inputs.

A difference is taken clip by clip: same picture, and same prompt and seed wherever a variant has several of them. Its
interval is Student's for the mean of those differences, at 95 percent (scipy's quantile), so it needs two pairs and
takes the differences for a sample of others like them.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from .rows import Row

SURE = 0.95
FACTS = ("frames", "width", "height", "fps", "pairs", "needed_pairs")  # of a clip, which say nothing of its quality
HIGHER, LOWER = "higher", "lower"  # is better


class Measure(NamedTuple):
    """What is measured of a clip.

    Attributes:
        name: In the table.
        title: For people.
        better: Which is better, "higher" or "lower"; "" where neither is.
    """

    name: str
    title: str
    better: str = ""


KNOWN = {
    each.name: each
    for each in (
        Measure("latency", "Latency, s", LOWER),
        Measure("usd", "Cost per clip, $", LOWER),
        Measure("likeness", "Likeness of the first frame", HIGHER),
        Measure("smoothness", "Motion smoothness", HIGHER),
        Measure("flicker", "Temporal flickering, 1 for none", HIGHER),
        Measure("light_flicker", "Flicker of the light, of 255", LOWER),
        Measure("motion", "Motion, % a second"),
        Measure("moving_pairs", "Pairs of frames that move"),
        Measure("edge_blur_start", "Edge blur at the start, px", LOWER),
        Measure("edge_blur_end", "Edge blur at the end, px", LOWER),
        Measure("brightness_start", "Brightness at the start, of 255"),
        Measure("brightness_end", "Brightness at the end, of 255"),
        Measure("brightness_drift", "Drift of brightness, of 255"),
        Measure("colour_drift", "Drift of colour, of 255", LOWER),
        Measure("seams", "Seams", LOWER),
        Measure("black", "Black frames", LOWER),
        Measure("frozen", "Frozen frames", LOWER),
        Measure("nan", "Frames with NaN", LOWER),
    )
}


class Spread(NamedTuple):
    """Some values: how many, their mean, and their standard deviation, which one value alone has not."""

    count: int
    mean: float
    deviation: float | None


class Difference(NamedTuple):
    """A variant less another one: the mean over the pairs, and the interval in which it lies. One pair has none."""

    pairs: int
    mean: float
    low: float | None
    high: float | None

    def verdict(self, better: str) -> str:
        """Returns what the interval tells, in a word that the page also takes for its colour."""
        if self.low is None or self.high is None:
            return "no interval"
        if self.low <= 0 <= self.high:
            return "no difference" if self.low == self.high else "not told apart"
        direction = HIGHER if self.low > 0 else LOWER
        return direction if not better else "better" if direction == better else "worse"


@dataclass(frozen=True)
class Summary:
    """A variant of a study.

    Args:
        variant: Its name.
        states: How many of its jobs are done, failed, refused, posted or open.
        p50, p90: Latency in seconds, interpolated; None where nothing was timed.
        usd: What all its clips cost, as far as it is known.
        unpriced: Of how many that is not known.
        spreads: Of each measure, by name.
        differences: From the baseline, by the measure's name.
    """

    variant: str
    states: Counter[str]
    p50: float | None
    p90: float | None
    usd: float
    unpriced: int
    spreads: dict[str, Spread]
    differences: dict[str, Difference]


@dataclass(frozen=True)
class Figures:
    """All numbers of a study.

    Args:
        baseline: The variant that the others are compared with.
        measures: What differs between clips.
        alike: What is the same of all, by title.
        summaries: Of each variant, in the study's order.
        rows: Jobs that are to be compared, by what they have in common, then by variant.
    """

    baseline: str
    measures: list[Measure]
    alike: dict[str, float]
    summaries: list[Summary]
    rows: dict[Hashable, dict[str, list[Row]]]

    @property
    def intervals(self) -> int:
        """How many intervals there are: of twenty, one is wrong."""
        return sum(each.low is not None for one in self.summaries for each in one.differences.values())


def figures(rows: Sequence[Row], baseline: str) -> Figures:
    """Computes all numbers of a study."""
    key = key_of(rows)
    matched: dict[Hashable, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        matched[key(row)][row.variant].append(row)
    measures, alike = measured(rows)
    variants = dict.fromkeys(row.variant for row in rows)
    summaries = [
        summary(variant, [row for row in rows if row.variant == variant], measures, matched, baseline)
        for variant in variants
    ]
    return Figures(baseline, measures, alike, summaries, matched)


def key_of(rows: Iterable[Row]) -> Callable[[Row], Hashable]:
    """Returns what jobs of different variants must share to be compared.

    A prompt or seed counts if some variant has several. If each has but one, that is a part of the variant. So is a
    file that all jobs of a variant have beside others, and another variant has not, such as its end picture.
    """
    prompts, seeds, files = defaultdict(set), defaultdict(set), defaultdict(list)
    for row in rows:
        prompts[row.variant].add(row.prompt)
        seeds[row.variant].add(row.seed)
        files[row.variant].append(set(row.files.values()))
    everywhere = set.intersection(*(set.union(*found) for found in files.values())) if files else set()
    fixed = {variant: set.intersection(*found) - everywhere for variant, found in files.items()}
    by_prompt, by_seed = (any(len(each) > 1 for each in found.values()) for found in (prompts, seeds))

    def key(row: Row) -> Hashable:
        own = sorted(row.files.values())
        pictures = tuple(each for each in own if each not in fixed[row.variant]) or tuple(own) or (row.picture,)
        return pictures, row.prompt if by_prompt else None, row.seed if by_seed else None

    return key


def measured(rows: Iterable[Row]) -> tuple[list[Measure], dict[str, float]]:
    """Returns what was measured and differs between clips, ours first; and what is the same of all of them.

    What is known of some clips only is not the same of all.
    """
    found: dict[str, set[float | None]] = defaultdict(set)
    done = [row.values for row in rows if row.state == "done"]
    for name in dict.fromkeys(name for values in done for name in values):
        found[name] = {values.get(name) for values in done}
    names = [*(name for name in KNOWN if name in found), *sorted(found.keys() - KNOWN.keys() - set(FACTS))]
    measures = [KNOWN.get(name, Measure(name, name)) for name in names]
    kept = [each for each in measures if len(found[each.name]) > 1 or each.name == "latency"]
    facts = [KNOWN.get(name, Measure(name, name)) for name in [*FACTS, *names] if name != "latency"]
    same = {each.title: found[each.name] for each in facts if len(found[each.name]) == 1}
    return kept, {title: value for title, values in same.items() for value in values if value is not None}


def summary(
    variant: str,
    rows: Sequence[Row],
    measures: Iterable[Measure],
    matched: dict[Hashable, dict[str, list[Row]]],
    baseline: str,
) -> Summary:
    """Computes the numbers of a variant."""
    done = [row for row in rows if row.state == "done"]
    times = [row.latency for row in done if row.latency is not None]
    p50, p90 = (float(each) for each in np.percentile(times, (50, 90))) if times else (None, None)
    spreads, differences = {}, {}
    for name in (each.name for each in measures):
        values = [row.values[name] for row in done if name in row.values]
        if values:
            spreads[name] = spread(values)
        pairs = [
            ours - theirs
            for found in matched.values()
            if (ours := mean_of(found, variant, name)) is not None
            and (theirs := mean_of(found, baseline, name)) is not None
        ]
        if pairs and variant != baseline:
            differences[name] = difference(pairs)
    usd = [row.usd for row in done if row.usd is not None]
    return Summary(
        variant, Counter(row.state for row in rows), p50, p90, sum(usd), len(done) - len(usd), spreads, differences
    )


def mean_of(found: dict[str, list[Row]], variant: str, name: str) -> float | None:
    """Returns what was measured of a variant on the same inputs; it has several jobs there if a table says so."""
    values = [row.values[name] for row in found.get(variant, ()) if name in row.values]
    return math.fsum(values) / len(values) if values else None


def spread(values: Sequence[float]) -> Spread:
    """Returns how many values there are, their mean and standard deviation."""
    return Spread(len(values), float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def difference(pairs: Sequence[float]) -> Difference:
    """Returns the mean of paired differences with its interval, Student's."""
    count, mean, deviation = spread(pairs)
    if deviation is None:
        return Difference(count, mean, None, None)
    half = float(stdtrit(count - 1, (1 + SURE) / 2)) * deviation / math.sqrt(count)
    return Difference(count, mean, mean - half, mean + half)
