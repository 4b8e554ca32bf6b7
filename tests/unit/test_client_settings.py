"""Readable names, the values they take, and the JSON Schemas of the shipped prompts."""

import json

import pytest
from jsonschema import Draft202012Validator
from pack.client import job, prompts, schema, settings, values
from pack.client.errors import RefusedError, UsageError

SHIPPED = prompts.names()
INFO = {
    "LoadImage": {"input": {"required": {"image": [["example.png", "cat.png"], {"image_upload": True}]}}},
    "Sample": {
        "input": {
            "required": {
                "seed": ["INT", {"min": 0, "max": 2**64 - 1}],
                "cfg": ["FLOAT", {"min": 0.0, "max": 100.0, "tooltip": "Guidance."}],
                "mode": ["COMBO", {"options": ["ode", "sde"]}],
            },
            "optional": {"fast": ["BOOLEAN", {}], "model": [["a.safetensors", "none"], {}]},
        }
    },
}


def node(class_type, title="", **inputs):
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title} if title else {}}


def sampler(title, **inputs):
    return node("Sample", title, seed=0, cfg=1, mode="ode", **inputs)


def odd_settings():
    """Settings of a node whose inputs have names as some packs write them."""
    inputs = {"my-input": 1, "Image Folder": 2, "Steps": 3, "steps": 4}
    declared = {name: ["INT", {}] for name in inputs}
    return settings.settings_of({"3": node("Odd", "Odd", **inputs)}, {"Odd": {"input": {"required": declared}}})


def settings_of(**nodes):
    return settings.settings_of({number.strip("n"): made for number, made in nodes.items()}, INFO)


def names(**nodes):
    return [setting.name for setting in settings_of(**nodes)]


def test_an_input_goes_by_its_own_name_and_a_nameless_one_by_its_nodes_title():
    assert names(n1=node("LoadImage", "Your picture", image="example.png"), n2=sampler("Sampler")) == [
        "picture", "seed", "cfg", "mode",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Your picture", "picture"),
        ("Last frame (optional)", "last_frame_optional"),
        ("开始图片", "开始图片"),
        ("The", "the"),
        ("", "loadimage"),
    ],
)
def test_a_title_becomes_a_name(title, name):
    assert names(n1=node("LoadImage", title, image="example.png")) == [name]


def test_names_that_clash_say_which_node_and_if_need_be_its_id():
    made = names(
        n1=sampler("First clip"), n2=sampler("Second clip"),
        n3=node("LoadImage", "Load", image="example.png"), n4=node("LoadImage", "Load", image="example.png"),
    )  # fmt: skip
    assert made[:3] == ["first_clip.seed", "first_clip.cfg", "first_clip.mode"]
    assert made[6:] == ["load_3.image", "load_4.image"]
    assert len(set(made)) == len(made)


def test_links_and_inputs_that_the_node_does_not_have_are_not_settable():
    assert names(n1=sampler("Sampler", model=["3", 0], upload="image")) == ["seed", "cfg", "mode"]


def test_a_node_that_the_server_lacks_is_named():
    with pytest.raises(RefusedError, match=r"^Magic: the server has no node of the class 'Unknown'\. Install the pack"):
        settings_of(n1=node("Unknown", "Magic"))


@pytest.mark.parametrize("form", ["seed", "SEED", "sampler.seed", "7.seed", "sampler_7.seed"])
def test_every_form_of_a_name_finds_the_input(form):
    assert settings.find(settings_of(n7=sampler("Sampler")), form).input == "seed"


@pytest.mark.parametrize(
    ("name", "input_name"),
    [
        ("my-input", "my-input"),
        ("my_input", "my-input"),
        ("Image Folder", "Image Folder"),
        ("image-folder", "Image Folder"),
        ("odd.Image Folder", "Image Folder"),
        ("3.image_folder", "Image Folder"),
        ("Steps", "Steps"),
        ("steps", "steps"),
        ("odd.steps", "steps"),
    ],
)
def test_names_as_other_packs_write_them_are_found(name, input_name):
    assert settings.find(odd_settings(), name).input == input_name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("STEPS", "'STEPS' may mean several inputs. Say which: Steps, steps."),
        ("my-imput", "The prompt has no input called 'my-imput'. Did you mean my-input?"),
    ],
)
def test_what_comes_close_to_names_of_other_packs_is_told_as_they_are(name, sentence):
    with pytest.raises(UsageError) as error:
        settings.find(odd_settings(), name)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("sede", "The prompt has no input called 'sede'. Did you mean seed?"),
        ("zzz", "The prompt has no input called 'zzz'. It has: picture, seed, cfg, mode."),
    ],
)
def test_an_unknown_name_is_answered_with_those_that_come_close(name, sentence):
    known = settings_of(n1=node("LoadImage", "Your picture", image="example.png"), n2=sampler("Sampler"))
    with pytest.raises(UsageError) as error:
        settings.find(known, name)
    assert str(error.value) == sentence


def test_a_name_that_several_inputs_share_is_answered_with_all_of_them():
    with pytest.raises(UsageError, match=r"'seed' may mean several inputs\. Say which: first\.seed, second\.seed\."):
        settings.find(settings_of(n1=sampler("First"), n2=sampler("Second")), "seed")


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("seed", "18446744073709551615", 2**64 - 1),
        ("seed", 7, 7),
        ("cfg", "3.5", 3.5),
        ("cfg", 3, 3.0),
        ("fast", "yes", True),
        ("fast", "0", False),
        ("mode", "sde", "sde"),
        ("model", "folder/b.safetensors", "folder/b.safetensors"),  # the server knows its files better
    ],
)
def test_text_and_json_become_values(name, given, value):
    known = settings_of(n1=sampler("Sampler", fast=True, model="a.safetensors"))
    read = values.read(settings.find(known, name), given)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("seed", "1.5", "seed must be a whole number from 0 to 18446744073709551615, got '1.5'."),
        ("seed", True, "seed must be a whole number from 0 to 18446744073709551615, got 'True'."),
        ("seed", -1, "seed must be a whole number from 0 to 18446744073709551615, got '-1'."),
        ("cfg", "nan", "cfg must be a number from 0 to 100, got 'nan'."),
        ("cfg", "101", "cfg must be a number from 0 to 100, got '101'."),
        ("cfg", [1], "cfg must be a number from 0 to 100, got '[1]'."),
        ("mode", "sd", "mode must be one of ode, sde, got 'sd'. Did you mean sde?"),
        ("fast", "maybe", "fast must be true or false, got 'maybe'."),
        (
            "model",
            "/home/me/a.safetensors",
            "model must be the name of a file in the server's own folders, got a path.",
        ),
        ("model", "C:\\me\\a.safetensors", "model must be the name of a file in the server's own folders, got a path."),
    ],
)
def test_what_does_not_fit_is_answered_with_what_would(name, given, sentence):
    known = settings_of(n1=sampler("Sampler", fast=True, model="a.safetensors"))
    with pytest.raises(UsageError) as error:
        values.read(settings.find(known, name), given)
    assert str(error.value) == sentence


def test_setting_values_leaves_the_given_prompt_alone():
    prompt = {"1": sampler("Sampler")}
    known = settings.settings_of(prompt, INFO)
    changed = settings.apply(prompt, [(settings.find(known, "seed"), 5)])
    assert (changed["1"]["inputs"]["seed"], prompt["1"]["inputs"]["seed"]) == (5, 0)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"nodes": [], "links": []}', "graph as the editor saves it. Open it in ComfyUI and take Workflow > Export"),
        ('{"1": {"class_type": "A"}}', "must hold nodes with class_type and inputs, and nothing else"),
        ('{"1": {"class_type": "A", "inputs": {}}, "_comment": "x"}', "must hold nodes with class_type and inputs"),
        ('{"1": {"class_type": "A", "inputs": null}}', "must hold nodes with class_type and inputs"),
        ('{"1": {"class_type": null, "inputs": {}}}', "must hold nodes with class_type and inputs"),
        ("{}", "must hold nodes"),
        ("[1]", "must hold nodes"),
        ("{", "A prompt must be a JSON file that can be read"),
    ],
)
def test_a_file_that_comfyui_would_choke_on_is_refused_here(tmp_path, content, sentence):
    (tmp_path / "p.json").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=sentence):
        prompts.load(str(tmp_path / "p.json"))


@pytest.mark.parametrize("meta", [None, [], {"title": None}, {"title": 5}])
def test_a_node_without_a_title_goes_by_its_class(meta):
    assert prompts.title({"1": {"class_type": "A", "inputs": {}, "_meta": meta}}, "1") == "A"


@pytest.mark.parametrize("name", ["~nobody-of-that-name/x.png", "x" * 300 + ".png", "x/" * 5000 + "x.png"])
def test_a_picture_that_cannot_be_looked_at_is_neither_yours_nor_the_servers(name):
    (setting,) = settings_of(n1=node("LoadImage", "Your picture", image="example.png"))
    with pytest.raises(UsageError, match=r"^picture must be a file of yours, or one in the server's input folder; "):
        job.local_file(setting, name)


def test_an_unknown_prompt_is_answered_with_those_there_are():
    with pytest.raises(UsageError, match=r"No prompt is called 'wan22_turbo_i2w'\. There is: wan22_turbo_i2v"):
        prompts.load("wan22_turbo_i2w")


def test_settings_survive_their_schema():
    known = settings_of(n1=sampler("Sampler", fast=True), n2=node("LoadImage", "Your picture", image="example.png"))
    read = schema.settings_in(json.loads(json.dumps(schema.schema_of("x", known))))
    assert [schema.property_of(setting) for setting in read] == [schema.property_of(setting) for setting in known]
    assert [setting.name for setting in read] == [setting.name for setting in known]


@pytest.mark.parametrize("name", SHIPPED)
class TestShippedSchema:
    """What each checked-in schema takes and refuses. tests/server holds it equal to what a server says."""

    def test_takes_the_defaults(self, name):
        shipped = schema.load(name)
        Draft202012Validator.check_schema(shipped)
        defaults = {key: known["default"] for key, known in shipped["properties"].items()}
        assert defaults
        Draft202012Validator(shipped).validate(defaults)
        Draft202012Validator(shipped).validate({})

    def test_the_defaults_are_the_prompts(self, name):
        prompt = prompts.load(name)
        for setting in schema.settings_in(schema.load(name)):
            assert prompt[setting.node_id]["inputs"][setting.input] == setting.default

    def test_every_value_in_the_prompt_is_settable(self, name):
        settable = {(setting.node_id, setting.input) for setting in schema.settings_in(schema.load(name))}
        written = {
            (node_id, key)
            for node_id, made in prompts.load(name).items()
            for key, value in made["inputs"].items()
            if not prompts.is_link(value)
        }
        assert settable == written

    def test_refuses_what_is_out_of_range_and_what_it_does_not_know(self, name):
        shipped = schema.load(name)
        bad = {"no_such_input": 1}
        for key, known in shipped["properties"].items():
            if "maximum" in known:
                bad[key] = known["maximum"] + 1
            elif "enum" in known:
                bad[key] = "no such choice"
            elif known["type"] == "string":
                bad[key] = 5
        assert len(bad) > 5
        for key, value in bad.items():
            assert list(Draft202012Validator(shipped).iter_errors({key: value})), key

    def test_agrees_with_the_client_about_every_value(self, name):
        shipped = schema.load(name)
        for setting in schema.settings_in(shipped):
            assert values.read(setting, setting.default) == setting.default
            if setting.maximum is not None:
                with pytest.raises(UsageError):
                    values.read(setting, setting.maximum + 1)
