"""Asking the operator's filters: a clear yes is a yes, and everything else that may become of one is a no."""

import sys
import threading

import numpy as np
import pytest
from pack.filters import ask as asking
from pack.filters.ask import ask
from pack.filters.question import NoAnswerError, Question, frames_of, reason_against
from pack.filters.settings import Settings
from pack.media.mp4 import Mp4Writer
from pack.media.resolution import Size
from pack.tests.toy.filters import NO_ANSWER, PICTURE, QUESTION, environment, refusal, wait_for_filters

JUDGES = """
import threading, time
import numpy

release = threading.Event()
seen = []

def yes(question):
    seen.append((question.stage, question.prompt, question.negative_prompt, len(question.pictures)))
    return True

def no(question):
    return "we make no glowing stones"

def none(question):
    return "None of our stones glow"

def crash(question):
    raise SystemExit("key sk-0123456789abcdef in the text")

def hang(question):
    release.wait()
    return True

def nothing(question):
    pass

def one(question):
    return 1

def huge(question):
    return "stone " * 1_000_000

def redness(picture):
    red, green, blue = numpy.asarray(picture).reshape(-1, 3).mean(0) / 255
    return {"red": red, "blue": blue}

def mean(picture):
    return numpy.asarray(picture).mean() / 255

def no_number(picture):
    return float("nan")
"""


@pytest.fixture
def judges(tmp_path, monkeypatch):
    """A module of the operator's, under a name of its own."""
    name = f"judges_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(JUDGES, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(asking, "_turns", type(asking._turns)(asking.Turn))
    yield name
    if name in sys.modules:
        sys.modules[name].release.set()
        del sys.modules[name]


def test_without_a_variable_nobody_is_asked():
    before = threading.active_count()
    ask(QUESTION, {"WAN22_TURBO_ALLOW_UNRESTRICTED": "1", "WAN22_TURBO_FILTER_WORDS": " "})
    assert not Settings({})
    assert threading.active_count() == before


def test_a_function_sees_prompt_and_picture_and_says_yes_or_why_not(judges):
    assert refusal(FUNCTION=f"{judges}:yes") is None
    assert sys.modules[judges].seen == [("prompt", "A stone glows.", "blurry", 1)]
    assert refusal(FUNCTION=f"{judges}:no") == (
        "The content filter of this ComfyUI refuses: we make no glowing stones. "
        "Nothing was sampled. Change the prompt or the picture."
    )


def test_a_reason_is_told_in_its_own_words(judges):
    assert "refuses: None of our stones glow. Nothing" in (refusal(FUNCTION=f"{judges}:none") or "")


@pytest.mark.parametrize(
    ("function", "logged"),
    [
        ("crash", "it failed with SystemExit: key sk-*** in the text"),
        ("nothing", "its answer, a NoneType, is neither a yes nor a no"),
        ("one", "its answer, a int, is neither a yes nor a no"),
        ("missing", "is no module:function that can be imported"),
        ("seen", "is no function"),
    ],
)
def test_what_is_no_clear_yes_of_a_function_is_a_no(function, logged, judges, caplog):
    assert refusal(FUNCTION=f"{judges}:{function}") == NO_ANSWER
    assert logged in caplog.text
    assert "0123456789abcdef" not in caplog.text


def test_a_function_that_cannot_be_imported_is_a_no(caplog):
    assert refusal(FUNCTION="no_such_module_of_anybody:judge") == NO_ANSWER
    assert "no_such_module_of_anybody" in caplog.text


def test_a_huge_reason_is_cut_at_a_word(judges):
    said = refusal(FUNCTION=f"{judges}:huge") or ""
    assert "stone stone" in said
    assert len(said) < 500


def test_a_function_that_hangs_is_a_no_and_is_not_asked_twice_at_a_time(judges, caplog):
    hanging = {"FUNCTION": f"{judges}:hang", "SECONDS": "0.2"}
    assert refusal(**hanging) == NO_ANSWER
    threads = threading.active_count()
    assert [refusal(**hanging) for _ in range(3)] == [NO_ANSWER] * 3
    assert threading.active_count() == threads
    assert "it took longer than 0.2 s (WAN22_TURBO_FILTER_SECONDS)" in caplog.text
    assert "it is still busy with an earlier question" in caplog.text
    sys.modules[judges].release.set()
    wait_for_filters()
    assert refusal(**hanging) is None


def test_what_is_asked_after_an_interrupt_waits_for_its_turn(judges):
    class Interrupt(Exception):  # noqa: N818
        pass

    def interrupt():
        raise Interrupt

    with pytest.raises(Interrupt):
        ask(QUESTION, environment(FUNCTION=f"{judges}:hang"), interrupt)
    ask(QUESTION, environment(FUNCTION=f"{judges}:hang"), sys.modules[judges].release.set)
    wait_for_filters()


@pytest.mark.parametrize(
    ("limit", "function", "answer"),
    [
        ("red=0.9, blue=0.5", "redness", None),
        ("red=0.7", "redness", "refuses: the picture scores 0.78 for 'red', and the limit is 0.7."),
        ("0.4", "mean", None),
        ("0.2", "mean", "refuses: the picture scores 0.34, and the limit is 0.2."),
        ("green=0.5", "redness", "no answer"),
        ("0.5", "redness", "no answer"),
        ("0.5", "no_number", "no answer"),
        ("much", "mean", "no answer"),
        ("0", "mean", "no answer"),
    ],
)
def test_a_classifier_of_pictures_has_a_limit(limit, function, answer, judges):
    said = refusal(IMAGES=f"{judges}:{function}", LIMIT=limit)
    assert said is None if answer is None else answer in (said or "")


def test_a_classifier_without_a_picture_is_a_no(judges, caplog):
    assert refusal(Question("prompt", "Nothing was sampled."), IMAGES=f"{judges}:mean") == NO_ANSWER
    assert "there is no picture to look at" in caplog.text


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Six frames, from black to red."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with Mp4Writer(path, Size(64, 48)) as writer:
        for number in range(6):
            writer.write(np.full((48, 64, 3), (number / 5, 0, 0), np.float32))
    return path


def test_a_clip_is_looked_at_from_its_first_frame_to_its_last(clip, judges):
    assert [round(float(frame[..., 0].mean()), -1) for frame in frames_of(clip, 3)] == [0, 100, 250]
    asked = Question("clip", "No file was saved.", clip=clip)
    assert refusal(asked, IMAGES=f"{judges}:redness", LIMIT="blue=0.5") is None
    said = refusal(asked, IMAGES=f"{judges}:redness", LIMIT="red=0.9", FRAMES="2")
    assert "a frame of the clip scores" in (said or "")
    assert refusal(asked, IMAGES=f"{judges}:redness", LIMIT="red=0.9", FRAMES="1") is None  # the black one


def test_a_reason_does_not_tell_where_the_clip_lies(clip, program):
    echo = "import json, sys; print(json.dumps('red in ' + json.load(sys.stdin)['clip']))"
    said = refusal(Question("clip", "No file was saved.", clip=clip), COMMAND=program(echo))
    assert said == "The content filter of this ComfyUI refuses: red in the clip. No file was saved."


def test_a_file_that_is_no_clip_is_a_no(tmp_path, judges):
    (tmp_path / "clip.mp4").write_bytes(b"no clip")
    asked = Question("clip", "Nothing was sampled.", clip=tmp_path / "clip.mp4")
    assert refusal(asked, IMAGES=f"{judges}:mean") == NO_ANSWER


def test_a_list_of_words_is_not_asked_about_clips(clip):
    assert refusal(Question("clip", "No file was saved.", clip=clip), WORDS="/nowhere") is None


@pytest.mark.parametrize(
    ("variables", "logged"),
    [
        ({"WORD": "list"}, "there is no variable WAN22_TURBO_FILTER_WORD; WAN22_TURBO_FILTER_WORDS is the nearest"),
        ({"WORDS": "/nowhere", "SECONDS": "soon"}, "SECONDS must be a number above 0 of at most 3600, got 'soon'"),
        ({"WORDS": "/nowhere", "SECONDS": "nan"}, "SECONDS must be a number above 0"),
        ({"WORDS": "/nowhere", "FRAMES": "2.5"}, "FRAMES must be a whole number of at most 200, got '2.5'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_a_no(variables, logged, caplog):
    assert refusal(**variables) == NO_ANSWER
    assert logged in caplog.text


def test_the_first_no_counts_and_every_filter_has_to_say_yes(judges, tmp_path):
    (tmp_path / "list").write_text("forbiddenite", encoding="utf-8")
    words = {"WORDS": str(tmp_path / "list")}
    assert refusal(**words, FUNCTION=f"{judges}:yes") is None
    assert "glowing stones" in (refusal(**words, FUNCTION=f"{judges}:no") or "")
    sys.modules[judges].seen.clear()
    asked = Question("prompt", "Nothing was sampled.", "forbiddenite", shown=(PICTURE,))
    assert "list of words" in (refusal(asked, **words, FUNCTION=f"{judges}:yes") or "")
    assert sys.modules[judges].seen == []


@pytest.mark.parametrize("answer", [None, 0, 1, "", " ", [], {}, {"allow": 1}, {"allow": None, "reason": "x"}, b"no"])
def test_anything_else_is_no_answer(answer):
    with pytest.raises(NoAnswerError):
        reason_against(answer)


def test_a_reason_is_one_printable_line_without_secrets():
    said = reason_against("see\n\x1b[31mhttps://host.example/a?token=secret-1 \u202e")
    assert said == "see [31mhttps://host.example/a?***"
