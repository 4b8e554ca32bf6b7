"""What the client does when the network misbehaves. The other side is a few routes over real sockets.

tests/server runs the same client against a real ComfyUI.
"""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pack.client import address, cancel, job, save, server
from pack.client.errors import JobLostError, RefusedError, RunError, SaveError, UnreachableError
from pack.client.follow import Follower
from pack.client.progress import Silent
from pack.tests.toy import refusing_kernel
from pack.tests.toy.hostile_answers import CLIP
from pack.tests.toy.small_comfyui import FILE, PROMPT, RECORD, Comfy

ROOT = Path(__file__).resolve().parents[2]

on_linux = pytest.mark.skipif(not refusing_kernel.available, reason="needs a kernel that refuses on request")


@pytest.fixture
def comfy(monkeypatch):
    monkeypatch.setattr(server, "UNSURE_SECONDS", 0.2)
    monkeypatch.setattr(server, "PAUSES", (0.01,))
    running = Comfy()
    yield running
    running.close()


@pytest.fixture
def said():
    return []


@pytest.fixture
def client(comfy, said):
    speaking = server.Server(address.parse(comfy.address), patience=5.0, say=said.append)
    yield speaking
    speaking.close()


def prompts_posted(comfy):
    return [body for path, body in comfy.posted if path == "/prompt"]


def test_a_prompt_whose_answer_got_lost_is_found_in_the_queue_and_not_sent_again(comfy, client, said):
    comfy.trouble = ["answer lost"]
    assert client.submit(PROMPT, "id-1", "me") == {"prompt_id": "id-1"}
    assert len(prompts_posted(comfy)) == 1
    assert said == ["The answer to the prompt got lost. Asking the server whether it has the job."]


@pytest.mark.parametrize("trouble", ["lost", "redirect"])
def test_a_prompt_that_may_not_have_arrived_is_never_sent_again(comfy, client, trouble):
    comfy.trouble = [trouble]
    with pytest.raises(UnreachableError) as error:
        client.submit(PROMPT, "id-1", "me")
    assert len(prompts_posted(comfy)) == 1
    if trouble == "lost":
        assert "It was not sent a second time, as the first may yet arrive." in str(error.value)


@pytest.mark.parametrize("status", ["502", "503", "504"])
def test_a_proxy_that_gives_up_is_not_believed_about_a_prompt(comfy, client, status):
    comfy.trouble = [status]
    assert client.submit(PROMPT, "id-1", "me") == {"prompt_id": "id-1"}
    assert len(prompts_posted(comfy)) == 1


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        ("500", RefusedError, r"failed at this request itself \(HTTP 500\)\. Its log says why\."),
        ("401", UnreachableError, r"does not let us in \(HTTP 401\)\. Give the token in WAN22_TURBO_TOKEN"),
        ("404", UnreachableError, r"does not answer as a ComfyUI does \(HTTP 404\)\. Check the address\."),
    ],
)
def test_other_answers_end_in_a_sentence(comfy, client, status, kind, sentence):
    comfy.trouble = [status]
    with pytest.raises(kind, match=sentence):
        client.submit(PROMPT, "id-1", "me")


def test_questions_are_repeated_while_the_server_is_away(comfy, client, said):
    comfy.trouble = ["away"] * 4
    comfy.history["id-1"] = RECORD
    assert client.locate("id-1").state == "done"
    assert said == [f"{comfy.address} does not answer. Waiting for it, up to 5 seconds."]


def test_a_server_that_stays_away_is_named(comfy):
    gone = server.Server(address.parse("http://me:secret-word@127.0.0.1:9"), patience=0.0)
    with pytest.raises(UnreachableError, match=r"^No ComfyUI answers at http://127\.0\.0\.1:9 \(") as error:
        gone.locate("id-1")
    gone.close()
    assert "secret-word" not in str(error.value)


def test_no_proxy_is_asked_and_no_log_tells_the_token(comfy, client, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    fresh = server.Server(address.parse(f"{comfy.address}?token=abc", token="wxyz"))
    assert fresh.locate("id-1").state == "unknown"
    fresh.close()
    _, query, headers = comfy.asked[0]
    assert query == {"token": ["abc"]}
    assert headers["Authorization"] == "Bearer wxyz"
    assert "abc" not in caplog.text
    assert "wxyz" not in caplog.text


def test_a_job_is_found_wherever_it_is(comfy, client):
    comfy.running = [[1, "a", PROMPT, {}, []]]
    comfy.pending = [[3, "c", PROMPT, {}, []], [2, "b", PROMPT, {}, []]]
    comfy.history = {"d": RECORD}
    places = {name: client.locate(name) for name in "abcde"}
    assert [place.state for place in places.values()] == ["running", "pending", "pending", "done", "unknown"]
    assert (places["b"].ahead, places["c"].ahead) == (1, 2)


def test_without_a_websocket_the_job_is_followed_all_the_same(comfy, client, said):
    class Telling(Silent):
        def say(self, text):
            said.append(text)

    follower = Follower(client, "me", Telling())
    comfy.running = [[1, "id-1", PROMPT, {}, []]]
    threading.Timer(0.1, lambda: (comfy.history.update({"id-1": RECORD}), comfy.running.clear())).start()
    assert follower.follow("id-1", PROMPT) == RECORD
    assert said == ["The server's websocket is out of reach. Asking it every second instead, without progress."]


def test_a_job_that_the_server_forgot_is_lost(comfy, client):
    with pytest.raises(JobLostError) as error:
        Follower(client, "me", Silent()).follow("id-1", PROMPT)
    assert "neither in its queue nor in its history" in str(error.value)
    assert "it is safe to run the same command again" in str(error.value)


def test_a_waiting_job_is_taken_out_of_the_queue_and_no_other(comfy, client):
    comfy.pending = [[1, "id-1", PROMPT, {}, []], [2, "id-2", PROMPT, {}, []]]
    assert cancel.cancel(client, "id-1") == "Cancelled: job id-1 left the queue unrun."
    assert [item[1] for item in comfy.pending] == ["id-2"]
    assert comfy.posted == [("/queue", {"delete": ["id-1"]})]


def test_a_running_job_is_interrupted_by_its_id_and_its_end_awaited(comfy, client):
    comfy.running = [[1, "id-1", PROMPT, {}, []]]
    assert "has not done so yet. It may still run." in cancel.cancel(client, "id-1", patience=0.0)
    ended = {**RECORD, "status": {"messages": [["execution_interrupted", {"node_id": "9"}]]}}
    threading.Timer(0.3, lambda: (comfy.history.update({"id-1": ended}), comfy.running.clear())).start()
    assert cancel.cancel(client, "id-1") == "Cancelled: the server confirms that job id-1 has stopped."
    assert comfy.posted == [("/interrupt", {"prompt_id": "id-1"})] * 2


def test_a_job_that_ended_before_it_was_cancelled_is_not_called_cancelled(comfy, client):
    comfy.history = {"id-1": RECORD}
    assert cancel.cancel(client, "id-1").startswith("Too late: job id-1 had ended.")
    assert cancel.cancel(client, "id-2") == "The server has no job id-2."
    assert comfy.posted == []


def test_a_download_that_breaks_is_started_again_and_leaves_nothing_half(comfy, client, said, tmp_path):
    comfy.trouble = ["short"]
    (path,) = save.save_all(client, RECORD, tmp_path, overwrite=False)
    assert path.read_bytes() == CLIP
    assert said[0].startswith("The download broke (")
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("trouble", [["short"] * 3, ["gone"]])
def test_a_download_that_fails_leaves_the_folder_as_it_was(comfy, client, tmp_path, trouble, monkeypatch):
    monkeypatch.setattr(save.time, "sleep", lambda seconds: None)
    comfy.trouble = trouble
    with pytest.raises(SaveError, match=r"clip\.mp4"):
        save.save_all(client, RECORD, tmp_path, overwrite=True)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unless_told(comfy, client, tmp_path):
    for _ in range(3):
        save.save_all(client, RECORD, tmp_path / "new 小" / "folder", overwrite=False)
    folder = tmp_path / "new 小" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["clip (1).mp4", "clip (2).mp4", "clip.mp4"]
    (folder / "clip.mp4").write_bytes(b"old")
    assert save.save_all(client, RECORD, folder / "clip.mp4", overwrite=True) == [folder / "clip.mp4"]
    assert (folder / "clip.mp4").read_bytes() == CLIP
    (path,) = save.save_all(client, RECORD, folder / "mine.mp4", overwrite=False)
    assert path.name == "mine.mp4"


@on_linux
@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.ENOSYS])
def test_a_disk_that_confirms_nothing_costs_no_clip(comfy, client, said, tmp_path, code):
    (path,) = refusing_kernel.run(lambda: save.save_all(client, RECORD, tmp_path, overwrite=False), fsync=code)
    assert path.read_bytes() == CLIP
    assert [each.partition(" (")[0] for each in said] == ["The disk does not confirm that the clip is on it"]


@on_linux
def test_a_disk_that_is_full_at_the_last_moment_leaves_nothing(comfy, client, tmp_path):
    with pytest.raises(SaveError, match=r"could not be written: No space left .* It is on the server as clip\.mp4"):
        refusing_kernel.run(lambda: save.save_all(client, RECORD, tmp_path, overwrite=False), fsync=errno.ENOSPC)
    assert list(tmp_path.iterdir()) == []


def test_clips_of_one_job_never_replace_each_other(comfy, client, tmp_path):
    """Folders of the server are not made here, and names lose what some systems do not take."""
    places = [("clip.mp4", "a"), ("clip.mp4", "b"), ("a?.mp4", ""), ("a_.mp4", "")]
    files = [{"filename": name, "subfolder": folder, "type": "output"} for name, folder in places]
    record = {**RECORD, "outputs": {"9": {"images": files}}}
    for overwrite in (False, True):
        folder = tmp_path / str(overwrite)
        saved = save.save_all(client, record, folder, overwrite)
        assert sorted(path.name for path in folder.iterdir()) == ["a_ (1).mp4", "a_.mp4", "clip (1).mp4", "clip.mp4"]
        assert sorted(saved) == sorted(folder.iterdir())
    (tmp_path / "True" / "clip.mp4").write_bytes(b"old")
    save.save_all(client, record, tmp_path / "True", overwrite=True)
    assert (tmp_path / "True" / "clip.mp4").read_bytes() == CLIP


def test_a_folder_that_cannot_be_written_is_said_and_the_clip_stays_on_the_server(comfy, client, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SaveError, match=r"The clip could not be written: .* It is on the server as clip\.mp4\."):
        save.save_all(client, RECORD, tmp_path / "file" / "below", overwrite=False)


def test_a_clip_may_be_read_by_those_who_may_read_new_files(comfy, client, tmp_path, monkeypatch):
    monkeypatch.delattr("os.umask")  # it is the whole process's: other threads' files would come out with the wrong one
    (tmp_path / "new").touch()
    (path,) = save.save_all(client, RECORD, tmp_path, overwrite=False)
    assert path.stat().st_mode == (tmp_path / "new").stat().st_mode
    assert sorted(file.name for file in tmp_path.iterdir()) == ["clip.mp4", "new"]


def test_a_run_that_saved_nothing_says_so(comfy, client):
    preview = {"outputs": {"9": {"images": [{**FILE, "type": "temp"}], "text": ["words"]}}}
    with pytest.raises(RunError, match="saved nothing in the server's output folder"):
        save.save_all(client, preview, Path(), overwrite=False)


def test_ctrl_c_while_the_prompt_is_sent_cancels_what_may_have_arrived(comfy, client, monkeypatch):
    def interrupted(prompt, prompt_id, client_id):
        comfy.pending.append([1, prompt_id, prompt, {}, []])
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "submit", interrupted)
    with pytest.raises(job.CancelledError, match=r"^Cancelled: job .* left the queue unrun\.$") as error:
        job.submit(client, PROMPT, "me", Silent(), strict=False)
    assert error.value.exit_code == 130
    assert comfy.pending == []


def test_a_file_whose_name_no_address_can_hold_is_none(client, tmp_path):
    """JSON can write half a character, which is no text."""
    record = {**RECORD, "outputs": {"9": {"images": [{**FILE, "filename": "a\ud800.mp4"}]}}}
    with pytest.raises(RunError, match=r"saved nothing in the server's output folder"):
        save.save_all(client, record, tmp_path, overwrite=False)


@pytest.mark.slow
def test_a_clip_is_told_also_where_the_output_takes_few_letters(comfy, tmp_path):
    """On Windows that is so where it goes into a file or to another program."""
    comfy.history["id-1"] = RECORD
    told = subprocess.run(
        [sys.executable, str(ROOT / "client"), "fetch", "id-1", "--server", comfy.address, "--output", "\u5c0f"],
        cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, capture_output=True, timeout=60,
    )  # fmt: skip
    (clip,) = (tmp_path / "\u5c0f").iterdir()
    assert (told.returncode, told.stdout.decode().strip()) == (0, str(Path("\\u5c0f", clip.name))), told.stderr
