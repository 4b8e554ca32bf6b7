"""What the share check takes for private in a graph or a prompt, and what not."""

import json

import pytest
from pack.hosted import masking
from pack.tests.toy.private_things import GRAPH, HEX, NAMED, PROMPT, ROOT, UUID, cleaned, kinds, node
from private import is_own_title
from share_check import check, clean, findings


@pytest.mark.parametrize(
    ("written", "shared"),
    [
        (node(["plain", "cat.png"], "api_key", "file"), ["***", "cat.png"]),
        (node([5, "randomize", "plain"], "seed", "authToken"), [5, "randomize", "***"]),
        (node(["fixed", "plain"], "mode", "password"), ["fixed", "***"]),
        (node(["cat.png", "image", "plain"], "image", "upload", "api_key"), ["cat.png", "image", "***"]),
        (node(["plain", "fixed"], "api_key", slots="outputs"), ["***", "fixed"]),  # a primitive
        (node({"api_key": "plain", "mode": "auto"}, "api_key", "mode"), {"api_key": "***", "mode": "auto"}),
        (
            node(["a.safetensors", 3, "claude-4-20260101", "abcd0123efgh4567"], "lora", "api_key"),
            ["a.safetensors", 3, "claude-4-20260101", "***"],
        ),  # some named
        (node(["auto", HEX, "16:9"]), ["auto", "***", "16:9"]),  # none named
    ],
)
def test_a_key_in_a_widget_is_known_by_the_widgets_name(written, shared):
    assert cleaned(written)["widgets_values"] == shared
    assert kinds(written) == ["key"]
    assert kinds(cleaned(written)) == []


@pytest.mark.parametrize(
    "key",
    [
        HEX,
        HEX * 2,
        f"{UUID}:{HEX}",
        "hf_0123456789abcdef",
        "sk-proj-0123456789abcdef",
        "github_pat_11ABCDEFG0abcdefghij",
        "ghp_0123456789abcdef",
        "gho_0123456789abcdef",
        "ghs_0123456789abcdef",
        "AIzaSyA0123456789abcdefghijklmnopqrstu",
        "r8_0123456789abcdefghij",
        "xoxb-1234567890-abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmVk-_",
        "AKIAIOSFODNN7EXAMPLE",
        "Bearer abcdefgh12345678==",
    ],
)
def test_a_key_is_known_by_its_looks(key):
    assert cleaned(node([key])) == node(["***"])
    assert cleaned(f"see {key} there") == "see *** there"


@pytest.mark.parametrize(
    ("written", "shared"),
    [
        ("api_key: x", "api_key: ***"),
        ("password=x, then", "password=***, then"),
        ("MY_API_KEY='x'", "MY_API_KEY='***'"),
        ("accessToken: x", "accessToken: ***"),
        ("Authorization: Basic dXNl", "Authorization: ***"),
        ("API key: abcd1234", "API key: ***"),
        ("https://x.org/a.safetensors#token=x", "https://x.org/a.safetensors#token=***"),
        ("https://ada:pa=ss@x.org/", "https://***@x.org/"),
        ({"authToken": "x"}, {"authToken": "***"}),
        ({"accessToken": "x"}, {"accessToken": "***"}),
        ({"X-API-Key": "x"}, {"X-API-Key": "***"}),
        ({"name": "api_key", "value": "x"}, {"name": "api_key", "value": "***"}),
        ({"key": "Authorization", "value": "x"}, {"key": "Authorization", "value": "***"}),
        ({"api_key": "[x"}, {"api_key": "***"}),
    ],
)
def test_a_key_is_known_by_what_it_is_called(written, shared):
    assert cleaned(written) == shared
    assert kinds(written) == ["key"]
    assert kinds(shared) == []


@pytest.mark.parametrize(
    "public",
    [
        {"sha256": HEX, "model_hash": HEX, "hashes": {"model": HEX}, "models": {"a b.safetensors": HEX}},
        {"properties": {"cnr_id": "a-pack", "ver": HEX + "01234567"}, "id": UUID, "type": UUID},
        {"extra": {"node_versions": {"a-pack": HEX + "01234567"}}},
        {"api_key": ["4", 0], "token_normalization": "mean", "max_tokens": "512"},
        f"https://huggingface.co/a/b/resolve/{HEX}/c.safetensors",
        f"pasted/{HEX}.png",
        ["hf_wan22_high.safetensors", "r8_wan22turbo_v2.gguf", "hf_transfer/wan22"],
        f"sha256: {HEX}",
        "API key: set it in the settings. Secret: the garden, token: a trigger word.",
    ],
)
def test_hashes_ids_links_and_prose_are_no_keys(public):
    assert findings(public) == []


def test_paths_and_keys_are_found_and_prompts_on_request():
    assert kinds(GRAPH) == ["key", "key", "key", "path", "path", "path"]
    assert kinds(GRAPH, prompts=True).count("prompt") == 2  # any text of several words
    assert kinds(PROMPT) == []
    assert kinds(PROMPT, prompts=True) == ["prompt", "prompt"]


def test_a_finding_does_not_repeat_the_key():
    told = "\n".join(map(str, findings(GRAPH)))
    assert "hf_0123456789abcdef" not in told
    assert "s3cret" not in told
    assert "path at nodes[0].widgets_values[0]: /home/ada/pictures/cat.png" in told


@pytest.mark.parametrize("mark", "?&#")
@pytest.mark.parametrize("name", NAMED)
def test_what_hosted_nodes_hide_in_an_address_is_found_here_too(name, mark):
    address = f"https://x.org/a.safetensors?type=M{mark}{name}=s3cret"
    assert masking.without_tokens(address) == clean(address, False, lambda _: None)
    assert kinds(address) == ["key"]


@pytest.mark.parametrize(
    "harmless",
    [
        "video/wan22-turbo",
        "https://huggingface.co/a/b/resolve/main/home/c.safetensors",
        "wan\\wan2.2_high.safetensors",
        "1.0000 .9375 | .8333 .6250",
        "either/or, 16:9, A: yes",
        "https://x.org/a.safetensors?token=***",
        "{not json",
        "a torch bearer standing by the door",
        "hf_transfer, with 50/50 light and/or rain",
    ],
)
def test_what_everybody_may_read_is_left_alone(harmless):
    assert findings({"widgets_values": [harmless]}) == []


@pytest.mark.parametrize(
    ("written", "shared"),
    [
        ("C:\\Users\\Ada Lovelace\\我的 模型\\cat 2.safetensors", "cat 2.safetensors"),
        ("/home/ada/Wan 2.2/", "Wan 2.2"),
        ("\\\\nas\\films\\a.mp4", "a.mp4"),
        ("see ~/notes/a.txt and D:/b.png", "see a.txt and b.png"),
        ("see C:\\Users\\Ada Lovelace\\models\\x", "see x"),
        ("see C:\\Users\\Ada Lovelace\\models\\x, please", "see x, please"),
        ("in /Users/Ada Lovelace/My Films/a.mp4 or films/b", "in a.mp4 or films/b"),
        ("/mnt/c/Users/Ada", "***"),
        ("from /home/ada", "from ***"),  # of a home folder, the name is the person's
        ("from C:\\Users\\Ada Lovelace, as ever", "from ***, as ever"),
        ("on /Volumes/Ada's disk/a.png", "on a.png"),
        ("'/tmp/x/a.png' and '/tmp/x/b.png'", "'a.png' and 'b.png'"),
        ("PATH=/usr:/home/ada/bin", "PATH=/usr:bin"),
        ("https://ada:pass@x.org/a?api_key=k1&type=M", "https://***@x.org/a?api_key=***&type=M"),
    ],
)
def test_of_a_path_the_name_is_left_and_of_an_address_the_address(written, shared):
    assert clean(written, False, lambda _: None) == shared


@pytest.mark.parametrize(
    "folder",
    [
        "/Volumes/", "/content/", "/kaggle/", "/storage/", "/srv/", "/notebooks/", "/runpod-volume/", "$HOME/",
        "${HOME}/", "%USERPROFILE%\\", "file:/home/", "file:///C:/", "~\\",
    ],
)  # fmt: skip
def test_folders_that_machines_keep_their_files_in_are_private(folder):
    assert cleaned(node([f"see {folder}ada/a.png"])) == node(["see a.png"])


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


@pytest.mark.parametrize(
    "folder", ["workflows", "workflows/api", "subgraphs", "tests/data/graphs/0.1.0", "tests/data/graphs/0.1.0/api"]
)
def test_what_is_shipped_tells_nothing_private(folder):
    files = list((ROOT / folder).glob("*.json"))
    assert files
    assert {path.name: found for path in files if (found := check(path, False, None))} == {}
