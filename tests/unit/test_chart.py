"""The charts of the bench: every number is there, at its length, and the committed ones show the committed numbers."""

import json
from xml.etree import ElementTree

import pytest
from pack.bench import chart

FILES = sorted(chart.RESULTS.glob("*.json"))
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def lengths(svg):
    """Returns the bars' lengths, without the frame."""
    return [float(bar.get("width")) for bar in ElementTree.fromstring(svg).iter(f"{SVG}rect")][1:]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_charts_beside_a_results_file_are_of_its_numbers(file):
    rows = json.loads(file.read_text(encoding="utf-8"))
    for name, svg in chart.charts(rows, file.stem).items():
        shown = chart.RESULTS / name
        assert shown.is_file(), f"{name} is missing. Run `python bench/chart.py`."
        assert shown.read_text(encoding="utf-8") == svg, f"{name} shows other numbers. Run `python bench/chart.py`."


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_entry_of_every_row_is_in_a_chart(file):
    rows = json.loads(file.read_text(encoding="utf-8"))
    shown = [text for svg in chart.charts(rows, file.stem).values() for text in texts(svg)]
    for title, row in rows.items():
        assert title.partition(": ")[2] or title in shown
        for name, value in row.items():
            assert name in shown
            assert (value if isinstance(value, str) else f"{value:g}") in shown


def test_the_page_shows_every_chart():
    page = chart.PAGE.read_text(encoding="utf-8")
    for path in chart.RESULTS.rglob("*.svg"):
        assert f"](../bench/results/{path.relative_to(chart.RESULTS).as_posix()})" in page


def test_the_page_tells_the_committed_ratios():
    rows = json.loads((chart.RESULTS / f"{chart.MACHINE}.json").read_text(encoding="utf-8"))
    page = chart.PAGE.read_text(encoding="utf-8")
    assert page == chart.with_ratios(page, rows), "Run `python bench/chart.py`."
    assert "| a / b | time **0.51**, processor time **2.00** |" in chart.ratios(
        {"x: a / b": {"time ratio": 0.512, "processor time ratio": 2.0, "seconds": 3.0}, "x: no peer": {"MB": 1.0}}
    )


def test_the_page_says_in_words_what_the_numbers_say():
    rows = json.loads((chart.RESULTS / f"{chart.MACHINE}.json").read_text(encoding="utf-8"))
    page = " ".join(chart.PAGE.read_text(encoding="utf-8").split())

    def all_of(beginning, entry):
        found = [row[entry] for title, row in rows.items() if title.startswith(beginning) and entry in row]
        assert found, f"No row of {beginning} has {entry}."
        return found

    def said(words):
        assert words in page, f"The numbers allow: {words}"

    said("the latents agree to 1e-5.")
    assert max(all_of("sampling", "largest difference of the latents")) <= 1e-5
    luma, chroma = (
        [
            ours - core
            for ours, core in zip(
                all_of("saving", f"PSNR {part} dB ours"), all_of("saving", f"PSNR {part} dB core"), strict=True
            )
        ]
        for part in ("luma", "chroma")
    )
    said(f"luma by {min(luma):.1f} to {max(luma):.0f} dB, chroma by {min(chroma):.1f} to {max(chroma):.1f} dB.")
    grown = "MB above those of 9 frames"
    said("memory grows by less than a fifth of what the peer's grows by.")
    assert max(ours / core for ours, core in zip(all_of("decoding", grown), all_of("decoding", f"{grown}, core"),
                                                 strict=True)) < 1 / 5  # fmt: skip
    said("every answer comes within 100 ms.")
    assert all_of("hosted", "within 100 ms") == ["100.00%"]
    said("less than 0.5 % of a step.")
    assert max(all_of("preview", "share of a step")) < 0.005
    said("adds less than 0.05 s to the start of ComfyUI.")
    assert max(all_of("import", "seconds")) < 0.05
    said("ComfyUI's own loader applies five fully.")
    assert (all_of("LoRA", "core"), all_of("LoRA", "ours")) == ([5], [17])


def test_rows_that_begin_alike_share_a_file():
    row = {"time ratio": 0.5}
    files = chart.charts({"saving: a": row, "saving: b": row, "decoding: a": row, "of no group": row}, "here")
    assert set(files) == {"here/saving.svg", "here/decoding.svg", "here.svg"}
    assert {"a", "b"} <= set(texts(files["here/saving.svg"]))


def test_ratios_stand_on_one_scale_with_the_peer_at_1():
    svg = chart.draw({"": {"time ratio": 0.5, "peak memory ratio": 2.0}}, "")
    short, long = lengths(svg)
    assert long == pytest.approx(4 * short)
    marks = {path.get("d").split()[0] for path in ElementTree.fromstring(svg).iter(f"{SVG}path")}
    assert marks == {f"M{chart.LABEL + chart.BAR / 2:.1f}"}


def test_what_two_parties_took_is_drawn_to_scale_and_a_lone_number_is_not_drawn():
    assert lengths(chart.draw({"": {"seconds ours": 1.0, "seconds core": 4.0, "MB ours": 7.0, "ms": 3.0}}, "")) == [
        chart.BAR / 4,
        chart.BAR,
    ]


def test_shares_are_of_a_whole():
    assert lengths(chart.draw({"": {"share of a step": 0.25}}, "")) == [chart.BAR / 4]
    assert lengths(chart.draw({"share of 9 pictures": {"blurred": 0.5}}, "")) == [chart.BAR / 2]


def test_words_numbers_and_signs_of_markup_are_shown_as_they_are():
    shown = texts(chart.draw({"a < b & c": {"packages": "none <at> all", "tolerance": 1e-3}}, "here"))
    assert {"a < b & c", "none <at> all", "0.001", "here"} <= set(shown)


def test_a_bar_of_nothing_can_still_be_seen():
    assert lengths(chart.draw({"": {"time ratio": 0.0, "seconds ours": 0.0, "seconds core": 0.0}}, "")) == [1.0]


def test_a_curve_goes_through_the_numbers():
    wanted = chart.CURVES["density"]
    shares = {"cubes, density 0.1, dense steps 1": 0.2, "cubes, density 0.5, dense steps 1": 0.6, "dense": 1.0}
    times = {**dict.fromkeys(shares, 1.0), "cubes, density 0.1, dense steps 1": 2.0}
    svg = chart.draw_curves({wanted.across: shares, wanted.up: times}, wanted)
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in ElementTree.fromstring(svg).iter(f"{SVG}circle")]
    assert dots == [(chart.LEFT, chart.TOP), (chart.WIDTH - chart.RIGHT, chart.HEIGHT - chart.BOTTOM)]
    assert {"cubes", "0.2", "0.6", "1", "2", wanted.across, wanted.up} <= set(texts(svg))
    assert "dense" not in texts(svg)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.34, 0.66], [0.3, 0.4, 0.5, 0.6, 0.7]),
        ([1.0, 1.0], [1.0, 1.2]),
        ([-30, 900], [-200, 0, 200, 400, 600, 800, 1000]),
    ],
)
def test_marks_are_round_and_enclose_the_numbers(values, expected):
    assert chart.marks(values) == pytest.approx(expected)
