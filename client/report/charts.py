"""The charts of a report: Vega-Lite, drawn to SVG here, so that the page needs no script for them and no network.

Their colours are the page's variables, light or dark.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import vl_convert  # pyright: ignore[reportMissingImports]  # an optional extra
from markupsafe import Markup, escape

from .figures import Figures, Measure
from .rows import Row

WIDTH, STEP = 300, 24  # pixels
DOTS = 400  # clips, of more than which one by one is not seen
LABEL = 150  # pixels of a variant's name
VERDICTS = {"better": "var(--good)", "worse": "var(--bad)", "higher": "var(--other)", "lower": "var(--other)"}
CONFIG = {
    "background": None, "font": "sans-serif", "view": {"stroke": None}, "point": {"opacity": 1, "filled": True},
    "padding": {"left": 24, "right": 12, "top": 5, "bottom": 5},  # where a browser's letters are wider than those here
    "axis": {
        "labelColor": "var(--ink)", "titleColor": "var(--pale)", "gridColor": "var(--line)", "tickColor": "var(--line)",
        "domainColor": "var(--line)", "titleFontWeight": "normal", "labelFontSize": 11, "labelLimit": LABEL,
        "tickCount": 4, "labelOverlap": True,
    },
}  # fmt: skip


class Chart(NamedTuple):
    """A chart: its title, a sentence on how to read it, and its SVG."""

    title: str
    caption: str
    svg: Markup


def charts(figures: Figures, rows: list[Row]) -> Iterator[Chart]:
    """Draws latency, cost, and for each measure the differences from the baseline."""
    if any(each.p50 is not None for each in figures.summaries):
        caption = "The disc is p50, the diamond p90" + (", each line a clip." if len(rows) <= DOTS else ".")
        yield chart("Latency", caption, latency(figures, rows))
    if any("usd" in each.spreads for each in figures.summaries):  # else it is the same of all clips, or nothing
        yield chart("Cost per clip", "The mean over the clips whose price is known.", cost(figures))
    for measure in figures.measures:
        spec = differences(figures, measure)
        if spec is not None:
            caption = f"Difference from {figures.baseline}, with its 95 % interval. {reading(measure)}"
            yield chart(measure.title, caption, spec)


def reading(measure: Measure) -> str:
    """Returns which side of 0 is better."""
    return f"{measure.better.capitalize()} is better." if measure.better else "Neither side is better in itself."


def chart(title: str, caption: str, spec: dict[str, Any]) -> Chart:
    """Draws one chart."""
    svg = vl_convert.vegalite_to_svg({**spec, "config": CONFIG})
    label = escape(f"{title}. {caption}")
    return Chart(title, caption, Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)))


def latency(figures: Figures, rows: list[Row]) -> dict[str, Any]:
    """Lays out the seconds of each variant."""
    each = [{"variant": row.variant, "x": row.values["latency"]} for row in rows if "latency" in row.values]
    ends = [{"variant": one.variant, "x": one.p50, "p90": one.p90} for one in figures.summaries if one.p50 is not None]
    layers = [
        layer(ends, {"type": "rule", "color": "var(--accent)", "strokeWidth": 2}, "x", x2={"field": "p90"}),
        layer(ends, {"type": "point", "shape": "circle", "size": 90, "color": "var(--accent)"}, "x"),
        layer(ends, {"type": "point", "shape": "diamond", "size": 90, "color": "var(--accent)"}, "p90"),
    ]
    if len(rows) <= DOTS:
        layers.insert(0, layer(each, {"type": "tick", "color": "var(--pale)", "opacity": 0.7}, "x"))
    return {"width": WIDTH, "height": {"step": STEP}, "layer": [titled(each, "seconds", figures) for each in layers]}


def cost(figures: Figures) -> dict[str, Any]:
    """Lays out what a clip of each variant costs."""
    each = [{"variant": one.variant, "x": one.spreads["usd"].mean} for one in figures.summaries if "usd" in one.spreads]
    bars = layer(each, {"type": "bar", "color": "var(--accent)", "height": 12}, "x")
    return {"width": WIDTH, "height": {"step": STEP}, **titled(bars, "US dollars", figures)}


def differences(figures: Figures, measure: Measure) -> dict[str, Any] | None:
    """Lays out the differences of a measure; None where there is none."""
    found = [
        {"variant": one.variant, "x": each.mean, "low": each.low, "high": each.high,
         "colour": VERDICTS.get(each.verdict(measure.better), "var(--pale)")}
        for one in figures.summaries
        if (each := one.differences.get(measure.name)) is not None
    ]  # fmt: skip
    if not found:
        return None
    colour = {"field": "colour", "type": "nominal", "scale": None}
    sure = [each for each in found if each["low"] is not None]
    layers = [
        {"data": {"values": [{}]}, "mark": {"type": "rule", "color": "var(--ink)"}, "encoding": {"x": {"datum": 0}}},
        layer(sure, {"type": "rule", "strokeWidth": 2}, "low", x2={"field": "high"}, color=colour),
        layer(found, {"type": "point", "size": 80}, "x", color=colour),
    ]
    drawn = [titled(each, None, figures) for each in layers]
    return {"width": WIDTH, "height": {"step": STEP}, "layer": drawn}


def layer(values: list[dict[str, Any]], mark: dict[str, Any], x: str, **more: Any) -> dict[str, Any]:
    """Returns marks, a line of them for each variant."""
    encoding = {"y": {"field": "variant", "type": "nominal"}, "x": {"field": x, "type": "quantitative"}, **more}
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}


def titled(drawn: dict[str, Any], title: str | None, figures: Figures) -> dict[str, Any]:
    """Names the axis, and puts the variants in the study's order."""
    drawn["encoding"]["x"]["axis"] = {"title": title}
    if "y" in drawn["encoding"]:
        drawn["encoding"]["y"] |= {"sort": [one.variant for one in figures.summaries], "axis": {"title": None}}
    return drawn
