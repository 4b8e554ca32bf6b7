"""Every word of the schemas in every language of `locales/`, in the shape that ComfyUI hands to its frontend."""

import json
import re
from pathlib import Path

import pytest
from pack.tests.comfy.test_contract import NODES

pytestmark = pytest.mark.comfy

LOCALES = Path(__file__).parents[2] / "locales"
LANGUAGES = ["en", "es", "fr", "ja", "ko", "pt-BR", "ru", "zh", "zh-TW"]  # ComfyUI has no German
NOT_OURS = {
    "high_noise",
    "low_noise",
    "text_encoder",
    "vae",
    "lora_high",
    "lora_low",
    "model",
}  # lists of files, offers

# Texts that may stay English: names of settings and formats that the field uses in every language ...
KEPT = {
    "cfg", "clip", "crf", "fps", "vae",
    "rcm", "lightning", "shifted", "ode", "sde", "h264", "h265", "av1", "cpu", "nvenc",
    "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2",
    "1080p", "720p", "480p", "240p", "16:9", "9:16", "1:1", "4:3", "3:4",
}  # fmt: skip
KEPT_IN = {  # ... and words that a language shares with English
    "es": {"audio", "plan", "prompt", "sigmas", "video"},
    "fr": {"audio", "codec", "expert", "image", "latent", "mode", "plan", "sigmas", "workflow"},
    "pt-BR": {"codec", "prompt", "sigmas"},
}

each_language = pytest.mark.parametrize("language", LANGUAGES)
each_translation = pytest.mark.parametrize("language", LANGUAGES[1:])


def read(language):
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def wording(schema):
    """Returns the texts of a schema as ComfyUI's own locale files hold them, and the options beside them."""
    inputs = {}
    for entry in schema.inputs:
        inputs[entry.id] = {"name": entry.id}
        if entry.tooltip:
            inputs[entry.id]["tooltip"] = entry.tooltip
        options = [each for each in getattr(entry, "options", None) or [] if isinstance(each, str)]
        if options and entry.id not in NOT_OURS:
            inputs[entry.id]["options"] = {option: option for option in options}
        if getattr(entry, "control_after_generate", None):
            inputs["control_after_generate"] = {"name": "control after generate"}
    outputs = {}
    for index, entry in enumerate(schema.outputs):
        outputs[str(index)] = {"name": entry.display_name}
        if entry.tooltip:
            outputs[str(index)]["tooltip"] = entry.tooltip
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": inputs,
        "outputs": outputs,
    }


def texts(tree, place=()):
    """Returns all texts of a locale file by their place in it."""
    if isinstance(tree, str):
        return {place: tree}
    found = {}
    for key, value in tree.items():
        found |= texts(value, (*place, key))
    return found


def numbers(text):
    return set(re.findall(r"\d+(?:\.\d+)?", text))


def test_there_is_a_file_for_each_language_and_nothing_else():
    files = sorted(path.relative_to(LOCALES).as_posix() for path in LOCALES.rglob("*") if path.is_file())
    assert files == sorted(f"{language}/nodeDefs.json" for language in LANGUAGES)


def test_english_is_what_the_schemas_say():
    assert read("en") == {node_id: wording(node.define_schema()) for node_id, node in NODES.items()}


@each_translation
def test_a_translation_has_every_text_and_no_other(language):
    assert texts(read(language)).keys() == texts(read("en")).keys()


@each_translation
def test_nothing_is_left_in_english(language):
    english = texts(read("en"))
    kept = KEPT | KEPT_IN.get(language, set())
    same = {place: text for place, text in texts(read(language)).items() if text == english[place] and text not in kept}
    assert same == {}


@each_translation
def test_a_translation_keeps_numbers_and_the_words_that_a_person_types_or_picks(language):
    english = texts(read("en"))
    words = r"\w+\.safetensors|-lora\b|\b(?:rcm|lightning|shifted|ode|sde|h264|nvenc|crf|cfg|high_noise)\b"
    typed = re.compile(words, re.ASCII)  # in Chinese and Korean, letters follow without a space
    for place, text in texts(read(language)).items():
        if place[-1] in ("tooltip", "description"):
            assert numbers(english[place]) <= numbers(text), (place, text)
            assert set(typed.findall(english[place])) <= set(typed.findall(text)), (place, text)


@each_translation
def test_a_tooltip_names_options_as_the_list_shows_them(language):
    english = read("en")
    for node_id, node in read(language).items():
        for name, entry in node["inputs"].items():
            said = english[node_id]["inputs"][name].get("tooltip", "")
            for option, label in entry.get("options", {}).items():
                if label != option and re.search(rf"\b{option}\b(:| keeps)", said):
                    assert label in entry["tooltip"], (node_id, name, option)
                    assert option in entry["tooltip"], (node_id, name, option)


@each_language
def test_texts_hold_none_of_the_signs_that_the_frontend_gives_a_meaning_to(language):
    assert {place: text for place, text in texts(read(language)).items() if re.search(r"[{}@|$]|^\s|\s$", text)} == {}


@each_language
def test_a_text_is_not_longer_than_its_place(language):
    for place, text in texts(read(language)).items():
        most = {"name": 40, "display_name": 45, "tooltip": 170, "description": 130}.get(place[-1], 25)
        assert len(text) <= most, (place, text)


@each_language
def test_files_are_sorted_and_indented(language):
    path = LOCALES / language / "nodeDefs.json"
    tidy = json.dumps(read(language), ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    assert path.read_text(encoding="utf-8") == tidy
