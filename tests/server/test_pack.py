"""The pack as ComfyUI meets it: registered, quiet at import, its graph offered as a template."""

import pytest

pytestmark = pytest.mark.server


def test_every_node_is_registered(server):
    registered = [name for name in server.get("/object_info") if name.startswith("Wan22Turbo_")]
    assert len(registered) == 9


def test_the_server_starts_without_a_complaint_about_the_pack(server):
    log = server.log.read_text(encoding="utf-8", errors="replace")
    assert "IMPORT FAILED" not in log
    assert [line for line in log.splitlines() if "another name" in line and "seconds:" not in line] == []


def test_the_shipped_graph_is_offered_as_a_template(server):
    assert server.get("/workflow_templates")["another name"] == ["wan22_turbo_i2v"]


def test_a_proxy_for_the_package_index_is_not_asked_for_this_machine(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert "system" in server.get("/system_stats")
