"""The help page of every node against its schema, its translation, and the warnings that the code gives."""

import ast
import json
import re
from pathlib import Path

import pytest
from pack.tests.comfy.test_contract import NODES
from panel_words import PANELS

pytestmark = pytest.mark.comfy

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "web" / "docs"
SECTIONS = {
    "en": ["Inputs", "Outputs", "Example", "What can go wrong"],
    "zh": ["输入", "输出", "示例", "可能出现的问题"],
}
LARGEST_PICTURE = 80_000  # bytes

each_page = pytest.mark.parametrize(("node_id", "language"), [(each, lang) for each in NODES for lang in SECTIONS])


def place(node_id, language):
    """Returns where ComfyUI's frontend looks: for its language first, and then for the page of all others."""
    return DOCS / (f"{node_id}.md" if language == "en" else f"{node_id}/{language}.md")


def read(node_id, language):
    return place(node_id, language).read_text(encoding="utf-8")


def sections(page):
    parts = re.split(r"^## (.+)\n", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def first_cells(section):
    return [row.split("|")[1].strip() for row in section.splitlines() if row.startswith("| ")][1:]


def names(section):
    return [name for cell in first_cells(section) for name in re.findall(r"`(\w+)`", cell)]


def translated(node_id, language):
    return json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))[node_id]


def sentences():
    """Returns the texts in the pack's code, and those of the panels alone, `#` for what a text takes in."""
    found = []
    for room in ("nodes", "samplers", "attention", "weights", "media", "hosted", "filters", "common"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "#" for part in node.values]
                    found.append(plain("".join(map(str, parts))))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(plain(node.value))
    found += [text for group in ("words", "bypassed") for text in PANELS[group].values()]
    return "\n".join(found)


def plain(text):
    """Writes `#` for all that differs from one warning to the next: numbers, and which expert it is."""
    return re.sub(r"# %", "#", re.sub(r"\d+(\.\d+)?|\b(high|low)(?=-noise)", "#", text))


SENTENCES = sentences()


SAID = [(group, text) for group in PANELS.keys() - {"words", "bypassed"} for text in PANELS[group].values()]


@pytest.mark.parametrize(("group", "text"), sorted(SAID))
def test_what_the_panels_translate_is_what_the_code_says(group, text):
    """Else the panels would show it in English again, once a sentence in the code is another."""
    for part in re.split(r"\{\w+\}", text):
        assert plain(part.strip(" ()'`%")).lower() in SENTENCES.lower()


def test_there_is_a_page_for_each_node_and_nothing_else():
    pages = {place(node_id, language) for node_id in NODES for language in SECTIONS}
    assert set(DOCS.rglob("*.md")) == pages


def test_every_picture_is_used_and_small():
    used = {
        picture
        for node_id in NODES
        for language in SECTIONS
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", read(node_id, language))
    }
    # Relative to docs/, also in docs/<node>/zh.md: the frontend resolves them so.
    assert {path.relative_to(DOCS).as_posix() for path in DOCS.glob("images/*")} == used
    assert [path.name for path in DOCS.glob("images/*") if path.stat().st_size > LARGEST_PICTURE] == []


@each_page
def test_a_page_has_its_title_a_picture_and_every_section(node_id, language):
    page = read(node_id, language)
    title = translated(node_id, language)["display_name"]
    assert page.splitlines()[0] == f"# {title}"
    assert len(re.findall(r"!\[", page)) == 1
    assert f"![{title}](" in page
    assert list(sections(page)) == SECTIONS[language]
    assert all(text.strip() for text in sections(page).values())


@each_page
def test_a_page_explains_every_input_and_output_and_no_other(node_id, language):
    schema = NODES[node_id].define_schema()
    parts = list(sections(read(node_id, language)).values())
    assert sorted(names(parts[0])) == sorted(entry.id for entry in schema.inputs)
    assert names(parts[1]) == [entry.display_name for entry in schema.outputs]


@pytest.mark.parametrize("node_id", NODES)
def test_a_chinese_page_uses_the_names_that_the_node_shows(node_id):
    parts = list(sections(read(node_id, "zh")).values())
    shown = translated(node_id, "zh")
    cells = " ".join(first_cells(parts[0]))
    for name, entry in shown["inputs"].items():
        assert name == "control_after_generate" or f"{entry['name']} `{name}`" in cells, name
    outputs = NODES[node_id].define_schema().outputs
    cells = " ".join(first_cells(parts[1]))
    for index, entry in shown["outputs"].items():
        assert f"{entry['name']} `{outputs[int(index)].display_name}`" in cells, entry


@pytest.mark.parametrize("node_id", NODES)
def test_a_page_names_every_option(node_id):
    for entry in NODES[node_id].define_schema().inputs:
        labels = translated(node_id, "zh")["inputs"][entry.id].get("options", {})
        for option, label in labels.items():
            assert f"`{option}`" in read(node_id, "en"), (entry.id, option)
            assert f"`{option}`" in read(node_id, "zh") or f"「{label}」" in read(node_id, "zh"), (entry.id, label)


@each_page
def test_warnings_on_a_page_are_those_of_the_code(node_id, language):
    trouble = sections(read(node_id, language))[SECTIONS[language][-1]]
    quotes = re.findall('"([^"]+)"' if language == "en" else "“([^”]+)”", trouble)
    assert quotes
    for quote in quotes:
        for part in filter(None, map(str.strip, quote.split("…"))):
            assert plain(part) in SENTENCES, quote


@pytest.mark.parametrize("node_id", NODES)
def test_both_pages_tell_of_the_same_warnings(node_id):
    english = re.findall('"([^"]+)"', sections(read(node_id, "en"))["What can go wrong"])
    chinese = re.findall("“([^”]+)”", sections(read(node_id, "zh"))["可能出现的问题"])
    assert english == chinese
