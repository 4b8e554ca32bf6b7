"""A client whose run does not go to its end: Ctrl-C, a network that breaks, a server that restarts."""

import os
import signal

import pytest
from comfy_server import ComfyServer, free_port
from pack.tests.server.client_process import LOCAL, LONG, client, command, frames_of, pairs
from pack.tests.server.relay import relay_to

pytestmark = pytest.mark.server

posix = pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to whole groups only")


@posix
def test_ctrl_c_stops_the_run_on_the_server_and_saves_nothing(server, connection, picture, tmp_path, start):
    running = start(command(LOCAL[0], server.address, tmp_path, pairs(LOCAL[0], picture, **LONG)))
    running.wait_for(r"rCM Sampler {2}1/100")
    running.process.send_signal(signal.SIGINT)
    code, out = running.end(60)
    assert (code, out) == (130, ""), running.said
    assert f"Cancelled: the server confirms that job {running.job} has stopped." in running.said
    assert "Traceback" not in running.said
    assert list(tmp_path.iterdir()) == []
    kinds = [kind for kind, _ in connection.locate(running.job).record["status"]["messages"]]
    assert "execution_interrupted" in kinds


@posix
def test_ctrl_c_takes_a_waiting_job_out_of_the_queue_and_leaves_the_running_one(
    server, connection, picture, tmp_path, start
):
    first = start(command(LOCAL[0], server.address, tmp_path, pairs(LOCAL[0], picture, **LONG)))
    first.wait_for(r"rCM Sampler {2}1/100")
    second = start(command(LOCAL[0], server.address, tmp_path, pairs(LOCAL[0], picture, seed=2)))
    second.wait_for(r"Waiting in the queue, 1 before this one\.")
    second.process.send_signal(signal.SIGTERM)
    assert second.end(60) == (130, "")
    assert f"Cancelled: job {second.job} left the queue unrun." in second.said
    assert connection.locate(first.job).state == "running"
    code, out, _ = client("cancel", first.job, "--server", server.address)
    assert (code, out) == (0, f"Cancelled: the server confirms that job {first.job} has stopped.\n")
    assert first.end(60) == (1, "")
    assert "Somebody interrupted the run on the server, at rCM Sampler." in first.said


def test_a_network_that_breaks_and_comes_back_costs_nothing(server, picture, tmp_path, start):
    with relay_to(server) as relay:
        where = f"http://127.0.0.1:{relay.port}"
        running = start(command(LOCAL[0], where, tmp_path, pairs(LOCAL[0], picture, seed=3)))
        running.wait_for(r"rCM Sampler {2}1/4")
        relay.cut()
        running.wait_for(r"does not answer\. Waiting for it, up to 60 seconds\.")
        relay.whole = True
        code, out = running.end()
    assert code == 0, running.said
    assert running.said.count("The server's websocket is out of reach.") == 1
    assert len(frames_of(out.strip())) == 5


def test_a_server_that_restarts_in_the_middle_has_lost_the_job_and_the_client_says_so(server, picture, tmp_path, start):
    base, port = tmp_path / "base", free_port()
    base.mkdir()
    (base / "models").symlink_to(server.base / "models", target_is_directory=True)
    with ComfyServer(base, ["--disable-api-nodes"], port) as before:
        running = start(command(LOCAL[0], before.address, tmp_path / "out", pairs(LOCAL[0], picture, **LONG)))
        running.wait_for(r"rCM Sampler {2}1/100")
    with ComfyServer(base, ["--disable-api-nodes"], port):
        code, out = running.end(120)
        again = client("fetch", running.job, "--server", f"http://127.0.0.1:{port}")
    assert (code, out) == (5, ""), running.said
    assert f"no longer has job {running.job}, neither in its queue nor in its history" in running.said
    assert "it is safe to run the same command again" in running.said
    assert "Traceback" not in running.said
    assert again[0] == 5
    assert not (tmp_path / "out").exists()
