"""A polite request to end cancels the job, also where it comes twice, as from the command `timeout` of GNU."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pack.client import cli
from pack.tests.unit.test_client_network import PROMPT, RECORD, Comfy

ROOT = Path(__file__).parents[2]
NOHUP = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); from client import cli; sys.exit(cli.main())"
PATIENT = "import sys; from client import cli; cli.ONE_REQUEST = 60.0; sys.exit(cli.main())"  # on a slow machine too


def test_a_request_that_comes_twice_at_once_is_one():
    times = iter([10.0, 10.001, 10.9, 11.0])
    stop = cli.Stop(lambda: next(times))
    with pytest.raises(KeyboardInterrupt):
        stop()
    stop()
    stop()
    with pytest.raises(KeyboardInterrupt):
        stop()


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process at once")
@pytest.mark.slow
def test_a_second_request_does_not_break_off_the_cancelling():
    comfy = Comfy()
    comfy.running = [[1, "id-1", PROMPT, {}, []]]
    client = subprocess.Popen(
        [sys.executable, "-c", PATIENT, "fetch", "id-1", "--server", comfy.address],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: [path for path, *_ in comfy.asked].count("/queue") >= 2)  # it follows the job
        client.send_signal(signal.SIGTERM)
        wait_until(lambda: comfy.posted)  # it cancels the job
        client.send_signal(signal.SIGTERM)
        asked = len(comfy.asked)
        wait_until(lambda: len(comfy.asked) > asked or client.poll() is not None)
        comfy.history["id-1"] = {**RECORD, "status": {"messages": [["execution_interrupted", {"node_id": "9"}]]}}
        comfy.running.clear()
        said = client.communicate(timeout=60)[1]
    finally:
        client.kill()
        client.communicate()
        comfy.close()
    assert client.returncode == 130, said
    assert "Cancelled: the server confirms that job id-1 has stopped." in said
    assert [path for path, _ in comfy.posted] == ["/interrupt"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
@pytest.mark.slow
def test_a_client_under_nohup_goes_on_when_its_terminal_is_closed():
    comfy = Comfy()
    comfy.running = [[1, "id-1", PROMPT, {}, []]]
    client = subprocess.Popen(
        [sys.executable, "-c", NOHUP, "fetch", "id-1", "--server", comfy.address],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: [path for path, *_ in comfy.asked].count("/queue") >= 2)
        client.send_signal(signal.SIGHUP)
        asked = len(comfy.asked)
        wait_until(lambda: len(comfy.asked) > asked + 2 or client.poll() is not None)  # it still follows the job
        comfy.running.clear()
        assert client.wait(60) == 5, client.communicate()[1]
    finally:
        client.kill()
        client.communicate()
        comfy.close()
    assert comfy.posted == []
