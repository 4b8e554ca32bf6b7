"""What the share check takes for words that somebody wrote, if it is asked for them, and what for options."""

import json

import pytest
from pack.tests.toy.private_things import ROOT, UUID, cleaned, kinds, node
from private import is_own_title
from share_check import findings


@pytest.mark.parametrize("name", ["positive", "negative", "text_g", "text_l", "wildcard_text", "caption", "prompt_2"])
def test_one_word_under_the_name_of_a_text_is_a_prompt(name):
    assert kinds({"1": {"class_type": "Other", "inputs": {name: "ada"}}}, prompts=True) == ["prompt"]
    assert kinds({"nodes": [node(["ada"], name)]}, prompts=True) == ["prompt"]


@pytest.mark.parametrize(
    "words", ["Ada waves", "ada,waves", "一只猫在花园里", '{"0": "Ada waves"}', "[Ada:Eve:0.5] waves"]
)
def test_words_under_any_name_are_a_prompt(words):
    for graph in ({"1": {"class_type": "Other", "inputs": {"x": words}}}, {"nodes": [node([words])]}):
        assert kinds(graph, prompts=True) == ["prompt"]
        assert "Ada" not in (text := json.dumps(cleaned(graph, True), ensure_ascii=False))
        assert "猫" not in text


def test_files_options_numbers_and_links_are_no_prompts():
    values = {
        "a": "wan 2.2.safetensors",
        "b": "cat 2.png [input]",
        "c": "lanczos",
        "d": "1.0 .93 | .5",
        "text": ["4", 0],
    }
    assert findings({"1": {"class_type": "Other", "inputs": values}}, prompts=True) == []
    option = node(["nearest exact"], "method")
    option["inputs"][1]["type"] = "COMBO"
    assert findings({"nodes": [option]}, prompts=True) == []


@pytest.mark.parametrize("as_text", [False, True], ids=["JSON", "a file's metadata"])
def test_what_the_graph_beside_a_prompt_has_in_a_list_is_no_prompt(as_text):
    chosen = node(["nearest exact", "nearest exact"], "method", "free")
    chosen["inputs"][1]["type"] = "COMBO"
    prompt = {"1": {"class_type": "Other", "inputs": {"method": "nearest exact"}}}
    graph, typed = {"nodes": [chosen]}, {"free": "nearest exact", "method": "by Ada's hand"}
    if as_text:
        graph = json.dumps(graph)
    assert kinds({"workflow": graph, "prompt": prompt}, prompts=True) == ["prompt"]  # that which is free in the graph
    assert kinds(prompt, prompts=True) == ["prompt"]  # without a graph an option may as well have been typed
    for name, text in typed.items():
        told = {"workflow": {"nodes": [chosen]}, "prompt": {"1": {"class_type": "Other", "inputs": {name: text}}}}
        assert findings(told, prompts=True)[-1].place == f"prompt.1.inputs.{name}"
    other = {"1": {"class_type": "Another", "inputs": {"method": "nearest exact"}}}
    assert kinds({"workflow": {"nodes": [chosen]}, "prompt": other}, prompts=True) == ["prompt", "prompt"]


def test_an_option_is_still_cleaned_of_paths():
    chosen = node(["/home/ada/two words.png"], "file")
    chosen["inputs"][1]["type"] = "COMBO"
    prompt = {"1": {"class_type": "Other", "inputs": {"file": "/home/ada/two words.png"}}}
    assert kinds({"workflow": {"nodes": [chosen]}, "prompt": prompt}, prompts=True) == ["path", "path"]


@pytest.mark.parametrize("values", [["Ada waves", "euler"], [3, "Ada waves", "euler", "more"]])
def test_where_a_graph_lists_some_of_its_widgets_only_no_words_pass_for_an_option(values):
    listed = node(values, "sampler_name")
    listed["inputs"][1]["type"] = "COMBO"
    assert kinds({"nodes": [listed]}, prompts=True) == ["prompt"]


def test_no_option_of_this_packs_nodes_is_a_prompt():
    schemas = json.loads((ROOT / "tests" / "data" / "schemas.json").read_text(encoding="utf-8"))
    inputs = [(name, given) for schema in schemas.values() for name, given in schema["inputs"].items()]
    options = [(name, option) for name, given in inputs for option in given.get("options", [])]
    assert len(options) > 50
    for name, option in options:
        assert findings({"1": {"class_type": "Other", "inputs": {name: option}}}, prompts=True) == []
        assert findings({"nodes": [node([option])]}, prompts=True) == []  # as in graphs that do not name their widgets


def test_the_titles_that_people_gave_are_prompts():
    graph = {
        "nodes": [{**node([]), "title": "Ada's birthday"}, {**node([], kind="VAEDecode"), "title": "VAE Decode"}],
        "groups": [{"title": "For Eve", "bounding": [0, 0, 1, 1]}, {"title": "Group", "bounding": [0, 0, 1, 1]}],
        "definitions": {"subgraphs": [{"id": UUID, "name": "Ada's", "nodes": [], "inputNode": {}}]},
    }
    prompt = {"1": {"class_type": "LoadImage", "inputs": {}, "_meta": {"title": "Ada at home"}}}
    assert kinds([graph, prompt]) == []
    assert kinds([graph, prompt], prompts=True) == ["prompt"] * 4
    assert [part["title"] for part in cleaned(graph, True)["nodes"]] == ["", "VAE Decode"]
    assert cleaned(prompt, True)["1"]["_meta"] == {"title": ""}


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("UNETLoader", "Load Diffusion Model"),
        ("CLIPTextEncode", "CLIP Text Encode (Prompt)"),
        ("KSamplerAdvanced", "KSampler (Advanced)"),
        ("EmptyHunyuanLatentVideo", "Empty HunyuanVideo 1.0 Latent"),
        ("Wan22Turbo_Resolution", "Fit to 720p"),
        ("MarkdownNote", "Markdown Note"),
        (UUID, "New Subgraph"),
    ],
)
def test_the_titles_that_comfyui_gives_are_not(kind, title):
    assert is_own_title(title, kind)
    assert findings({"1": {"class_type": kind, "inputs": {}, "_meta": {"title": title}}}, prompts=True) == []


def test_what_people_wrote_around_the_nodes_is_a_prompt():
    models = [{"name": "x.pt", "url": f"https://x.org/{'a/' * 50}x.pt", "directory": "diffusion_models"}]
    comfyuis = {
        "cnr_id": "comfy-core",
        "Node name for S&R": "Power Lora Loader (rgthree)",
        "secondTabText": "Send Back",
    }
    slots = [
        {"name": "image", "label": "Ada's picture", "type": "IMAGE", "link": 1},
        {"name": "lora_name", "label": "lora_name", "type": "COMBO", "link": 2},
    ]
    graph = {
        "nodes": [{**node([]), "properties": {**comfyuis, "models": models, "text": "ada"}, "outputs": slots}],
        "extra": {"info": {"author": "ada", "description": "For Eve", "version": "1", "software": "ComfyUI"}},
        "definitions": {"subgraphs": [{"id": UUID, "inputs": [{**slots[0], "id": UUID}], "nodes": []}]},
    }
    assert kinds(graph) == []
    assert kinds(graph, prompts=True) == ["prompt"] * 5
    shared = cleaned(graph, True)
    assert shared["nodes"][0]["properties"] == {**comfyuis, "models": models, "text": ""}
    assert [slot["label"] for slot in shared["nodes"][0]["outputs"]] == ["", "lora_name"]
    assert shared["extra"]["info"] == {"author": "", "description": "", "version": "1", "software": "ComfyUI"}
    assert findings(shared, prompts=True) == []
    note = {
        "id": 1,
        "type": "Note",
        "pos": [0, 0],
        "properties": {"text": "Read this"},
        "widgets_values": ["Read this"],
    }
    assert findings({"nodes": [note]}, prompts=True) == []  # written to be read by others
