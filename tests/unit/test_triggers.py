import json

import pytest
from pack.common.text import tidy
from pack.weights.loras import triggers

FREQUENCY = json.dumps({"a": {"cat": 3, "sks": 10}, "b": {"Cat": 9, "dog": 1}})


@pytest.fixture
def lora(tmp_path):
    return tmp_path / "style.v1.safetensors"


def beside(lora, suffix, content):
    text = content if isinstance(content, str) else json.dumps(content)
    lora.with_suffix(suffix).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("metadata", "sidecars", "words"),
    [
        ({"modelspec.trigger_phrase": "ohwx man, film grain"}, ["side"], ["ohwx man", "film grain"]),
        ({"modelspec.trigger_phrase": "ohwx", "ss_tag_frequency": FREQUENCY}, [], ["ohwx"]),
        ({"modelspec.trigger_phrase": " , ", "ss_tag_frequency": FREQUENCY}, [], ["cat", "sks", "dog"]),
        # an explicit list beats the words of captions, wherever it is written
        ({"ss_tag_frequency": FREQUENCY}, ["side"], ["side"]),
        ({"ss_tag_frequency": FREQUENCY, "trained_words": "sks, grain"}, ["side"], ["sks", "grain"]),
        (
            {"ss_tag_frequency": FREQUENCY, "ss_trained_words": '["sks", "film grain, dog"]'},
            [],
            ["sks", "film grain", "dog"],
        ),
        ({"trainedWords": "[sks]"}, [], ["[sks]"]),
        ({"trainedWords": "[1, null]", "modelspec.trigger_word": "sks"}, [], ["sks"]),
        ({}, ["side", "SIDE", "car"], ["side", "car"]),
        ({}, [], []),
    ],
)
def test_the_first_source_that_has_any_words_counts(metadata, sidecars, words):
    folded = [word.casefold() for word in triggers.trigger_words(metadata, sidecars)]
    assert folded == words


def test_tags_are_summed_over_data_sets_and_the_most_frequent_come_first():
    metadata = {"ss_tag_frequency": json.dumps({"a": {"sks": 5, "cat": 3, "x": 1}, "b": {"cat": 3, "sks": 0}})}
    assert triggers.trigger_words(metadata, []) == ["cat", "sks", "x"]


def test_tags_are_capped_and_sentences_of_captions_are_none():
    tags = {f"tag{number}": 100 - number for number in range(50)} | {"A man walks along the beach at sunset " * 2: 999}
    words = triggers.trigger_words({"ss_tag_frequency": json.dumps({"a": tags})}, [])
    assert words == [f"tag{number}" for number in range(8)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "null",
        "[1]",
        '"x"',
        '{"a": null}',
        '{"a": ["x"]}',
        '{"a": {"x": null, "y": "3", "z": true, "w": 1.5, "v": NaN}}',
        '{"a": {"": 3, " ": 2}}',
    ],
)
def test_a_malformed_tag_table_counts_as_absent(text):
    assert triggers.trigger_words({"ss_tag_frequency": text}, ["side"]) == ["side"]


def test_a_file_cannot_flood_the_prompt():
    many = [f"w{number}" for number in range(1000)]
    assert triggers.trigger_words({}, ["x" * 501, *many]) == many[:32]
    assert triggers.trigger_words({"modelspec.trigger_phrase": "x" * 500 + "," + "y" * 501}, []) == ["x" * 500]


@pytest.mark.parametrize(
    ("words", "tidied"),
    [
        (["  film   grain\t", "", "  "], ["film grain"]),
        (["Sks", "sks", "SKS"], ["Sks"]),
        (["STRASSE", "straße"], ["STRASSE"]),
        (["cafe\u0301", "caf\u00e9"], ["caf\u00e9"]),
        (["a\x00b\x1b[31m", "c\nd"], ["ab[31m", "c d"]),
        (["\ufeffsks\u202e\u200b", "\ud800x"], ["sks", "x"]),
        (
            ["\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"],
            ["\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"],
        ),
        (["\u200d", "\x00"], []),
        (["水彩画", "🎬"], ["水彩画", "🎬"]),
    ],
)
def test_words_are_made_printable_and_unique(words, tidied):
    assert tidy(words) == tidied


@pytest.mark.parametrize(
    ("suffix", "content", "words"),
    [
        (".json", {"trainedWords": ["sks, grain", "dog"]}, ["sks", "grain", "dog"]),
        (".json", {"activation text": "sks, grain"}, ["sks", "grain"]),
        (".json", "\ufeff" + json.dumps({"activation text": "sks"}), ["sks"]),
        (".civitai.info", {"trainedWords": ["sks"], "id": 1}, ["sks"]),
        (".txt", "\ufeffsks, film grain\r\ndog\n", ["sks", "film grain", "dog"]),
        (".json", {"trainedWords": [1, None, "sks"]}, ["sks"]),
        (".json", {"trainedWords": "sks", "activation text": 3}, ["sks"]),
        (".json", {"trainedWords": "sks, grain"}, ["sks", "grain"]),
        (".civitai.info", {"trainedWords": ["sks <lora:style:0.8>", "<lora:style_v1:1>", "grain"]}, ["sks", "grain"]),
        (".civitai.info", {"trainedWords": ["see https://example.com/1", "sks"]}, ["sks"]),
        # Lora-Manager, with Civitai's answer in it or with none
        (
            ".metadata.json",
            {"file_name": "style", "tags": ["x"], "civitai": {"trainedWords": ["sks", "grain"]}},
            ["sks", "grain"],
        ),
        (".metadata.json", {"civitai": None, "notes": "mine"}, []),
        (".metadata.json", {"civitai": {"trainedWords": None}}, []),
        # rgthree, whose list holds words of captions too
        (
            ".safetensors.rgthree-info.json",
            {
                "trainedWords": [
                    {"word": "sks", "civitai": True},
                    {"word": "mine", "user": True},
                    {"word": "cat", "count": 9, "metadata": True},
                    {"word": "grain", "civitai": True, "metadata": True, "count": 3},
                    {"count": 3},
                    {"word": 3},
                    "x",
                ]
            },
            ["sks", "mine", "grain", "x"],
        ),
        (".cm-info.json", {"ModelId": 1, "TrainedWords": ["sks"]}, ["sks"]),
        (".cminfo.json", {"TrainedWords": ["sks"]}, ["sks"]),
        (".swarm.json", {"modelspec.trigger_phrase": "sks"}, ["sks"]),
        # a text file of words, and text files of notes
        (".txt", "sks\uff0c水墨、(soft ink, fog:1.2)", ["sks", "水墨", "(soft ink, fog:1.2)"]),
        (".txt", "sks, film grain\nFrom https://example.com/models/1", []),
        (".txt", "sks, ask me@example.org", []),
        (".txt", "example.com/models/1\nsks", []),
        (".txt", "Trigger words: sks, grain\nStrength: 0.8", []),
        (".txt", "触发词\uff1asks", []),
        (".txt", "# style\nsks", []),
        (".txt", "- use it at 0.8", []),
        (".txt", "Trained on 40 pictures. Use it at 0.8", []),
        (".txt", "用四十张图训练。强度零点八", []),
        (".txt", "(sks:1.2), v1.5 style", ["(sks:1.2)", "v1.5 style"]),
        (".json", ["sks"], []),
        (".json", "{", []),
        (".json", "[" * 100_000, []),
        (".json", "", []),
        (".txt", "x" * 1_000_001, []),
        (".preview.txt", "sks", []),
    ],
)
def test_words_are_read_from_the_files_that_bear_the_name_of_the_lora(lora, suffix, content, words):
    beside(lora, suffix, content)
    assert triggers.find_sidecar_words(lora) == words


def test_the_first_side_car_that_has_any_words_counts(lora):
    beside(lora, ".txt", "text")
    assert triggers.find_sidecar_words(str(lora)) == ["text"]
    beside(lora, ".civitai.info", {"trainedWords": ["civitai"]})
    assert triggers.find_sidecar_words(lora) == ["civitai"]
    beside(lora, ".json", "{")
    assert triggers.find_sidecar_words(lora) == ["civitai"]
    beside(lora, ".json", {"trainedWords": ["json"]})
    assert triggers.find_sidecar_words(lora) == ["json"]


def test_side_cars_that_are_no_text_count_as_absent(lora):
    lora.with_suffix(".json").write_bytes(b"\xff\xfe\x00")
    lora.with_suffix(".civitai.info").mkdir()
    assert triggers.find_sidecar_words(lora) == []


def test_the_widget_wins_over_the_file_and_is_not_capped(lora):
    beside(lora, ".txt", "side")
    metadata = {"modelspec.trigger_phrase": "own"}
    assert triggers.typed_words("mine, Mine,\n yours") == ["mine", "yours"]
    many = [f"w{number}" for number in range(100)]
    assert triggers.typed_words(",".join(many)) == many
    assert triggers.typed_words(" ,\n") == triggers.typed_words("") == []
    assert triggers.trigger_words(metadata, triggers.find_sidecar_words(lora)) == ["own"]
    assert triggers.trigger_words({}, triggers.find_sidecar_words(lora)) == ["side"]
