"""The three providers on the loopback address, each in its own dialect of the contract of `loopback.py`.

`python -m tests.toy.providers` runs them until it is interrupted, for a look at the node without an account.
"""

import json
import sys
from typing import Any

from aiohttp import web

from .loopback import Job, Provider, Running

_LORAS = {"loras", "high_noise_loras", "low_noise_loras"}
_BASE = {"image", "prompt", "seed"}
_CHOICE = _BASE | {"resolution", "duration"}
_FULL = _BASE | {"duration", "negative_prompt", "last_image"}
_W = "wavespeed-ai/wan-2.2"
WAVESPEED_MODELS = {
    f"{_W}/image-to-video": _FULL | {"resolution"},
    f"{_W}/image-to-video-lora": _FULL | {"resolution"} | _LORAS,
    **{f"{_W}/i2v-{size}{fast}": _FULL for size in ("480p", "720p") for fast in ("", "-ultra-fast")},
    **{f"{_W}/i2v-{size}-lora{fast}": _FULL | _LORAS for size in ("480p", "720p") for fast in ("", "-ultra-fast")},
    f"{_W}/i2v-5b-720p-lora": _BASE | {"loras"},
    f"{_W}-spicy/image-to-video": _CHOICE,
    f"{_W}-spicy/image-to-video-lora": _CHOICE | _LORAS,
}
ATLAS_MODELS = {
    "atlascloud/wan-2.2-turbo-spicy/image-to-video": _CHOICE,
    "atlascloud/wan-2.2-turbo-spicy/image-to-video-lora": _CHOICE | _LORAS - {"loras"},
    "atlascloud/wan-2.2-turbo/image-to-video": _CHOICE,
    "alibaba/wan-2.2-spicy/image-to-video": _CHOICE,
    "alibaba/wan-2.2-spicy/image-to-video-lora": _CHOICE | _LORAS,
    "atlascloud/wan-2.2/image-to-video": _CHOICE | {"negative_prompt"},
    "atlascloud/wan-2.2/image-to-video-lora": _CHOICE | {"negative_prompt"} | _LORAS,
    "alibaba/wan-2.2/i2v-480p": _BASE,
    "alibaba/wan-2.2/i2v-720p": _BASE,
}


class WaveSpeed(Provider):
    name, key_variable = "wavespeed", "WAVESPEED_API_KEY"
    prefix, models = "/api/v3", WAVESPEED_MODELS
    told_price = "Price: $0.15, as asked"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{self.prefix}/media/upload/binary", self.guarded("upload", self.upload)),
            web.post(f"{self.prefix}/model/price", self.guarded("price", self.price)),
            web.post(f"{self.prefix}/predictions", self.guarded("history", self.history)),
            web.get(self.prefix + "/predictions/{id}/result", self.guarded("poll", self.poll)),
            web.post(self.prefix + "/{model:.+}", self.guarded("submit", self.submit)),
        ]

    async def price(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        assert set(asked) == {"model_id", "inputs"}
        return web.json_response({"code": 200, "data": {"price": self.usd, "currency": "USD", **asked}})

    async def history(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        assert asked["include_inputs"]
        assert asked["page_size"] <= 100
        jobs = [job for job in self.jobs.values() if job.model == asked["model"]]
        items = [{"id": job.id, "model": job.model, "inputs": job.inputs} for job in reversed(jobs)]
        return web.json_response({"code": 200, "data": {"items": items, "total": len(items)}})


class AtlasCloud(Provider):
    name, key_variable = "atlascloud", "ATLASCLOUD_API_KEY"
    prefix, models = "/api/v1", ATLAS_MODELS
    told_price = "Price: $0.10 charged"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{self.prefix}/model/uploadMedia", self.guarded("upload", self.upload)),
            web.get(f"{self.prefix}/model/history", self.guarded("history", self.history)),
            web.get(self.prefix + "/model/prediction/{id}", self.guarded("poll", self.poll)),
            web.post(f"{self.prefix}/model/generateVideo", self.guarded("submit", self.submit)),
        ]

    def refuse(self, status: int, message: str) -> web.Response:
        return web.json_response({"code": status, "msg": message}, status=status)

    def failed(self, job: Job) -> web.Response:
        body = {"code": 500, "message": "task failed", "data": job.verdict}
        return web.json_response(body, status=500)

    def output(self, job: Job) -> Any:
        return {"url": super().output(job)}

    def envelope(self, job: Job) -> dict[str, Any]:
        answer = super().envelope(job)
        return {**answer, "data": {**answer["data"], "price": 0.1}} if self.status(job) == "completed" else answer

    async def submit(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return self.take(body.pop("model"), body)

    async def history(self, request: web.Request) -> web.StreamResponse:
        jobs = [job for job in self.jobs.values() if job.model == request.query["model"]]
        items = [
            {"ID": job.id, "createdAt": int(job.began), "model": job.model,
             "requestBody": json.dumps({"model": job.model, **job.inputs})}
            for job in reversed(jobs)
        ]  # fmt: skip
        return web.json_response({"code": 200, "data": {"items": items}})


class Api302(Provider):
    name, key_variable = "api302", "API302_KEY"
    prefix, models = "/ws/api/v3", WAVESPEED_MODELS
    lists_jobs = False
    told_price = "Price: price unknown; no source of September 2026 names it"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{self.prefix}/media/upload/binary", self.guarded("upload", self.upload)),
            web.get(self.prefix + "/predictions/{id}/result", self.guarded("poll", self.poll)),
            web.post(self.prefix + "/{model:.+}", self.guarded("submit", self.submit)),
        ]

    def refuse(self, status: int, message: str) -> web.Response:
        return web.json_response(
            {"error": {"err_code": -status, "message": message, "message_cn": "错误"}}, status=status
        )


PROVIDERS: dict[str, type[Provider]] = {each.name: each for each in (WaveSpeed, AtlasCloud, Api302)}


if __name__ == "__main__":
    with Running(*(each() for each in PROVIDERS.values())) as running:
        for provider in running.providers:
            provider.seconds = 20.0
        sys.stdout.write("\n".join(f"export {name}={value}" for name, value in running.environment().items()) + "\n")
        sys.stdout.flush()
        running.thread.join()
