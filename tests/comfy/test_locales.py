"""Every word of the schemas and the panels in every language of `locales/`, as ComfyUI hands it to its frontend."""

import json
import re

import pytest
import translations
from pack.tests.comfy.test_contract import NODES
from translations import LOCALES, read, seeded, texts, untranslated

pytestmark = pytest.mark.comfy

LANGUAGES = ["en", "es", "fr", "ja", "ko", "pt-BR", "ru", "zh", "zh-TW"]  # ComfyUI has no German
ENGLISH = translations.english(NODES)

each_language = pytest.mark.parametrize("language", LANGUAGES)
each_file = pytest.mark.parametrize("file", ENGLISH)
each_translation = pytest.mark.parametrize("language", LANGUAGES[1:])


def in_both(language, file="nodeDefs.json"):
    """Returns the texts that are translated, by their place, with the English and the translation."""
    english, left = texts(read("en", file)), untranslated(language, file)
    return {place: (english[place], text) for place, text in texts(read(language, file)).items() if place not in left}


def numbers(text):
    return set(re.findall(r"\d+(?:\.\d+)?", text))


def test_there_is_a_file_for_each_language_and_nothing_else():
    files = sorted(path.relative_to(LOCALES).as_posix() for path in LOCALES.rglob("*") if path.is_file())
    assert files == sorted(f"{language}/{file}" for language in LANGUAGES for file in ENGLISH)


@each_file
def test_english_is_what_the_schemas_and_the_panels_say(file):
    assert read("en", file) == ENGLISH[file], "Run `make schemas` and commit locales."


@each_file
@each_translation
def test_a_translation_has_every_text_and_no_other(language, file):
    assert texts(read(language, file)).keys() == texts(read("en", file)).keys(), "Run `make schemas`."


@each_translation
def test_no_text_is_still_english(language):
    left = {place: text for file in ENGLISH for place, text in untranslated(language, file).items()}
    assert left == {}, "Translate these."


BEFORE = {"node": {"kept": "Stays.", "changed": "One.", "gone": "Goes."}}
NOW = {"node": {"kept": "Stays.", "changed": "Two.", "new": "New."}, "other": {"new": "New."}}
OLD = {"node": {"kept": "Bleibt.", "changed": "Eins.", "gone": "Geht."}}


def test_what_is_new_or_changed_in_english_is_english_until_it_is_translated():
    made = seeded(NOW, BEFORE, OLD)
    assert made == {"node": {"kept": "Bleibt.", "changed": "Two.", "new": "New."}, "other": {"new": "New."}}
    assert seeded(NOW, NOW, made) == made
    assert seeded(NOW, {}, {}) == NOW
    assert seeded({"new": "New."}, {}, {"new": "Neu."}) == {"new": "Neu."}  # translated ahead


def test_an_update_tells_what_it_took_away_and_what_it_leaves_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(translations, "LOCALES", tmp_path)
    for language, tree in (("en", BEFORE), ("de", OLD)):
        (tmp_path / language).mkdir()
        translations.write(language, "main.json", tree)
    assert translations.update({"main.json": NOW}) == [
        "de: node changed was 'Eins.'.",
        "de: node gone was 'Geht.'.",
        "de: node changed is to be translated: 'Two.'",
        "de: node new is to be translated: 'New.'",
        "de: other new is to be translated: 'New.'",
    ]
    assert read("en", "main.json") == NOW
    assert translations.update({"main.json": NOW}) == [
        f"de: {place} is to be translated: '{text}'"
        for place, text in (("node changed", "Two."), ("node new", "New."), ("other new", "New."))
    ]


@each_file
@each_translation
def test_a_translation_keeps_numbers_places_and_the_words_that_a_person_types_or_picks(language, file):
    words = r"\{\w+\}|\w+\.safetensors|-lora\b|\b(?:rcm|lightning|shifted|ode|sde|h264|nvenc|crf|cfg|high_noise)\b"
    typed = re.compile(words, re.ASCII)  # in Chinese and Korean, letters follow without a space
    for place, (english, text) in in_both(language, file).items():
        if file == "main.json" or place[-1] in ("tooltip", "description"):
            assert numbers(english) <= numbers(text), (place, text)
            assert set(typed.findall(english)) <= set(typed.findall(text)), (place, text)


@each_translation
def test_a_tooltip_names_options_as_the_list_shows_them(language):
    english, translated = read("en", "nodeDefs.json"), in_both(language)
    for node_id, node in read(language, "nodeDefs.json").items():
        for name, entry in node["inputs"].items():
            if (node_id, "inputs", name, "tooltip") not in translated:
                continue
            said = english[node_id]["inputs"][name]["tooltip"]
            for option, label in entry.get("options", {}).items():
                if label != option and re.search(rf"\b{option}\b(:| keeps)", said):
                    assert label in entry["tooltip"], (node_id, name, option)
                    assert option in entry["tooltip"], (node_id, name, option)


@each_file
@each_language
def test_texts_hold_none_of_the_signs_that_the_frontend_gives_a_meaning_to(language, file):
    signs = r"[{}@|$]|^\s|\s$" if file == "nodeDefs.json" else r"[@|$]|\{(?!\w+\})|(?<!\w)\}"
    assert {place: text for place, text in texts(read(language, file)).items() if re.search(signs, text)} == {}


@each_language
def test_a_text_is_not_longer_than_its_place(language):
    for place, text in texts(read(language, "nodeDefs.json")).items():
        most = {"name": 40, "display_name": 45, "tooltip": 170, "description": 130}.get(place[-1], 25)
        assert len(text) <= most, (place, text)


@each_file
@each_language
def test_files_are_sorted_and_indented(language, file):
    path = LOCALES / language / file
    tidy = json.dumps(read(language, file), ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    assert path.read_text(encoding="utf-8") == tidy
