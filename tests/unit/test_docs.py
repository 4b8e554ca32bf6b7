"""README and docs: short, whole, said once, and true of the code where code can tell."""

import json
import re
from collections import Counter
from pathlib import Path

import bootstrap
import pytest
import torch
from pack.client import errors
from pack.tests.toy.lora_formats import FORMATS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
LINKING = [*PAGES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
LONGEST = 180  # lines of the README
MAP = ROOT / "CONTRIBUTING.md"
MAPPED = (
    "nodes", "samplers", "attention", "weights", "weights/formats", "weights/wan", "weights/loras", "hosted", "media",
    "filters", "common", "client", "client/batch", "client/report", "tools", "tiny", "bench", "web",
)  # fmt: skip
DECISIONS = ROOT / "docs" / "decisions"
WORDS = 8  # of a sentence that would be missed if it stood in one place alone
LINK = re.compile(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")


def read(path):
    return path.read_text(encoding="utf-8")


def prose(path):
    """Returns a page without its blocks of code, whose # is no heading and whose brackets are no link."""
    return re.sub(r"^```.*?^```$", "", read(path), flags=re.DOTALL | re.MULTILINE)


def written(path):
    """Returns a page without what programs write into it, either."""
    return re.sub(r"<!-- (?!end).*?<!-- end.*? -->", "", prose(path), flags=re.DOTALL)


def anchors(path):
    """Returns what GitHub calls the headings of a page in addresses."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short():
    assert len(read(README).splitlines()) <= LONGEST


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    links = [link or image for link, image in LINK.findall(prose(page))]
    for link in links:
        place, _, anchor = link.partition("#")
        if "://" in place:
            continue
        target = page.parent / place if place else page
        assert target.exists(), f"{page.name} leads to {link}, which is not there."
        assert not anchor or anchor in anchors(target), f"{page.name} leads to {link}, and there is no such heading."


def test_the_links_of_pages_are_seen_at_all():
    assert {"docs/hosted.md", "docs/images/graph.jpg"} <= {link for link, _ in LINK.findall(prose(README))}
    assert "the-faults" in anchors(ROOT / "docs" / "hosted.md")


def test_the_readme_leads_to_every_page():
    linked = {link.partition("#")[0] for link, _ in LINK.findall(prose(README))}
    assert {page.relative_to(ROOT).as_posix() for page in PAGES} - {"README.md"} <= linked


def test_nothing_is_said_twice():
    text = "\n\n".join(written(page) for page in [*PAGES, ROOT / "CONTRIBUTING.md"])
    found = re.split(r"(?<=[.:!?])\s+|\n\n+|\n(?=[|*-])|\s\|", text)
    sentences = (" ".join(re.findall(r"\w+", sentence.lower())) for sentence in found)
    counted = Counter(sentence for sentence in sentences if len(sentence.split()) >= WORDS)
    assert len(counted) > 150
    assert [sentence for sentence, times in counted.items() if times > 1] == []


@pytest.mark.parametrize("folder", MAPPED)
def test_the_map_names_every_file_of_a_folder_and_no_other(folder):
    (row,) = re.findall(rf"^\| `{folder}/` \| (.+) \| .* \|$", read(MAP), re.MULTILINE)
    named = re.findall(r"`(\w+\.(?:py|js))`", row)
    there = [path.name for suffix in ("py", "js") for path in (ROOT / folder).glob(f"*.{suffix}")]
    assert sorted(named) == sorted(name for name in there if not name.startswith("__"))


def test_places_that_the_documents_name_are_there():
    named = {place for page in (MAP, README) for place in re.findall(r"`([\w.]+/[\w/.]*\w)`", read(page))}
    named = {place for place in named if not re.search(r"^output/|[A-Z]{4}", place)}  # of a run, or `NAME.json`
    assert len(named) > 30
    assert [place for place in sorted(named) if not (ROOT / place).exists()] == []


def test_decisions_are_numbered_and_listed():
    titles = {path: read(path).splitlines()[0] for path in sorted(DECISIONS.glob("[0-9]*.md"))}
    assert [path.name[:5] for path in titles] == [f"{number:04}-" for number in range(1, len(titles) + 1)]
    assert all(title.startswith(f"# {int(path.name[:4])}. ") for path, title in titles.items())
    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", read(DECISIONS / "README.md"), re.MULTILINE)
    assert listed == [(title.removeprefix("# "), path.name) for path, title in titles.items()]


def test_the_spellings_of_loras_are_those_that_are_tested():
    page = read(ROOT / "docs" / "nodes.md")
    rows = re.findall(r"^\| (.+?) \| `(.+)` \|$", page, re.MULTILINE)
    made = {name: make(torch.Generator().manual_seed(0), torch.float32) for name, make in FORMATS.items()}
    assert rows == [(name, next(iter(file.tensors))) for name, file in made.items()]


def test_the_versions_of_comfyui_are_those_of_the_set_up():
    (row,) = re.findall(r"^\| `COMFYUI` \| (.+) \|$", read(ROOT / "docs" / "setup.md"), re.MULTILINE)
    assert re.findall(r"\d+\.\d+\.\d+", row) == list(bootstrap.RELEASES)
    assert f"{bootstrap.NEWEST} (default)" in row


def test_the_exit_codes_are_those_of_the_client():
    told = re.findall(r"^\| (\d+) \| .+ \|$", read(ROOT / "docs" / "api.md"), re.MULTILINE)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ClientError)]
    assert [int(code) for code in told] == sorted({0, *(kind.exit_code for kind in kinds)})


def test_what_a_note_says_of_another_graph_is_so():
    """As in "With rCM files choose **rcm**, as in wan22_turbo_i2v": that graph has the nodes and values."""
    names = json.loads(read(ROOT / "locales" / "en" / "nodeDefs.json"))
    types = {told["display_name"]: kind for kind, told in names.items()} | {"VAE Decode": "VAEDecode"}
    graphs = {path.stem: json.loads(read(path))["nodes"] for path in (ROOT / "workflows").glob("*.json")}
    seen = []
    for name, nodes in graphs.items():
        for note in (node["widgets_values"][0] for node in nodes if node["type"] == "MarkdownNote"):
            assert set(re.findall(r"wan22_\w+", note)) <= set(graphs), name
            sentences = "\n".join(re.split(r"(?<=\.)\s", note))
            for sentence, other in re.findall(r"(.*\bas (?:in )?(wan22_\w+))", sentences):
                there = {node["type"] for node in graphs[other]}
                values = {str(value) for node in graphs[other] for value in node.get("widgets_values", [])}
                nodes_named = {kind for title, kind in types.items() if title in sentence}
                values_named = set(re.findall(r"\*\*(\w+)\*\*", sentence))
                assert nodes_named <= there, (name, sentence)
                assert values_named <= values, (name, sentence)
                seen += [*nodes_named, *values_named]
    assert {"rcm", "shifted"} <= set(seen)
