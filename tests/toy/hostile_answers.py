"""Answers of a ComfyUI, and how to say each of them wrongly: what `hostile.KINDS` is made of."""

import asyncio
import gzip
import json
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request, "Job"], Awaitable[web.StreamResponse]]


def box(kind: bytes, content: bytes = b"") -> bytes:
    """A part of an MP4."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


CLIP = box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov") + box(b"mdat", b"clip" * 1000)
PROMPT = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}, "_meta": {"title": "Your picture"}},
    "9": {"class_type": "Save", "inputs": {"images": ["1", 0], "crf": 18}, "_meta": {"title": "Save"}},
}
INFO: dict[str, Any] = {
    "LoadImage": {"input": {"required": {"image": [["a.png"], {"image_upload": True}]}}, "output_node": False},
    "Save": {"input": {"required": {"images": ["IMAGE"], "crf": ["INT", {"min": 1, "max": 51}]}}, "output_node": True},
}
FILE = {"filename": "clip.mp4", "subfolder": "video", "type": "output"}
ESCAPES = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202etxet \x07\x00\r\n"


@dataclass
class Job:
    """What the server knows of the last prompt of a kind."""

    id: str = ""
    asked: int = 0  # how often the queue was


@dataclass(frozen=True)
class Kind:
    """One way to do harm.

    Args:
        code: The client's exit code.
        words: In its last line on standard error; a regular expression.
        routes: The answers that differ: info, upload, prompt, queue, history, view, ws.
        saved: The names of the files that the client leaves.
    """

    code: int
    words: str
    routes: dict[str, Handler]
    saved: tuple[str, ...] = ()


def says(body: Any, status: int = 200, **headers: str) -> Handler:
    """Answers with JSON, or with bytes as they are."""

    async def handle(request: web.Request, job: Job) -> web.StreamResponse:
        said = body(job) if callable(body) else body
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        fields = {key.replace("_", "-"): value for key, value in headers.items()}
        return web.Response(body=data, status=status, headers=fields)

    return handle


def streams(pieces: Callable[[Job], Any], **headers: str) -> Handler:
    """Answers piece by piece, for as long as somebody listens."""

    async def handle(request: web.Request, job: Job) -> web.StreamResponse:
        response = web.StreamResponse(headers={key.replace("_", "-"): value for key, value in headers.items()})
        await response.prepare(request)
        try:
            for piece in pieces(job):
                await response.write(piece)
        except ConnectionError:
            pass
        return response

    return handle


def raw(*pieces: bytes, pause: float = 0.0, end: bool = True) -> Handler:
    """Writes bytes in place of an answer, one piece after the other."""

    async def handle(request: web.Request, job: Job) -> web.StreamResponse:
        transport = request.transport
        for piece in pieces:
            if transport is None or transport.is_closing():
                break
            transport.write(piece)
            await asyncio.sleep(pause)
        if transport is not None and end:
            transport.close()
        return web.Response()

    return handle


def tells(*messages: Any, forever: bool = False) -> Handler:
    """Sends messages over the websocket: texts, bytes, or functions that are given it."""

    async def handle(request: web.Request, job: Job) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        try:
            while not job.id:
                await asyncio.sleep(0.01)
            while True:
                for message in messages:
                    await tell(socket, message, job)
                if not forever:
                    break
                await asyncio.sleep(0)
            await socket.receive(30)
        except (ConnectionError, asyncio.TimeoutError):
            pass
        return socket

    return handle


async def tell(socket: web.WebSocketResponse, message: Any, job: Job) -> None:
    """Sends one message."""
    if callable(message):
        message = message(socket, job)
    if asyncio.iscoroutine(message):
        await message
    elif isinstance(message, bytes):
        await socket.send_bytes(message)
    else:
        await socket.send_str(message if isinstance(message, str) else json.dumps(message))


def progress(value: Any, most: Any, node: Any = "9") -> Callable[..., str]:
    """A message about the job."""
    return lambda _, job: json.dumps(
        {"type": "progress", "data": {"prompt_id": job.id, "node": node, "value": value, "max": most}}
    )


def executing(node: Any) -> Callable[..., str]:
    """A message that a node is at work."""
    return lambda _, job: json.dumps({"type": "executing", "data": {"prompt_id": job.id, "node": node}})


def SUCCESS(_: web.WebSocketResponse, job: Job) -> str:  # noqa: N802
    """The last message about a job."""
    return json.dumps({"type": "execution_success", "data": {"prompt_id": job.id}})


async def write_raw(socket: web.WebSocketResponse, *pieces: bytes) -> None:
    """Writes bytes of the websocket's own protocol."""
    transport = socket._req.transport  # type: ignore[union-attr]
    for piece in pieces:
        if transport is not None and not transport.is_closing():
            transport.write(piece)
            await asyncio.sleep(0)


def record(job: Job, *files: Any, **more: Any) -> dict[str, Any]:
    """The history of a job."""
    outputs = {"9": {"images": list(files or (FILE,)), "animated": [True], **more.pop("results", {})}}
    entry = {"prompt": [0, job.id, PROMPT, {}, ["9"]], "outputs": outputs, "status": {"messages": []}, **more}
    return {job.id: entry}


def named(name: Any, folder: Any = "") -> dict[str, Handler]:
    """The routes of a job that made a file of such a name."""
    return {"history": says(lambda job: record(job, {"filename": name, "subfolder": folder, "type": "output"}))}


def failed(**data: Any) -> dict[str, Handler]:
    """The routes of a job that failed."""
    status = {"status_str": "error", "messages": [["execution_error", data]]}
    return {"history": says(lambda job: record(job, status=status))}


def in_queue(*items: Any) -> Handler:
    """A queue of such jobs."""
    return says({"queue_running": list(items), "queue_pending": []})


def zeros(megabytes: int) -> list[bytes]:
    """Gzip that unfolds to so many megabytes."""
    return [gzip.compress(bytes(1_000_000))] * megabytes


RUNNING = says(lambda job: {"queue_running": [[0, job.id, PROMPT, {}, ["9"]]], "queue_pending": []})
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ODD = b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n{}"
HOLLOW = gzip.compress(b"")[:10]  # the head of gzip; parts of five bytes without content may follow without end
ZIP = {"Content_Encoding": "gzip"}
DEEP = b"[" * 200_000
NO_COMFYUI = r"does not answer as a ComfyUI does \(HTTP 200\)"
ODD_INFO = {
    "LoadImage": {"input": {"required": {"image": [["a.png", ["b"], {}, None], {"image_upload": True}]}}},
    "Save": {
        "input": {"required": {"crf": ["INT", {"min": "x", "max": float("nan"), "tooltip": 5}]}, "optional": None},
    },
}


async def normal_info(request: web.Request, job: Job) -> web.StreamResponse:
    name = request.match_info["rest"].rpartition("/")[2]
    return web.json_response({name: INFO[name]} if name in INFO else {})


async def normal_prompt(request: web.Request, job: Job) -> web.StreamResponse:
    return web.json_response({"prompt_id": job.id, "number": 1, "node_errors": {}})


async def normal_queue(request: web.Request, job: Job) -> web.StreamResponse:
    job.asked += 1
    return await (RUNNING if job.asked == 1 else in_queue())(request, job)


NORMAL: dict[str, Handler] = {
    "info": normal_info,
    "upload": says({"name": "x.png", "subfolder": "", "type": "input"}),
    "prompt": normal_prompt,
    "queue": normal_queue,
    "history": says(record),
    "view": says(CLIP),
    "ws": tells(executing("9"), progress(1, 4), SUCCESS),
    "jobs": says({"error": "Job not found"}, 404),
}
