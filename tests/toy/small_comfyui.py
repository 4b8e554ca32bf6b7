"""A ComfyUI of some routes on the loopback address, with trouble on request."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .hostile_answers import CLIP

PROMPT = {"9": {"class_type": "Save", "inputs": {}, "_meta": {"title": "Save"}}}
FILE = {"filename": "clip.mp4", "subfolder": "video", "type": "output"}
NOT_TAKEN = {"lost", "redirect", "500", "401", "404"}  # what keeps a prompt from the server, or is said without it
RECORD = {"prompt": [0, "id", PROMPT], "outputs": {"9": {"images": [FILE], "animated": [True]}}, "status": {}}


class Routes(BaseHTTPRequestHandler):
    """ComfyUI's routes, as far as the client calls them; `comfy.trouble` names what goes wrong next."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    @property
    def comfy(self):
        return self.server.comfy

    def do_GET(self):
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        self.comfy.asked.append((path, query, dict(self.headers)))
        if self.comfy.trouble and self.comfy.trouble[0] not in ("short", "gone"):
            self.between(self.comfy.trouble.pop(0))
        elif path.startswith("/object_info/"):
            name = path.rpartition("/")[2]
            self.reply(200, {name: {"input": {}, "output_node": True}})
        elif path == "/queue":
            self.reply(200, {"queue_running": self.comfy.running, "queue_pending": self.comfy.pending})
        elif path.startswith("/history/"):
            name = path.rpartition("/")[2]
            self.reply(200, {name: self.comfy.history[name]} if name in self.comfy.history else {})
        elif path.startswith("/api/jobs/"):
            known = self.comfy.alone.get(path.rpartition("/")[2])
            self.reply(200 if known else 404, known or {"error": "Job not found"})
        elif path == "/view":
            self.view()
        else:
            self.reply(404, b"")

    def view(self):
        if not self.comfy.trouble:
            return self.reply(200, CLIP)
        if self.comfy.trouble.pop(0) == "short":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CLIP)))
            self.end_headers()
            self.wfile.write(CLIP[:100])
            self.close_connection = True
            return None
        return self.reply(404, b"")

    def between(self, trouble):
        """Answers in place of ComfyUI, as something between does: with a status, or a page."""
        status = {"away": 502, "page": 200}.get(trouble) or int(trouble)
        page = b"<!DOCTYPE html><title>Please wait</title>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(page)))
        if status == 429:
            self.send_header("Retry-After", self.comfy.retry_after)
        if status in (301, 302, 303, 307, 308):
            self.send_header("Location", self.comfy.leads_to)
        self.end_headers()
        self.wfile.write(page)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        trouble = self.comfy.trouble.pop(0) if self.comfy.trouble else ""
        if self.path == "/upload/image":
            self.comfy.posted.append((self.path, body))
            return self.between(trouble) if trouble else self.reply(200, {"name": "cat.png", "subfolder": ""})
        body = json.loads(body)
        self.comfy.posted.append((self.path, body))
        if self.path == "/prompt" and trouble not in NOT_TAKEN:
            self.comfy.running.append([0, body["prompt_id"], body["prompt"], {}, self.comfy.makes])
        if self.path == "/interrupt" and self.comfy.stops:
            self.comfy.running.clear()
        if trouble.startswith("took "):
            return self.between(trouble.removeprefix("took "))
        if self.path == "/queue":
            if trouble:
                return self.between(trouble)
            self.comfy.pending[:] = [item for item in self.comfy.pending if item[1] not in body["delete"]]
        if trouble in ("lost", "answer lost"):
            self.close_connection = True
            return None
        if trouble == "redirect":
            self.send_response(307)
            self.send_header("Location", "http://127.0.0.1:9/prompt")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return self.reply(int(trouble or 200), {"prompt_id": body.get("prompt_id"), "node_errors": {}})

    def reply(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Comfy:
    """The other side: what it was asked, what it has, what goes wrong next."""

    def __init__(self):
        self.asked, self.posted, self.running, self.pending, self.history, self.trouble = [], [], [], [], {}, []
        self.makes, self.retry_after, self.leads_to = ["9"], "0", "/login"
        self.alone, self.stops = {}, False
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Routes)
        self.http.comfy = self
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.http.server_port}"

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
