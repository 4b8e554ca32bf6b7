"""A filter that is a program of the operator's: what it is given, how it answers, and how it ends."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest
from pack.filters.ask import ask
from pack.tests.toy.filters import NO_ANSWER, PICTURE, QUESTION, environment, refusal, wait_for_filters


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


@pytest.mark.slow
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


@pytest.mark.slow
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
