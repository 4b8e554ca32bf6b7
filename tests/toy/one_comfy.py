"""A ComfyUI on the loopback address that keeps its contract, at any speed, and breaks it where it is told to.

It has one queue and makes one clip at a time, which takes a random time. A fault is a connection that breaks before
or after a request was heard, an answer of somebody in between, a failed node, or a restart that forgets queue and
history. `made` counts what was computed: of a job that is done twice, twice.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from .comfy_prompts import INFO, PRICES, clip, key


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
        last: It is the last node that fails, so that what came before it is remembered, and not run again.
    """

    unheard: float = 0.0
    unanswered: float = 0.0
    between: float = 0.0
    failing: float = 0.0
    restarts: float = 0.0
    kind: str = "RuntimeError"
    last: bool = False


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
        self.numbers: dict[str, Any] = {"sharpness": 1.5, "verdict": "no number"}  # that are measured of a clip
        self.drawn = 0.0  # seconds that its jobs took, as they were drawn
        self.runner: web.AppRunner | None = None
        self.new = asyncio.Event()
        self.files: dict[str, dict[str, Any]] = {}
        self.remembered: set[str] = set()  # jobs of which all but the last node was run
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
        if key(item[2]) in self.remembered:
            times.append(["execution_cached", {"nodes": ["1", "7"]}])
        if failed and self.faults.last:
            self.remembered.add(key(item[2]))
        times.append(["execution_error" if failed else "execution_success", words])
        outputs: dict[str, Any] = {"9": {"images": [self.file(item)], "animated": [True]}}
        if self.words:
            outputs["9"]["text"] = [self.words]
        outputs["9"]["numbers"] = [self.numbers]
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
