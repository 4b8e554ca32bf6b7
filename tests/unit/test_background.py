"""What is started in the background: `command &` in a script ignores Ctrl-C, `nohup` ignores the hang-up."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pack.tests.unit.test_client_network import PROMPT, RECORD, Comfy
from pack.tests.unit.test_client_stop import wait_until

ROOT = Path(__file__).parents[2]
ASKS = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows ignores no signals on behalf of others")


@pytest.fixture
def comfy():
    running = Comfy()
    running.running = [[1, "id-1", PROMPT, {}, []]]
    yield running
    running.close()


def ignoring(name, *command):
    """Returns a command that runs another one with a signal ignored, as a shell does for jobs in the background."""
    return ["sh", "-c", f'trap "" {name}; exec "$@"', "sh", *command]


@pytest.fixture
def following(comfy):
    """Starts a client with a signal ignored, and returns it when it follows the job on the server."""
    started = []

    def start(name):
        command = [sys.executable, "-m", "client", "fetch", "id-1", "--server", comfy.address, "--output", "unused"]
        started.append(subprocess.Popen(ignoring(name, *command), cwd=ROOT, stderr=subprocess.PIPE, text=True))
        wait_until(lambda: [path for path, *_ in comfy.asked].count("/queue") >= 2)
        return started[-1]

    yield start
    for client in started:
        client.kill()
        client.communicate()


def ends(comfy, client, **record):
    """Lets the job end on the server, and returns the client's exit code and its words."""
    comfy.history["id-1"] = {**RECORD, "outputs": {}, **record}
    comfy.running.clear()
    said = client.communicate(timeout=60)[1]
    return client.returncode, said


@pytest.mark.slow
def test_a_client_in_the_background_of_a_script_still_cancels_its_job_when_it_is_interrupted(comfy, following):
    client = following("INT")
    client.send_signal(signal.SIGINT)
    wait_until(lambda: comfy.posted or client.poll() is not None)
    interrupted = {"messages": [["execution_interrupted", {"node_id": "9"}]]}
    code, said = ends(comfy, client, status=interrupted)
    assert code == 130, said
    assert "Cancelled: the server confirms that job id-1 has stopped." in said
    assert [path for path, _ in comfy.posted] == ["/interrupt"]


@pytest.mark.slow
def test_a_client_under_nohup_goes_on_when_the_terminal_is_closed(comfy, following):
    client = following("HUP")
    client.send_signal(signal.SIGHUP)
    asked = len(comfy.asked)
    wait_until(lambda: len(comfy.asked) > asked + 1 or client.poll() is not None)
    code, said = ends(comfy, client)
    assert comfy.posted == []
    assert code != 130, said
    assert "saved nothing in the server's output folder" in said


@pytest.mark.slow
def test_what_a_test_starts_hears_ctrl_c_also_where_the_tests_were_told_to_ignore_it(tmp_path):
    test = tmp_path / "test_one.py"
    test.write_text(
        "import subprocess, sys\n"
        "def test_one():\n"
        f"    assert subprocess.check_output([sys.executable, '-c', {ASKS!r}], text=True) == 'True\\n'\n",
        encoding="utf-8",
    )
    options = ["-p", "no:cacheprovider", "--rootdir", str(tmp_path), "--confcutdir", str(ROOT / "tests")]
    command = [sys.executable, "-m", "pytest", "-p", "conftest", *options, "-q", str(test)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    result = subprocess.run(ignoring("INT", *command), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
