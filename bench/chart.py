"""Draws every row of bench/results as bars, in SVG that GitHub shows: `python bench/chart.py`.

Rows are what harness.save takes. What is drawn follows from the names in a row:

    "... ratio"             a bar and, at 1, the line of the peer: shorter is better
    "... share ..."         a bar of a whole; also every number of a row whose title says "share"
    "X ours", "X core"      bars on one scale, for two or more names that differ in their last word, one being "ours"
    anything else           the number alone

`CURVES` names rows that are also drawn against each other.

Rows whose titles begin alike ("saving: ...") share a file: results/<machine>/saving.svg. The ratios of all
rows are also a table in docs/benches.md.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

RESULTS = Path(__file__).resolve().parent / "results"
PAGE = RESULTS.parents[1] / "docs" / "benches.md"
MACHINE = "cpu-x86_64-2-cores"  # whose ratios the page tells
BEGIN, END = "<!-- ratios -->\n", "<!-- end of the ratios -->\n"

WIDTH, LABEL, BAR = 760, 340, 320  # pixels: of the picture, of the names, of the longest bar
LINE, BAR_HEIGHT, MARGIN = 22, 12, 16
INK, PALE, OURS, PEER, WORSE = "#1f2933", "#616e7c", "#2b6cb0", "#9aa5b1", "#c05621"
SCATTER = 1.05  # of a ratio; below it nothing is called worse
PAPER, EDGE = "#ffffff", "#d2d6dc"
HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 64, 220, 60, 52  # pixels: of curves, and around their axes
COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280")  # of as many lines
MARKS = 5  # on an axis, about


class Curves(NamedTuple):
    """Which rows of a file are drawn against each other; the pattern's group names the line that a way belongs to."""

    title: str
    across: str
    up: str
    line: re.Pattern[str]


CURVES = {
    "density": Curves(
        "Clips with sparse attention and one dense step",
        "share computed exactly",
        "distance from the scene, times",
        re.compile("(.+), density [^,]+, dense steps 1"),
    )
}

Row = dict[str, float | str]


class Bar(NamedTuple):
    """One line of a panel. Lengths are fractions of the longest bar; None draws none."""

    name: str
    value: str
    length: float | None = None
    mark: float | None = None
    colour: str = OURS


def charts(rows: dict[str, Row], where: str) -> dict[str, str]:
    """Returns an SVG for each group of rows, by the path that it belongs at, beside the rows' file.

    Args:
        rows: By title, as in a results file.
        where: The file's name without its ending: the machine, or what was measured.
    """
    groups: dict[str, dict[str, Row]] = {}
    for title, row in rows.items():
        beginning, colon, rest = title.partition(": ")
        path, panel = (f"{where}/{beginning}.svg", rest) if colon else (f"{where}.svg", title)
        groups.setdefault(path, {})[panel] = row
    caption = f"{where}. A line marks the peer, or the whole."
    drawn = {path: draw(panels, caption) for path, panels in groups.items()}
    return drawn | ({f"{where}/curves.svg": draw_curves(rows, CURVES[where])} if where in CURVES else {})


def draw(panels: dict[str, Row], caption: str) -> str:
    """Returns one SVG with a panel for each row."""
    parts, y = [], MARGIN
    for title, row in panels.items():
        y += LINE
        parts.append(_text(MARGIN, y - 6, title, weight="bold"))
        for bar in bars(row, whole="share" in title):
            parts += _bar(bar, y)
            y += LINE
        y += MARGIN
    parts.append(_text(MARGIN, y, caption, colour=PALE, size=11))
    return _picture(caption, y + MARGIN, parts)


def draw_curves(rows: dict[str, Row], wanted: Curves) -> str:
    """Returns an SVG with a line for each kind of ways, through a point for each way."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for way, x in rows[wanted.across].items():
        if (found := wanted.line.fullmatch(way)) and way in rows[wanted.up]:
            lines.setdefault(found[1], []).append((float(x), float(rows[wanted.up][way])))
    columns, levels = (marks([point[axis] for points in lines.values() for point in points]) for axis in (0, 1))

    def x_of(value: float) -> float:
        return LEFT + (WIDTH - RIGHT - LEFT) * (value - columns[0]) / (columns[-1] - columns[0])

    def y_of(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - levels[0]) / (levels[-1] - levels[0])

    parts = [_text(MARGIN, 24, wanted.title, weight="bold"), _text(LEFT, TOP - 8, wanted.up)]
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 14, wanted.across, anchor="end"))
    parts += _grid(columns, levels, x_of, y_of)
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(x_of(x), y_of(y)) for x, y in sorted(points)]
        through = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{through}" fill="none" stroke="{colour}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
        parts.append(_text(WIDTH - RIGHT + MARGIN, TOP + 8 + LINE * number, name, colour))
    return _picture(wanted.title, HEIGHT, parts)


def marks(values: list[float]) -> list[float]:
    """Returns round numbers, evenly apart, from at most the least value to at least the greatest."""
    low, high = min(values), max(values)
    rough = (high - low or 1.0) / MARKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * number, 9) for number in range(first, max(last, first + 1) + 1)]


def _grid(
    columns: list[float], levels: list[float], x_of: Callable[[float], float], y_of: Callable[[float], float]
) -> Iterator[str]:
    for column in columns:
        yield f'<path d="M{x_of(column):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{EDGE}"/>'
        yield _text(x_of(column), HEIGHT - BOTTOM + 16, f"{column:g}", PALE, anchor="middle")
    for level in levels:
        yield f'<path d="M{LEFT} {y_of(level):.1f}H{WIDTH - RIGHT}" stroke="{EDGE}"/>'
        yield _text(LEFT - 8, y_of(level) + 4, f"{level:g}", PALE, anchor="end")


def _picture(title: str, height: int, parts: list[str]) -> str:
    frame = f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6" fill="{PAPER}" stroke="{EDGE}"/>'
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    font = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="12.5"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>'
    return "\n".join((head, f"<title>{escape(title)}</title>", frame, *parts)) + "\n</svg>\n"


def bars(row: Row, whole: bool = False) -> Iterator[Bar]:
    """Returns how each entry of a row is drawn."""
    longest = {}
    for stem, parties in _compared(row).items():
        longest |= {f"{stem} {party}": max(parties.values()) for party in parties}
    furthest = max([1.25, *(value for name, value in row.items() if "ratio" in name and not isinstance(value, str))])
    for name, value in row.items():
        if isinstance(value, str):
            yield Bar(name, value)
        elif "ratio" in name:
            yield Bar(name, f"{value:g}", value / furthest, 1 / furthest, OURS if value <= SCATTER else WORSE)
        elif whole or (" share " in f" {name} " and "difference" not in name):
            yield Bar(name, f"{value:g}", value, 1.0)
        elif longest.get(name):
            yield Bar(name, f"{value:g}", value / longest[name], None, OURS if name.endswith(" ours") else PEER)
        else:
            yield Bar(name, f"{value:g}")


def _compared(row: Row) -> dict[str, dict[str, float]]:
    """Collects the entries that name the same thing of several parties, ours among them."""
    stems: dict[str, dict[str, float]] = {}
    for name, value in row.items():
        stem, _, party = name.rpartition(" ")
        if stem and not isinstance(value, str):
            stems.setdefault(stem, {})[party] = value
    return {stem: parties for stem, parties in stems.items() if "ours" in parties and len(parties) > 1}


def _bar(bar: Bar, top: int) -> Iterator[str]:
    middle = top + LINE / 2
    yield _text(MARGIN, middle + 4, bar.name)
    end = LABEL
    if bar.length is not None:
        end = LABEL + BAR * bar.length
        yield _rectangle(LABEL, middle - BAR_HEIGHT / 2, max(1.0, BAR * bar.length), bar.colour)
    if bar.mark is not None:
        x = LABEL + BAR * bar.mark
        yield f'<path d="M{x:.1f} {top + 1}v{LINE - 2}" stroke="{INK}" stroke-width="1.5"/>'
        end = max(end, x)
    yield _text(end + 8, middle + 4, bar.value)


def _rectangle(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2" fill="{colour}"/>'


def _text(
    x: float, y: float, text: str, colour: str = INK, weight: str = "normal", size: float | None = None,
    anchor: str = "start",
) -> str:  # fmt: skip
    more = f' font-size="{size}"' if size else ""
    more += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:g}" fill="{colour}" font-weight="{weight}"{more}>{escape(text)}</text>'


def ratios(rows: dict[str, Row]) -> str:
    """Returns a Markdown table of the ratios of ours to a peer, a line for each row that has any."""
    lines = ["| measured | ours / the peer |", "|---|---|"]
    for title, row in rows.items():
        named = {" ".join(name.replace("ratio", "").split()): value for name, value in row.items() if "ratio" in name}
        if named:
            told = ", ".join(f"{name} **{value:.2f}**" for name, value in named.items())
            lines.append(f"| {title.partition(': ')[2] or title} | {told} |")
    return "\n".join(lines) + "\n"


def with_ratios(page: str, rows: dict[str, Row]) -> str:
    """Returns the page's text with the table of these rows."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + ratios(rows) + END + rest.partition(END)[2]


def main() -> None:
    """Draws all results, and writes the page's table."""
    for file in sorted(RESULTS.glob("*.json")):
        rows = json.loads(file.read_text(encoding="utf-8"))
        for name, svg in charts(rows, file.stem).items():
            path = RESULTS / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(svg, encoding="utf-8")
        if file.stem == MACHINE:
            PAGE.write_text(with_ratios(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main()
