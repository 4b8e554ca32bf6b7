"""A provider of hosted models on the loopback address: a real HTTP server that keeps the contract which they all share,
and breaks it where a test says so. Written from the providers' documentation, not from `hosted/`.
"""

import asyncio
import itertools
import threading
import time
import urllib.parse
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from .clip import clip
from .comfies import end

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Effect = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]

KEY = "canary-7f3e9b52d1c84a06"
SIGNATURE = "sig-5a1d0c77e2"  # of the address of a clip, which is a secret too


@dataclass
class Job:
    """A job that a provider has taken, and charges for unless it fails."""

    id: str
    model: str
    inputs: dict[str, Any]
    began: float = field(default_factory=time.time)
    verdict: dict[str, Any] | None = None  # what a failed one says
    downloads: int = 0


class Provider(ABC):
    """One provider. Subclasses say how it differs.

    Attributes:
        seconds: How long a job takes.
        faults: phase (upload, submit, poll, download, history, price) -> effects on the next requests.
    """

    name = ""
    key_variable = ""  # where the pack looks for the key
    prefix = ""
    models: dict[str, set[str]]
    usd = 0.15
    lists_jobs = True
    told_price = ""  # the line of a report on the request of `toy/hosted.py`

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.uploads: dict[str, bytes] = {}
        self.posts = 0  # submissions that reached the server, whatever became of them
        self.requests: deque[tuple[str, str]] = deque(maxlen=10_000)
        self.leaks: list[str] = []
        self.problems: list[str] = []
        self.faults: dict[str, deque[Effect]] = {}
        self.seconds = 0.04
        self.flagged = False
        self.peak = 0
        self.numbers = itertools.count(1)
        self.origin = ""
        self.id_form = "{name}-{number:04}"

    # What differs

    @abstractmethod
    def routes(self) -> list[web.RouteDef]: ...

    def refuse(self, status: int, message: str) -> web.Response:
        return web.json_response({"code": status, "message": message, "data": None}, status=status)

    def failed(self, job: Job) -> web.Response:
        return web.json_response(self.envelope(job))

    def output(self, job: Job) -> Any:
        return f"{self.origin}/files/{urllib.parse.quote(job.id, safe='')}.mp4?signature={SIGNATURE}"

    # What they share

    @property
    def base(self) -> str:
        return self.origin + self.prefix

    @property
    def charged(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.verdict is None]

    def break_next(self, phase: str, *effects: Effect, forever: bool = False) -> None:
        self.faults[phase] = deque(effects * (1000 if forever else 1))

    def heal(self) -> None:
        self.faults.clear()

    def reset(self) -> None:
        """Forgets all but its address and its numbers: a ComfyUI that outlives a test would know the same id again."""
        kept = ("origin", "numbers")
        self.__dict__.update({name: value for name, value in type(self)().__dict__.items() if name not in kept})

    def guarded(self, phase: str, handler: Handler) -> Handler:
        """Checks the key, and lets a fault of the phase come first."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self.requests.append((phase, request.path))
            self.posts += phase == "submit"
            if self.faults.get(phase):
                return await self.faults[phase].popleft()(request, checked)
            return await checked(request)

        async def checked(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization") != f"Bearer {KEY}":
                return self.refuse(401, f"invalid api key {request.headers.get('Authorization', '')}")
            return await handler(request)

        return handle

    async def upload(self, request: web.Request) -> web.StreamResponse:
        part = await (await request.multipart()).next()
        assert isinstance(part, BodyPartReader)
        assert part.name == "file"
        content = bytes(await part.read())
        url = f"https://cdn.{self.name}.example/{next(self.numbers)}-{part.filename}?signature={SIGNATURE}"
        self.uploads[url] = content
        shape = {"type": "image", "download_url": url, "filename": part.filename, "size": len(self.uploads[url])}
        return web.json_response({"code": 200, "message": "success", "data": shape})

    def take(self, model: str, body: dict[str, Any]) -> web.Response:
        if model not in self.models:
            return self.refuse(404, f"model {model} not found")
        for name in sorted(set(body) - self.models[model]):
            self.problems.append(f"{model} does not take {name}")
        if body.get("image") not in self.uploads or not body.get("prompt"):
            return self.refuse(400, "image and prompt are required")
        job = Job(self.id_form.format(name=self.name, number=next(self.numbers)), model, body)
        self.jobs[job.id] = job
        self.peak = max(self.peak, sum(time.time() < each.began + self.seconds for each in self.charged))
        return web.json_response(self.envelope(job))

    async def submit(self, request: web.Request) -> web.StreamResponse:
        return self.take(request.match_info["model"], await request.json())

    async def poll(self, request: web.Request) -> web.StreamResponse:
        job = self.jobs.get(request.match_info["id"])
        if job is None:
            return self.refuse(404, "task not found")
        return self.failed(job) if job.verdict else web.json_response(self.envelope(job))

    def status(self, job: Job) -> str:
        age = time.time() - job.began
        return "created" if age < self.seconds / 3 else "processing" if age < self.seconds else "completed"

    def envelope(self, job: Job) -> dict[str, Any]:
        status = self.status(job)
        done = status == "completed"
        data = {
            "id": job.id,
            "model": job.model,
            "status": status,
            "outputs": [self.output(job)] if done else [],
            "urls": {"get": f"https://elsewhere.example/predictions/{job.id}/result"},
            "has_nsfw_contents": [self.flagged] if done else [],
            "error": "",
            **(job.verdict or {}),
        }
        return {"code": 200, "message": "success", "data": data}

    async def download(self, request: web.Request) -> web.StreamResponse:
        if "Authorization" in request.headers or KEY in request.path_qs:
            self.leaks.append(request.path)
        job = self.jobs.get(request.match_info["id"])
        if job is None or request.query.get("signature") != SIGNATURE:
            return web.Response(status=403)
        job.downloads += 1
        return web.Response(body=clip(), content_type="video/mp4")

    async def file(self, request: web.Request) -> web.StreamResponse:
        if self.faults.get("download"):
            return await self.faults["download"].popleft()(request, self.download)
        return await self.download(request)


class Running:
    """Providers that serve from a thread of their own, within a `with` block."""

    def __init__(self, *providers: Provider):
        self.providers = providers
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.runners: list[web.AppRunner] = []

    def __enter__(self) -> "Running":
        self.thread.start()
        for provider in self.providers:
            asyncio.run_coroutine_threadsafe(self.start(provider), self.loop).result(10)
        return self

    async def start(self, provider: Provider) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.add_routes([*provider.routes(), web.get("/files/{id}.mp4", provider.file)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        provider.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.runners.append(runner)

    def __exit__(self, *_: object) -> None:
        for runner in self.runners:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), self.loop).result(10)
        end(self.loop, self.thread)

    def named(self, name: str) -> Provider:
        return next(each for each in self.providers if each.name == name)

    def environment(self) -> dict[str, str]:
        """The variables that lead the pack here."""
        urls = {f"WAN22_TURBO_{each.name.upper()}_URL": each.base for each in self.providers}
        return {**urls, **{each.key_variable: KEY for each in self.providers}}
