"""How trigger words come into a prompt: once, whole, and in linear time."""

import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pack.common.text import MAX_MARKS, tidy
from pack.weights.loras import triggers


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
        # no spaces between the words of Chinese, Japanese, Thai and others, but their digits are digits
        ("水彩画风格的猫", ["水彩画"], "prepend", "水彩画风格的猫"),
        ("แมวสีดำ", ["แมว"], "prepend", "แมวสีดำ"),
        ("sksแมว", ["sks"], "prepend", "sksแมว"),
        ("๑๒", ["๑"], "append", "๑๒, ๑"),
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
