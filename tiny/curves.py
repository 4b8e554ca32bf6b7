"""Draws what a course of training has measured, against its steps, as SVG."""

from xml.sax.saxutils import escape

WIDTH, HEIGHT, MARGIN = 360, 150, 36  # of one panel, in pixels
COLUMNS = 2


def draw_curves(title: str, rows: list[dict[str, float]]) -> str:
    """Returns an SVG with a panel for each number of a log.

    Args:
        title: Above the panels.
        rows: Each with `step`, `processor_hours` and numbers, not all of which need be in each.
    """
    names = sorted({name for row in rows for name in row} - {"step", "processor_hours"})
    hours = rows[-1]["processor_hours"] if rows else 0
    panels = [
        _panel(name, [(row["step"], row[name]) for row in rows if name in row], n % COLUMNS, n // COLUMNS)
        for n, name in enumerate(names)
    ]
    height = 30 + HEIGHT * -(-len(names) // COLUMNS)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * COLUMNS}" height="{height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#ffffff"/>'
        f'<text x="10" y="18" font-size="13">{escape(title)}: {hours:.2f} hours of a processor</text>'
        + "".join(panels)
        + "</svg>\n"
    )


def _panel(name: str, points: list[tuple[float, float]], column: int, row: int) -> str:
    left, top = column * WIDTH + MARGIN, 30 + row * HEIGHT + 20
    wide, high = WIDTH - 2 * MARGIN, HEIGHT - 50
    low, peak = min(y for _, y in points), max(y for _, y in points)
    last, span = max(x for x, _ in points), peak - low or 1
    places = [f"{left + wide * x / max(last, 1):.1f},{top + high * (1 - (y - low) / span):.1f}" for x, y in points]
    return (
        f'<text x="{left}" y="{top - 6}">{escape(name)}: {points[-1][1]:.4g}</text>'
        f'<rect x="{left}" y="{top}" width="{wide}" height="{high}" fill="none" stroke="#d2d6dc"/>'
        f'<text x="{left}" y="{top + high + 12}" fill="#616e7c">0 to {last:g} steps, {low:.4g} to {peak:.4g}</text>'
        f'<polyline points="{" ".join(places)}" fill="none" stroke="#2b6cb0" stroke-width="1.5"/>'
    )
