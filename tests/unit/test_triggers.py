import json
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pack.common.text import MAX_MARKS, tidy
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


@pytest.mark.parametrize(
    ("prompt", "words", "position", "merged"),
    [
        ("a cat runs", ["sks", "film grain"], "prepend", "sks, film grain, a cat runs"),
        ("a cat runs", ["sks", "film grain"], "append", "a cat runs, sks, film grain"),
        ("a cat runs.", ["sks"], "append", "a cat runs. sks"),
        ("a cat runs.\n", ["sks"], "append", "a cat runs.\nsks"),
        ("猫が走る。", ["sks"], "append", "猫が走る。 sks"),
        ("a cat", ["sks"], "off", "a cat"),
        ("", ["sks", "grain"], "prepend", "sks, grain"),
        ("  ", ["sks"], "append", "sks"),
        ("", ["sks"], "off", ""),
        ("a cat", [], "prepend", "a cat"),
        ("a cat", ["", " "], "append", "a cat"),
        # once, whatever the case, the spaces and the normal form
        ("a SKS cat", ["sks", "Cat"], "prepend", "a SKS cat"),
        ("Film\n  grain, a cat", ["film grain"], "append", "Film\n  grain, a cat"),
        ("a cafe\u0301", ["CAF\u00c9"], "append", "a cafe\u0301"),
        ("Straße", ["STRASSE"], "append", "Straße"),
        ("a cat", ["sks", "SKS"], "append", "a cat, sks"),
        ("a cat", ["sks", "sks man"], "append", "a cat, sks man"),
        ("(sks:1.2), a cat", ["sks"], "append", "(sks:1.2), a cat"),
        # whole words only
        ("catwalk, bobcat", ["cat"], "append", "catwalk, bobcat, cat"),
        ("category of a cat", ["cat"], "append", "category of a cat"),
        ("cat_2", ["cat"], "append", "cat_2, cat"),
        ("cafe\u0301s", ["cafe"], "append", "cafe\u0301s, cafe"),
        ("कि", ["क"], "append", "कि, क"),
        ("किप", ["प"], "append", "किप, प"),
        ("か\u309a", ["か"], "append", "か\u309a, か"),
        ("film-grain", ["film grain"], "append", "film-grain, film grain"),
        ("a [sks] b", ["[sks]"], "append", "a [sks] b"),
        ("a.b", ["a+b"], "append", "a.b, a+b"),
        # no spaces between the words of Chinese and Japanese
        ("水彩画风格的猫", ["水彩画"], "prepend", "水彩画风格的猫"),
    ],
)
def test_absent_words_come_into_the_prompt_once(prompt, words, position, merged):
    assert triggers.merge(prompt, words, position) == merged


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("sks\uff0c水墨、fog､ink\r\ncat", ["sks", "水墨", "fog", "ink", "cat"]),
        ("(a, b:1.2), (a, c:1.3)", ["(a, b:1.2)", "(a, c:1.3)"]),
        ("((a, b), [c, d]), {e, f}, \uff08g\uff0ch\uff09", ["((a, b), [c, d])", "{e, f}", "\uff08g\uff0ch\uff09"]),
        (r"soft \(ink, fog\), cat", [r"soft \(ink, fog\)", "cat"]),
        # a bracket without a partner is a letter
        ("a :(, b), c", ["a :(, b)", "c"]),
        ("a (b, c", ["a (b", "c"]),
        ("a), b", ["a)", "b"]),
        ("(a], b), c", ["(a], b)", "c"]),
    ],
)
def test_what_is_typed_is_split_at_the_commas_of_every_language_but_not_in_brackets(typed, words):
    assert triggers.typed_words(typed) == words


def test_two_groups_of_one_word_come_into_the_prompt_whole_and_once():
    words = triggers.typed_words("(a, b:1.2), (a, c:1.3)")
    once = triggers.merge("a cat", words, "prepend")
    assert once == "(a, b:1.2), (a, c:1.3), a cat"
    assert triggers.merge(once, words, "prepend") == once


def test_two_words_that_mean_the_same_are_one():
    assert triggers.merge("", ["soft (ink)", r"soft \(ink\)"], "append") == "soft (ink)"


def test_the_limits_of_what_is_typed_are_said():
    with pytest.raises(
        ValueError, match=r"^trigger_words takes at most 100000 characters, got 100001\. Put longer text"
    ):
        triggers.typed_words("a," * 50_000 + "a")
    with pytest.raises(
        ValueError, match=r"^A trigger word has at most 500 characters, got one of 501\. Separate words by"
    ):
        triggers.typed_words("fog, " + "a" * 501)


class Steps:
    """Counts the calls of Python functions, which say what a text costs on any machine."""

    def __init__(self, work):
        self.count = 0
        previous = sys.getprofile()
        sys.setprofile(lambda _, event, __: self.add(event))
        try:
            work()
        finally:
            sys.setprofile(previous)

    def add(self, event):
        self.count += event in ("call", "c_call")


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("word{0}", "a cat runs, word3, "),
        ("the word{0}", "the " * 4),
        ("水墨{0}画", "水墨的猫。"),
        ("(a{0}, b{0}:1.2)", "(a1, b1:1.2), "),
        ("\u0301x{0}", "a\u0301\u0327"),
    ],
)
def test_ten_times_as_many_words_and_letters_cost_about_ten_times_as_much(word, prompt):
    def work(size):
        words = triggers.typed_words(", ".join(word.format(number) for number in range(size)))
        triggers.merge(prompt * size, words, "append")

    small, large = Steps(lambda: work(50)).count, Steps(lambda: work(500)).count
    assert large < 15 * small


@pytest.mark.parametrize("ending", ["", "墨"])
def test_words_that_repeat_one_letter_cost_their_length_once(ending):
    # Each word begins at each letter of the prompt, and ends at none where it has an ending of its own.
    def work(size):
        words = ["水" * (size * part) + ending for part in range(1, 6)]
        merged = triggers.merge("水" * 10 * size, words, "append")
        assert merged.endswith(f", {words[-1]}") == bool(ending)

    def lines(size):
        count = 0

        def trace(*_):
            nonlocal count
            count += 1
            return trace

        previous = sys.gettrace()
        sys.settrace(trace)
        try:
            work(size)
        finally:
            sys.settrace(previous)
        return count

    assert lines(100) < 15 * lines(10)


def test_the_longer_of_two_words_is_added_and_the_one_within_it_is_not():
    words = ["red cat", "cat", "big red cat runs", "red cat runs", "at"]
    assert triggers.merge("a dog", words, "append") == "a dog, big red cat runs, at"


def test_five_thousand_words_come_into_the_prompt_once():
    words = [f"word{number}" for number in range(5000)]
    merged = triggers.merge("a cat, Word17.", triggers.typed_words(", ".join(words)), "append")
    assert merged == "a cat, Word17. " + ", ".join(word for word in words if word != "word17")


@pytest.mark.parametrize("marks", ["\u0301\u0327", "\u0301\u0301", "\u05b0\u0301\u0327"])
def test_rows_of_accents_are_cut_before_they_are_sorted(marks):
    zalgo = "a" + marks * 5000
    assert len(tidy([zalgo])[0]) <= 1 + MAX_MARKS
    assert triggers.merge(zalgo, ["sks"], "prepend") == f"sks, {zalgo}"
    assert triggers.merge(zalgo, [zalgo], "append") == zalgo


def test_an_unknown_position_is_refused():
    with pytest.raises(ValueError, match=r"^Trigger words go to one of prepend, append, off, got 'middle'\.$"):
        triggers.merge("a", ["b"], "middle")


texts = st.text(st.characters(), max_size=30)
words = st.lists(
    st.text(st.sampled_from("aAbßéİς\u0301\u0327\u200d\u093f 水か_-.,\n()\x00"), max_size=6) | texts, max_size=5
)
positions = st.sampled_from(triggers.POSITIONS)


@given(texts, words, positions)
@example("a", ["\u0301b"], "append")
@example("\u0390", ["\u03b9\u0308\u0301"], "append")
@settings(deadline=None)
def test_merging_again_changes_nothing(prompt, words, position):
    once = triggers.merge(prompt, words, position)
    assert triggers.merge(once, words, position) == once


@given(texts, words, positions)
@settings(deadline=None)
def test_the_users_text_stays_as_it_is(prompt, words, position):
    merged = triggers.merge(prompt, words, position)
    if prompt.strip():
        kept = merged.endswith(prompt) if position == "prepend" else merged.startswith(prompt)
        assert kept


@given(texts, words, st.sampled_from(["prepend", "append"]))
@settings(deadline=None)
def test_every_word_is_in_the_merged_prompt(prompt, words, position):
    merged = triggers.merge(prompt, words, position)
    for word in tidy(words):
        assert folded(word) in folded(merged)


def folded(text):
    text = " ".join(text.split())
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


@given(st.lists(texts, max_size=5))
@settings(deadline=None)
def test_tidy_words_are_tidy(words):
    tidied = tidy(words)
    assert tidy(tidied) == tidied
    assert len({folded(word) for word in tidied}) == len(tidied)
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for word in tidied for char in word)


def test_a_loras_own_words_mean_themselves():
    assert triggers.literal(["soft (ink)", r"done \(so\)", "plain"]) == [r"soft \(ink\)", r"done \(so\)", "plain"]


@pytest.mark.parametrize("prompt", ["a soft (ink) cat", r"a soft \(ink\) cat"])
def test_an_escaped_word_is_held_however_the_prompt_spells_it(prompt):
    assert triggers.merge(prompt, [r"soft \(ink\)"], "append") == prompt
