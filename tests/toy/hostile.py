"""A ComfyUI that means harm, or is broken: a loopback server that answers as a real one does, but for one thing.

What that is, the first part of the path says: http://127.0.0.1:PORT/KIND. `KINDS` lists them, with what a client must
make of each.
"""

import asyncio
import gzip
import struct
import threading
from collections import Counter

from aiohttp import web

from .hostile_answers import (
    CLIP,
    DEEP,
    ESCAPES,
    FILE,
    HEAD,
    HOLLOW,
    NO_COMFYUI,
    NORMAL,
    ODD,
    ODD_INFO,
    PROMPT,
    RUNNING,
    ZIP,
    Job,
    Kind,
    executing,
    failed,
    in_queue,
    named,
    progress,
    raw,
    record,
    says,
    streams,
    tells,
    write_raw,
    zeros,
)

KINDS: dict[str, Kind] = {
    "good": Kind(0, "", {}, ("clip.mp4",)),
    # Shapes
    "info is a list": Kind(6, NO_COMFYUI, {"info": says([])}),
    "info is of numbers": Kind(6, NO_COMFYUI, {"info": says({"LoadImage": 5, "Save": {"input": 7}})}),
    "info is deep": Kind(6, NO_COMFYUI, {"info": says(b'{"LoadImage":' + DEEP)}),
    "info is odd": Kind(0, "", {"info": says(ODD_INFO)}, ("clip.mp4",)),
    "info lacks the nodes": Kind(3, "the server has no node of the class 'LoadImage'", {"info": says({})}),
    "upload is a list": Kind(6, NO_COMFYUI, {"upload": says([1])}),
    "upload is a number": Kind(6, NO_COMFYUI, {"upload": says({"name": 5})}),
    "prompt is a list": Kind(0, "", {"prompt": says([])}, ("clip.mp4",)),
    "prompt is lost for good": Kind(
        6, "was not sent a second time", {"prompt": says([]), "queue": in_queue(), "history": says({})}
    ),
    "another id": Kind(6, "another id than the one it was sent with", {"prompt": says({"prompt_id": "x" * 40})}),
    "an id that is a number": Kind(6, "another id", {"prompt": says({"prompt_id": 5})}),
    "a refusal of odd shapes": Kind(
        3, "It is refused",
        {"prompt": says({"error": 5, "node_errors": {"1": {"errors": [5, {"type": [], "extra_info": 3}]}}}, 400)},
    ),
    "a refusal without end": Kind(
        3, "And 19950 more of this kind",
        {"prompt": says({"node_errors": {"1": {"errors": [
            {"type": "x", "message": f"{ESCAPES} {n}"} for n in range(20_000)]}}}, 400)},
    ),
    "queue is an object": Kind(6, NO_COMFYUI, {"queue": says({"queue_running": {}, "queue_pending": 5})}),
    "queue is of numbers": Kind(6, NO_COMFYUI, {"queue": in_queue([0, 5, 7])}),
    "queue without end": Kind(
        8, "has not ended in 0.5 seconds",
        {
            "queue": says(lambda job: {"queue_running": [], "queue_pending": [[0, job.id, PROMPT, {}, []]] * 50}),
            "history": says({}),
        },
    ),
    "history is a list": Kind(6, NO_COMFYUI, {"history": says([])}),
    "history is of numbers": Kind(6, NO_COMFYUI, {"history": says(lambda job: {job.id: {"prompt": 5, "outputs": []}})}),
    "history is deep": Kind(6, NO_COMFYUI, {"history": says(DEEP)}),
    "history forgets": Kind(5, "no longer has job", {"history": says({})}),
    "numbers that are none": Kind(
        0, "", {"history": says(lambda job: record(job, FILE, 5, None, results={"text": [float("nan"), 10**400]}))},
        ("clip.mp4",),
    ),
    # Sizes
    "queue of 100 MB": Kind(
        6, "does not answer as a ComfyUI does|more than 12 MB",
        {"queue": streams(lambda job: [b" " * 1_000_000] * 100), "jobs": says([])},
    ),
    "history of 100 MB": Kind(6, "more than 12 MB", {"history": streams(lambda job: [b"[1]," * 250_000] * 100)}),
    "history of many values": Kind(6, "more than 300000 values", {"history": says(b"[" + b"[],[]," * 1_900_000)}),
    "history that unfolds": Kind(6, "more than 12 MB", {"history": streams(lambda job: zeros(300), **ZIP)}),
    "history that never unfolds": Kind(
        6, "next to nothing in it", {"history": streams(lambda job: [gzip.compress(b"") * 500] * 3000, **ZIP)}
    ),
    "a clip that never unfolds": Kind(
        7, "next to nothing in it", {"view": streams(lambda job: [HOLLOW, *[b"\0\0\0\xff\xff" * 9999] * 100], **ZIP)}
    ),
    "a clip that unfolds": Kind(
        7, "is no MP4, as it begins", {"view": streams(lambda job: zeros(20), **ZIP)}
    ),
    "a clip without end": Kind(
        7, "has more than 0 GB, and is not saved", {"view": streams(lambda job: [CLIP + b"\0" * 1_000_000] * 1000)}
    ),
    "headers of 1 MB": Kind(6, "No ComfyUI answers", {"queue": raw(HEAD + b"X-A: %s\r\n\r\n{}" % (b"a" * 1_000_000))}),
    "files without end": Kind(
        7, "made 30000 files, and at most 1000",
        {"history": says(lambda job: record(job, *({**FILE, "filename": f"{n}.mp4"} for n in range(30_000))))},
    ),
    # Bytes and times
    "bytes that drip": Kind(
        6, "bytes came in", {"queue": raw(HEAD + b"Content-Length: 900\r\n\r\n", *[b" "] * 400, pause=0.02)}
    ),
    "headers that drip": Kind(6, "no whole answer in", {"queue": raw(HEAD, *[b"X: 1\r\n"] * 400, pause=0.02)}),
    "no HTTP": Kind(6, "No ComfyUI answers", {"queue": raw(b"\x16\x03\x01\0\xff\xfe" * 30)}),
    "a status of 999": Kind(6, "HTTP 999", {"queue": raw(b"HTTP/1.1 999 \xff\r\nContent-Length: 2\r\n\r\n{}")}),
    "a length of words": Kind(6, "No ComfyUI answers", {"queue": raw(ODD % b"many")}),
    "a length below nothing": Kind(6, "No ComfyUI answers", {"queue": raw(ODD % b"-5")}),
    "Retry-After of years": Kind(6, "HTTP 429", {"queue": says(b"", 429, Retry_After="999999999")}),
    "redirects without end": Kind(
        6, r"leads to http://127\.0\.0\.1:\d+/redirects%20without%20end/ \(HTTP 302\)",
        {"queue": says(b"", 302, Location="?token=secret-word")},
    ),
    # Files
    "a name that leads out": Kind(0, "", named("../../../x.mp4", "../.."), ("x.mp4",)),
    "a name of Windows": Kind(0, "", named("C:\\a\\b<>|.mp4"), ("b___.mp4",)),
    "a device": Kind(0, "", named("con.mp4"), ("_con.mp4",)),
    "a long name": Kind(0, "", named("x" * 900 + ".mp4"), ("x" * 146 + ".mp4",)),
    "a name that turns": Kind(0, "", named("a\0b\u202e\x1b[31m4.mp4"), ("ab[31m4.mp4",)),
    "a program that turns": Kind(7, "no kind of file that is saved here", named("clip\u202e4pm.exe")),
    "a program": Kind(7, r"setup\.exe, which is no kind of file", named("setup.exe")),
    "a name of nothing": Kind(7, "a file without a name", named("\0\x1b\u202e")),
    "a name that is a number": Kind(1, "saved nothing", named(5)),
    "a clip that is a page": Kind(7, "as it begins with '<!DOCTYPE html>", {"view": says(b"<!DOCTYPE html>")}),
    "a clip that is compressed": Kind(7, "is no MP4, as it begins", {"view": says(gzip.compress(CLIP))}),
    "a clip in another code": Kind(7, "in the encoding 'br'", {"view": says(CLIP, Content_Encoding="br")}),
    "a clip of nothing": Kind(7, "it is empty", {"view": says(b"")}),
    "half a clip": Kind(7, "without its end", {"view": says(CLIP[:-9])}),
    "a short clip": Kind(7, "could not be downloaded", {"view": raw(ODD % b"9000")}),
    "a clip that is gone": Kind(7, "Somebody deleted or moved it", {"view": says(b"", 404)}),
    # Words
    "an error that steers": Kind(1, "Save failed: red", failed(node_id="9", exception_message=ESCAPES)),
    "an error of nothing": Kind(1, "Save failed: 5", failed(node_id="9", exception_message=5)),
    "an unknown node fails": Kind(1, "failed: no", failed(node_id=ESCAPES * 50, exception_message="no")),
    "texts without end": Kind(
        0, "", {"history": says(lambda job: record(job, results={"text": [ESCAPES * 20] * 2_000}))}, ("clip.mp4",)
    ),
    "the token, said back": Kind(
        1, r"Save failed: you gave \*\*\*, \*\*\*",
        {**failed(node_id="9", exception_message="you gave secret-word, secret-word"),
         "ws": tells(executing("secret-word"), progress(1, 2))},
    ),
    # The websocket
    "words that are no events": Kind(
        0, "",
        {"ws": tells("no JSON", "[1]", "5", '"x"', "NaN", DEEP.decode(), {"type": 5, "data": []}, {"type": "progress"},
                     "{" * 9, b"", b"\0\0\0\x63other", executing([1]), executing({}), executing("\x1b[2J" * 99))},
        ("clip.mp4",),
    ),
    "odd progress": Kind(
        0, "",
        {"ws": tells(*(progress(*pair) for pair in (
            (3, 4), (1, 4), (9, 4), (-5, 4), (float("nan"), 4), (1, float("inf")), (1, 0), ("1", "4"), (None, []),
            (10**400, 10**401), (1, 4, 7))))},
        ("clip.mp4",),
    ),
    "a frame of 500 MB": Kind(
        0, "",
        {"ws": tells(lambda socket, job: write_raw(
            socket, b"\x82\x7f" + struct.pack(">Q", 500_000_000), *[bytes(1_000_000)] * 30))},
        ("clip.mp4",),
    ),
    "frames of 7 MB": Kind(
        8, "has not ended in 0.5 seconds", {"ws": tells(bytes(7_000_000), forever=True), "queue": RUNNING}
    ),
    "fragments without end": Kind(
        0, "", {"ws": tells(lambda socket, job: write_raw(socket, b"\x01\0", *[b"\0\0" * 1000] * 200))}, ("clip.mp4",)
    ),
    "progress without end": Kind(
        8, "has not ended in 0.5 seconds",
        {"ws": tells(progress(1, 10**9), progress(2, 10**9), executing("1"), executing("9"), forever=True),
         "queue": RUNNING},
    ),
    "pings alone": Kind(
        8, "has not ended in 0.5 seconds",
        {"ws": tells(lambda socket, job: socket.ping(), forever=True), "queue": RUNNING},
    ),
    "a close with words": Kind(
        0, "", {"ws": tells(lambda socket, job: socket.close(code=4999, message=ESCAPES.encode()[:100]))}, ("clip.mp4",)
    ),
    "no websocket": Kind(0, "", {"ws": says(b"", 302, Location="?")}, ("clip.mp4",)),
}  # fmt: skip


class Hostile:
    """All of them on one port.

    Attributes:
        prompts: How many prompts were posted, by kind.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.prompts: Counter[str] = Counter()
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.ended = asyncio.Event()
        self.port = 0
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.serve(),))
        self.thread.start()
        self.ready.wait()

    async def serve(self) -> None:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_route("*", "/{kind}/{rest:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self.ready.set()
        await self.ended.wait()
        await runner.cleanup()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        kind, rest = request.match_info["kind"], request.match_info["rest"]
        job = self.jobs.setdefault(kind, Job())
        first = rest.partition("/")[0]
        route = {"object_info": "info", "api": "jobs"}.get(first, first)
        if route == "prompt":
            self.prompts[kind] += 1
            job.id = (await request.json())["prompt_id"]
        if route == "upload":
            await request.read()
        return await {**NORMAL, **KINDS[kind].routes}[route](request, job)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.ended.set)
        self.thread.join()
        self.loop.close()


__all__ = ["CLIP", "KINDS", "PROMPT", "Hostile"]
