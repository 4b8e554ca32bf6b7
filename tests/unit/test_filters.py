"""Asking the operator's filters: a clear yes is a yes, and everything else that may become of one is a no."""

import contextlib
import json
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from pack.filters import ask as asking
from pack.filters.ask import ask
from pack.filters.question import ContentError, NoAnswerError, Question, frames_of, reason_against
from pack.filters.settings import Settings
from pack.media.mp4 import Mp4Writer
from pack.media.resolution import Size

PICTURE = np.full((16, 24, 3), (200, 30, 30), np.uint8)
QUESTION = Question(
    "prompt", "Nothing was sampled. Change the prompt or the picture.", "A stone glows.", "blurry", shown=(PICTURE,)
)
NO_ANSWER = (
    "The content filter of this ComfyUI gave no answer, which counts as a no. Nothing was sampled. "
    "Whoever runs this ComfyUI finds the cause in its log."
)
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


@pytest.fixture
def program(tmp_path):
    """Makes a command of the operator's out of some lines of Python."""

    def make(lines):
        (tmp_path / "judge it.py").write_text(lines, encoding="utf-8")
        return shlex.join([sys.executable, "-I", "-S", str(tmp_path / "judge it.py")])

    return make


def refusal(question=QUESTION, **variables):
    """Returns why the filters refuse a question; None if they let it pass."""
    try:
        ask(question, environment(**variables))
    except ContentError as error:
        return str(error)
    return None


def environment(**variables):
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return {**kept, **{f"WAN22_TURBO_FILTER_{name}": value for name, value in variables.items()}}


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


def wait_for_filters():
    for thread in threading.enumerate():
        if thread.name == "wan22-turbo content filter":
            thread.join(60)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ("", None),
        ("print('true')", None),
        ("""print('{"allow": true}')""", None),
        ("""print('{"allow": false, "reason": "too much glow!"}')""", "refuses: too much glow! Nothing was"),
        ("""print('"too much glow"')""", "refuses: too much glow. Nothing was"),
        ("print('false')", "refuses: it gives no reason."),
        ("raise SystemExit(3)", "refuses: it gives no reason."),
        ("""print('{"allow": true}'); raise SystemExit(3)""", "refuses: it gives no reason."),
        ("print('yes')", "no answer"),
        ("print('null')", "no answer"),
        ("""print('{"allow": "true"}')""", "no answer"),
        ("""print('{"reason": "glow"}')""", "no answer"),
        ("""print('[' * 50_000)""", "no answer"),
        ("import sys; sys.stdout.buffer.write(bytes(range(256)))", "no answer"),
        ("import os; os.kill(os.getpid(), 9)", "no answer"),
    ],
)
def test_a_command_answers_by_json_or_by_its_exit_status(lines, answer, program):
    said = refusal(COMMAND=program(lines))
    assert said is None if answer is None else answer in (said or "")


def test_a_command_that_writes_without_end_is_stopped(program, caplog):
    assert refusal(COMMAND=program("while True: print('x' * 10_000)")) == NO_ANSWER
    assert "it wrote more than 65536 bytes" in caplog.text


def test_a_command_that_hangs_is_ended_with_all_that_it_started(program, tmp_path, caplog):
    lines = f"""
import os, time
child = os.fork()
if child:
    with open({str(tmp_path / "children")!r}, "w") as file:
        file.write(str(child))
time.sleep(600)
"""
    written = tmp_path / "children"
    for seconds in (1, 4, 16, 64):  # until the program comes to start something, on a busy machine too
        if not written.exists():
            assert refusal(COMMAND=program(lines), SECONDS=str(seconds)) == NO_ANSWER
            assert f"it took longer than {seconds} s" in caplog.text
            wait_for_filters()
    child = Path(f"/proc/{written.read_text()}/stat")
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] not in "ZX":
        time.sleep(0.01)


@pytest.fixture
def daemon(program, tmp_path):
    """Makes a command that leaves a program behind which holds its output, in a session of its own or not."""
    (written := tmp_path / "daemon").write_text("", encoding="utf-8")

    def make(own_session, lines):
        return program(f"""
import os, signal, sys, time
child = os.fork()
if not child:
    if {own_session}:
        os.setsid()
    time.sleep(600)
while {own_session} and os.getsid(child) == os.getsid(0):
    time.sleep(0.01)
with open({str(written)!r}, "w") as file:
    file.write(str(child))
{lines}
""")

    yield make
    if started := written.read_text(encoding="utf-8"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(started), signal.SIGKILL)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no sessions")
@pytest.mark.parametrize("own_session", [True, False])
@pytest.mark.parametrize(("answer", "refused"), [("true", None), ('"too much"', "refuses: too much. Nothing")])
def test_a_command_has_answered_when_it_ends_whoever_still_holds_its_output(answer, refused, own_session, daemon):
    said = refusal(COMMAND=daemon(own_session, f"print('{answer}')"), SECONDS="20")
    assert said is None if refused is None else refused in (said or "")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no sessions")
def test_a_command_that_hangs_does_not_keep_the_filter_busy_whatever_outlives_it(daemon, caplog):
    command = daemon(True, "os.close(1)\ntime.sleep(600)")
    assert refusal(COMMAND=command, SECONDS="2") == NO_ANSWER
    assert "it took longer than 2 s" in caplog.text
    wait_for_filters()


def test_a_command_may_do_with_its_pictures_what_it_likes(program):
    lines = """
import json, os, sys
for path in json.load(sys.stdin)["pictures"]:
    open(path, "wb").close()
    os.rename(path, path + ".old")
os.chmod(os.path.dirname(path), 0)
"""
    before = PICTURE.copy()
    assert refusal(COMMAND=program(lines)) is None
    assert (before == PICTURE).all()


def test_a_command_that_is_not_there_is_a_no(caplog):
    assert refusal(COMMAND="/nowhere/judge") == NO_ANSWER
    assert "the program cannot be started (No such file or directory)" in caplog.text
    assert refusal(COMMAND="judge 'half a quotation") == NO_ANSWER


ECHO = """
import json, os, sys
asked = json.load(sys.stdin)
first = open(asked["pictures"][0], "rb").read(4).hex() if asked["pictures"] else ""
print(json.dumps(json.dumps({"env": sorted(os.environ), "argv": sys.argv[1:], "asked": asked, "first": first})))
"""


def test_a_command_gets_the_question_on_its_input_and_few_variables(program, monkeypatch, tmp_path):
    told = {}
    monkeypatch.setattr("pack.filters.ask.reason_against", lambda answer: told.update(json.loads(answer)))
    secrets = {"WAVESPEED_API_KEY": "k", "WAN22_TURBO_TOKEN": "t", "AWS_SECRET_ACCESS_KEY": "s", "JUDGE_KEY": "j"}
    variables = environment(COMMAND=program(ECHO) + " --strict", ENVIRONMENT="JUDGE_KEY, NOT_SET")
    ask(QUESTION, {**variables, **secrets})
    assert set(told["env"]) <= {"PATH", "SYSTEMROOT", "JUDGE_KEY", "LC_CTYPE"}
    assert "JUDGE_KEY" in told["env"]
    assert told["argv"] == ["--strict"]
    assert (told["asked"]["prompt"], told["asked"]["negative_prompt"]) == ("A stone glows.", "blurry")
    assert told["first"] == b"\x89PNG".hex()
    assert not Path(told["asked"]["pictures"][0]).exists()


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
