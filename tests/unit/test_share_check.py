"""What the share check takes for private in a graph or a prompt, and what not."""

import pytest
from pack.common import redact as masking
from pack.tests.toy.private_things import GRAPH, HEX, NAMED, PROMPT, ROOT, UUID, cleaned, kinds, node
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
        "sk_0123456789abcdef0123456789abcdef",
        "sk_proj_abcdefgh0123456789",
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
        ["sk_wan22_high_noise_turbo_v2", "sk_0123456789abcdef01.safetensors", "task_0123456789abcdef01"],
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
    assert "s3cret" not in masking.without_tokens(address) + clean(address, False, lambda _: None)
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
        "https://x.org/Users/ada and //cdn.x.org/a/home/b.png",
        "walk/run/jump, app/export or 1/2/home/3",
        "a // b, 16//9",
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
        ("/run/media/ada/disk/a.png", "a.png"),
        ("at /run/media/ada", "at ***"),
        ("/private/var/folders/xy/a.png", "a.png"),
        ("in /nfs/home/ada", "in ***"),
        ("in /export/home/ada/a.png", "in a.png"),
        ("/srv.2/u-1/home/ada", "***"),
        ("/System/Volumes/Data/Users/ada", "***"),
        ("in /System/Volumes/Data/Users/Ada Lovelace, as ever", "in ***, as ever"),
        ("see \\\\wsl$\\Ubuntu\\home\\ada\\a.png", "see a.png"),
        ("\\\\wsl$\\Ubuntu\\home\\ada", "***"),
        ("see //nas/ada/a.png", "see a.png"),
        ("//nas/ada", "ada"),  # a share's name stays, as that of a folder does
        ("//192.168.1.9/films/a.png", "a.png"),
        ("/app/output/a.png", "a.png"),
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
        "smb://nas/", "nfs://10.0.0.7/", "/sdcard/DCIM/",
    ],
)  # fmt: skip
def test_folders_that_machines_keep_their_files_in_are_private(folder):
    assert cleaned(node([f"see {folder}ada/a.png"])) == node(["see a.png"])


def test_what_comfyui_notes_of_a_nodes_inputs_is_checked_and_not_copied():
    noted = {"1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}, "is_changed": [HEX * 2]}}
    assert findings(noted, prompts=True) == []  # the picture's hash
    noted["2"] = {"class_type": "Lora", "inputs": {"x": "a.pt"}, "is_changed": [[["/home/ada/a.pt", 1.0, 2]]]}
    assert kinds(noted) == ["path"]
    assert {entry for one in cleaned(noted).values() for entry in one} == {"class_type", "inputs"}
    assert cleaned({"is_changed": "Ada waves"}) == {"is_changed": "Ada waves"}  # only where ComfyUI writes it


def test_words_that_stand_in_comfyuis_note_alone_are_told_of():
    noted = {"1": {"class_type": "Lora", "inputs": {"x": "a.pt"}, "is_changed": ["Ada waves"]}}
    assert kinds(noted) == []
    assert kinds(noted, prompts=True) == ["prompt"]


@pytest.mark.parametrize(
    ("written", "shared"),
    [
        ({"/home/ada/x.safetensors": 1}, {"x.safetensors": 1}),
        ({"hf_0123456789abcdef": 1}, {"***": 1}),
        (node(['{"/home/ada/x.pt": 1}'], "loras"), node(['{"x.pt": 1}'], "loras")),
        (node({"/home/ada/x.pt": 1}), node({"x.pt": 1})),
        (
            {"1": {"class_type": "A", "inputs": {"/home/ada/x.pt": "y"}, "_meta": {}}},
            {"1": {"class_type": "A", "inputs": {"x.pt": "y"}, "_meta": {}}},
        ),
        (
            {"1": {"class_type": "A", "inputs": {}, "_meta": {"/home/ada/x": "A"}}},
            {"1": {"class_type": "A", "inputs": {}, "_meta": {"x": "A"}}},
        ),
    ],
)
def test_the_names_of_entries_are_cleaned_too(written, shared):
    assert cleaned(written) == shared
    assert len(found := findings(written)) == 1
    assert "hf_0123456789abcdef" not in str(found)
    assert findings(shared) == []


def test_entries_whose_names_become_the_same_are_all_kept():
    written = {"x.pt": 0, "/home/ada/x.pt": 1, "D:/x.pt": 2, HEX: 3}
    assert cleaned(written) == {"x.pt": 0, "x.pt 2": 1, "x.pt 3": 2, HEX: 3}
    assert list(cleaned({"/home/ada/x.pt": 1, "x.pt": 2}).values()) == [1, 2]


@pytest.mark.parametrize(
    "folder",
    [
        "workflows",
        "workflows/api",
        "subgraphs",
        "tests/data/graphs/0.1.0",
        "tests/data/graphs/0.1.0/api",
        "tests/data/graphs/0.1.0-alpha",
    ],
)
def test_what_is_shipped_tells_nothing_private(folder):
    files = list((ROOT / folder).glob("*.json"))
    assert files
    assert {path.name: found for path in files if (found := check(path, False, None))} == {}
