"""Many ComfyUIs on the loopback address that keep its contract, at any speed, and break it where they are told to.

    python tests/toy/comfies.py SERVERS SEED FROM TO FAULTS      prints their addresses, a JSON list, and serves

Each has one queue and makes one clip at a time, which takes a random time. A fault is a connection that breaks before
or after a request was heard, an answer of somebody in between, a failed node, or a restart that forgets queue and
history. `made` counts what was computed: of a job that is done twice, twice.
"""

import asyncio
import contextlib
import itertools
import json
import random
import struct
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

PROMPT = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}, "_meta": {"title": "Your picture"}},
    "7": {"class_type": "Sample", "inputs": {"images": ["1", 0], "seed": 0, "steps": 4}, "_meta": {"title": "Sampler"}},
    "9": {"class_type": "Save", "inputs": {"images": ["7", 0], "crf": 18}, "_meta": {"title": "Save"}},
}
HOSTED: dict[str, Any] = {
    "1": PROMPT["1"],
    "7": {
        "class_type": "Wan22Turbo_Hosted",
        "inputs": {
            "image": ["1", 0],
            "prompt": "x",
            "model": "Toy: i2v",
            "resolution": "480p",
            "duration": 5,
            "seed": 0,
        },
        "_meta": {"title": "Hosted"},
    },
    "9": PROMPT["9"],
}
INFO: dict[str, Any] = {
    "LoadImage": {"input": {"required": {"image": [["a.png"], {"image_upload": True}]}}, "output_node": False},
    "Sample": {
        "input": {
            "required": {
                "images": ["IMAGE"],
                "seed": ["INT", {"min": 0, "max": 2**53}],
                "steps": ["INT", {"min": 1, "max": 8}],
            }
        },
        "output_node": False,
    },
    "Save": {"input": {"required": {"images": ["IMAGE"], "crf": ["INT", {"min": 1, "max": 51}]}}, "output_node": True},
    "Wan22Turbo_Hosted": {
        "input": {
            "required": {
                "image": ["IMAGE"],
                "prompt": ["STRING", {}],
                "model": [["Toy: i2v", "Toy: unpriced"], {}],
                "resolution": [["480p", "720p"], {}],
                "duration": ["INT", {"min": 5, "max": 8, "step": 3}],
                "seed": ["INT", {"min": 0, "max": 2**31}],
            }
        },
        "output_node": False,
    },
}
MADE = "made.log"
PRICES = {"480p": 0.1, "720p": 0.2}


def box(kind: bytes, content: bytes = b"") -> bytes:
    """A part of an MP4."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def clip(prompt: dict[str, Any], size: int = 0) -> bytes:
    """An MP4 without pictures, which tells what it was made of, and is so large."""
    return box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov") + box(b"mdat", key(prompt).encode() + bytes(size))


def key(prompt: dict[str, Any]) -> str:
    """What tells one job from another."""
    return json.dumps([node["inputs"] for node in prompt.values()], sort_keys=True)


@dataclass
class Faults:
    """How often something goes wrong, each between 0 and 1.

    Args:
        unheard: A request whose connection breaks before it is heard.
        unanswered: One that is heard, and not answered.
        between: One that somebody in between answers.
        failing: A job whose node fails.
        restarts: A job in whose middle the server starts again, without its queue and history.
        kind: Of the error with which a node fails.
    """

    unheard: float = 0.0
    unanswered: float = 0.0
    between: float = 0.0
    failing: float = 0.0
    restarts: float = 0.0
    kind: str = "RuntimeError"


@dataclass
class Comfy:
    """One server.

    Args:
        seconds: From and to, that a job takes.
        lacks: Classes that it does not know.
    """

    seconds: tuple[float, float] = (0.0, 0.0)
    faults: Faults = field(default_factory=Faults)
    lacks: set[str] = field(default_factory=set)
    chance: random.Random = field(default_factory=random.Random)
    port: int = 0

    def __post_init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.posted: Counter[str] = Counter()
        self.requests = 0
        self.uploads = 0
        self.deepest = 0
        self.hold = False  # no job ends while it is set
        self.log: Path | None = None
        self.size = 0  # bytes that each clip has beside what tells it from others
        self.down = False  # every connection breaks
        self.words = ""  # that nodes say, failing or not
        self.drawn = 0.0  # seconds that its jobs took, as they were drawn
        self.runner: web.AppRunner | None = None
        self.new = asyncio.Event()
        self.files: dict[str, dict[str, Any]] = {}
        self.forget()

    def forget(self) -> None:
        """Starts again: nothing is left of queue and history, but its files."""
        self.queue: deque[list[Any]] = deque()
        self.running: list[Any] | None = None
        self.history: dict[str, Any] = {}
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.number = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application(middlewares=[self.between], client_max_size=64 << 20)
        app.add_routes(
            [
                web.get("/system_stats", self.system),
                web.get("/object_info/{name}", self.info), web.get("/queue", self.get_queue),
                web.get("/history/{id}", self.get_history), web.get("/view", self.view), web.get("/ws", self.ws),
                web.get("/wan22_turbo/hosted", self.price), web.post("/upload/image", self.upload),
                web.post("/prompt", self.prompt), web.post("/queue", self.delete),
                web.post("/interrupt", self.interrupt),
            ]
        )  # fmt: skip
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port, backlog=1024)
        await site.start()
        self.port = self.runner.addresses[0][1]
        self.worker = asyncio.get_running_loop().create_task(self.work())

    async def stop(self) -> None:
        self.worker.cancel()
        if self.runner is not None:
            await self.runner.cleanup()

    @web.middleware
    async def between(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """What may happen to any request."""
        self.requests += 1
        lot = self.chance.random()
        faults = self.faults
        if self.down or lot < faults.unheard:
            return self.broken(request)
        if lot < faults.unheard + faults.between:
            return web.Response(status=502, text="<html>Bad gateway</html>")
        answer = await handler(request)
        return self.broken(request) if lot < faults.unheard + faults.between + faults.unanswered else answer

    def broken(self, request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def work(self) -> None:
        """Makes one clip after another."""
        while True:
            while not self.queue:
                self.new.clear()
                await self.new.wait()
            self.running = item = self.queue.popleft()
            began = time.monotonic()
            await self.tell(item, "executing", node="7")
            seconds = self.chance.uniform(*self.seconds)
            self.drawn += seconds
            await asyncio.sleep(seconds)
            while self.hold and self.running is item:
                await asyncio.sleep(0.01)
            if self.running is not item:  # interrupted
                continue
            if self.chance.random() < self.faults.restarts:
                self.forget()
                continue
            failed = self.chance.random() < self.faults.failing
            if not failed:
                self.made[key(item[2])] += 1
                if self.log is not None:
                    with self.log.open("a", encoding="utf-8") as log:
                        log.write(key(item[2]) + "\n")
            self.end(item, failed, began)
            await self.tell(item, "execution_success")
            await self.tell(item, "executing", node=None)

    def end(self, item: list[Any], failed: bool, began: float) -> None:
        """Puts a job into the history."""
        now = time.time() * 1000
        times = [["execution_start", {"timestamp": now - 1000 * (time.monotonic() - began)}]]
        words = {"timestamp": now, "node_id": "7", "exception_message": self.words or "Out of luck."}
        words["exception_type"] = self.faults.kind
        times.append(["execution_error" if failed else "execution_success", words])
        outputs: dict[str, Any] = {"9": {"images": [self.file(item)], "animated": [True]}}
        if self.words:
            outputs["9"]["text"] = [self.words]
        outputs["9"]["numbers"] = [{"sharpness": 1.5, "verdict": "no number"}]
        node = item[2]["7"]
        if node["class_type"] == "Wan22Turbo_Hosted":
            outputs["7"] = {"text": ["Paid."], "usd": [PRICES[node["inputs"]["resolution"]]]}
        status = {"status_str": "error" if failed else "success", "messages": times}
        if not failed:
            self.files[self.file(item)["filename"]] = item[2]
        self.history[item[1]] = {"prompt": item, "outputs": {} if failed else outputs, "status": status}
        self.running = None

    def file(self, item: list[Any]) -> dict[str, str]:
        return {"filename": f"clip_{item[1]}.mp4", "subfolder": "video", "type": "output"}

    async def tell(self, item: list[Any], kind: str, **more: Any) -> None:
        """Sends a message about a job to the client that posted it."""
        socket = self.sockets.get(item[3]["client_id"])
        if socket is not None and not socket.closed:
            with contextlib.suppress(ConnectionError):
                await socket.send_json({"type": kind, "data": {"prompt_id": item[1], **more}})

    # The routes

    async def info(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.json_response({name: INFO[name]} if name in INFO and name not in self.lacks else {})

    async def system(self, request: web.Request) -> web.Response:
        system = {"comfyui_version": "0.30.0", "python_version": "3.11.2", "pytorch_version": "2.13.0"}
        system["argv"] = "/home/ada/main.py"
        return web.json_response({"system": system, "devices": [{"name": "a card", "vram_total": 1}]})

    async def upload(self, request: web.Request) -> web.Response:
        self.uploads += 1
        part = await (await request.multipart()).next()
        await part.read()  # type: ignore[union-attr]
        return web.json_response({"name": part.filename, "subfolder": "", "type": "input"})  # type: ignore[union-attr]

    async def prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        prompt = body["prompt"]
        crf = prompt["9"]["inputs"]["crf"]
        if not 1 <= crf <= 51:
            error = {"type": "value_bigger_than_max", "message": "x", "details": "", "extra_info": {
                "input_name": "crf", "received_value": crf, "input_config": ["INT", {"max": 51}]}}  # fmt: skip
            told = {"9": {"errors": [error], "dependent_outputs": ["9"], "class_type": "Save"}}
            return web.json_response({"error": {"type": "x", "message": "x"}, "node_errors": told}, status=400)
        self.number += 1
        self.posted[key(prompt)] += 1
        self.queue.append([self.number, body["prompt_id"], prompt, {"client_id": body["client_id"]}, ["9"]])
        self.deepest = max(self.deepest, len(self.queue) + (self.running is not None))
        self.new.set()
        return web.json_response({"prompt_id": body["prompt_id"], "number": self.number, "node_errors": {}})

    async def get_queue(self, request: web.Request) -> web.Response:
        running = [self.running] if self.running else []
        return web.json_response({"queue_running": running, "queue_pending": list(self.queue)})

    async def get_history(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        return web.json_response({name: self.history[name]} if name in self.history else {})

    async def view(self, request: web.Request) -> web.Response:
        prompt = self.files.get(request.query["filename"])
        if prompt is None:
            return web.Response(status=404)
        return web.Response(body=clip(prompt, self.size), content_type="video/mp4")

    async def price(self, request: web.Request) -> web.Response:
        if "prices" in self.lacks:  # as an early version of this pack
            return web.Response(status=404, text="404: Not Found")
        usd = None if "unpriced" in request.query["model"] else PRICES[request.query["resolution"]]
        return web.json_response({"text": "", "usd": usd})

    async def delete(self, request: web.Request) -> web.Response:
        gone = (await request.json())["delete"]
        self.queue = deque(item for item in self.queue if item[1] not in gone)
        return web.Response()

    async def interrupt(self, request: web.Request) -> web.Response:
        if self.running and self.running[1] == (await request.json())["prompt_id"]:
            self.end(self.running, True, time.monotonic())
        return web.Response()

    async def ws(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets[request.query["clientId"]] = socket
        async for _ in socket:
            pass
        self.sockets.pop(request.query["clientId"], None)
        return socket


def end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Stops a loop that runs in a thread, and closes it when its connections are closed: else one warns much later."""
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    for _ in range(3):  # a close is called in the turn after the one that asks for it
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()


class Comfies:
    """Servers on a thread of their own, within a `with` block."""

    def __init__(self, *comfies: Comfy):
        self.comfies = comfies
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> "Comfies":
        self.thread.start()
        for comfy in self.comfies:
            self.call(comfy.start())
        return self

    def __exit__(self, *_: object) -> None:
        for comfy in self.comfies:
            self.call(comfy.stop())
        end(self.loop, self.thread)

    def call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    @property
    def addresses(self) -> list[str]:
        return [comfy.address for comfy in self.comfies]

    def made(self) -> Counter[str]:
        return sum((comfy.made for comfy in self.comfies), Counter())


async def serve(count: int, seed: int, seconds: tuple[float, float], faults: Faults) -> None:
    """Serves, and answers each line of standard input with what was made so far."""
    comfies = [Comfy(seconds, faults, chance=random.Random(seed + number)) for number in range(count)]
    for comfy in comfies:
        await comfy.start()
    say([comfy.address for comfy in comfies])
    while await asyncio.to_thread(sys.stdin.readline):
        made = sum((comfy.made for comfy in comfies), Counter())
        posted = sum(comfy.posted.total() for comfy in comfies)
        drawn = sum(comfy.drawn for comfy in comfies)
        say({"jobs": len(made), "made": made.total(), "posted": posted, "drawn": drawn})


def say(value: Any) -> None:
    """Prints JSON at once."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def alone(arguments: list[str]) -> None:
    """Serves as ComfyUI's main.py does, and writes down each clip that is made, in its output folder."""
    named = dict(itertools.pairwise(arguments))
    comfy = Comfy((0.05, 0.1), port=int(named["--port"]))
    comfy.log = Path(named["--output-directory"]) / MADE
    if "--lacks" in named:
        comfy.lacks = {named["--lacks"]}
    await comfy.start()
    await asyncio.Event().wait()


def folder_of_one(folder: Path) -> Path:
    """Makes what looks like a ComfyUI's folder, whose main.py runs one of these."""
    folder.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).resolve().parent
    lines = ["import asyncio, sys", f"sys.path.insert(0, {str(here)!r})"]
    lines += ["import comfies", "asyncio.run(comfies.alone(sys.argv))"]
    (folder / "main.py").write_text("\n".join(lines), encoding="utf-8")
    return folder


if __name__ == "__main__":
    _, count, seed, low, high, faults = sys.argv
    asyncio.run(serve(int(count), int(seed), (float(low), float(high)), Faults(**json.loads(faults))))
