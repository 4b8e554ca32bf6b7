"""What the frontend asks while a graph is edited, so that it shows what a run will do without knowing how. Read-only.

Every answer holds `text`, to show as it is. Values that the node would refuse are answered too, with `refused` and the
sentence that the node would say; only a question that the frontend never asks is an HTTP error.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import folder_paths
from aiohttp import web

from ..hosted import request
from ..hosted.errors import HostedError
from ..hosted.spending import Price
from ..media import resolution
from ..samplers import rcm, routing
from ..weights import names
from ..weights.loras import report as lora_report
from . import hosted as hosted_node
from . import loader
from . import lora as lora_node
from .sampling import Sampler

MAX_SIDE = 100_000  # pixels; no picture is larger
MAX_VALUE = 4_000  # characters of a value, as at the door of the nodes
MODEL_FOLDERS = {**loader.FOLDERS, "lora_high": "loras", "lora_low": "loras"}  # input -> ComfyUI's model folder
EXPERTS = loader.EXPERTS | lora_node.EXPERTS

Query = Mapping[str, str]
Answer = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.Response]]


class QueryError(Exception):
    """A question lacks a value, or holds one of another type."""


def add(routes: web.RouteTableDef, handlers: Mapping[str, Handler]) -> None:
    """Adds GET routes, but for those that another copy of this pack has added: aiohttp would refuse to start."""
    known = {route.path for route in routes if isinstance(route, web.RouteDef)}
    for path, handler in handlers.items():
        if path not in known:
            routes.get(path)(handler)


def answering(make: Callable[[Query], Answer]) -> Handler:
    """Returns a handler that answers with what `make` returns; it runs in a thread, since it may read files."""

    async def answer(asked: web.Request) -> web.Response:
        try:
            return web.json_response(await asyncio.to_thread(make, asked.query))
        except QueryError as error:
            return web.json_response({"error": str(error)}, status=400)

    return answer


def plan(query: Query) -> Answer:
    """Answers what rCM Sampler will run, by `steps`, `schedule`, `sigma_max`, `shift` and `boundary`."""
    schedule, steps = text_of(query, "schedule"), whole(query, "steps")
    sigma_max, shift, boundary = (number(query, name) for name in ("sigma_max", "shift", "boundary"))
    valid = Sampler.validate_inputs(schedule, steps, sigma_max, shift)
    if valid is not True:
        return refusal(valid)
    return {"text": routing.plan(rcm.schedule_sigmas(schedule, steps, sigma_max, shift).tolist(), boundary)}


def fit(query: Query) -> Answer:
    """Answers what Fit to 720p will make of a picture of `width` x `height`, by `tier`, `aspect` and `fit`."""
    source = resolution.Size(*(whole(query, name, 1, MAX_SIDE) for name in ("width", "height")))
    tier, aspect, way = (text_of(query, name) for name in ("tier", "aspect", "fit"))
    try:
        target = resolution.fit_size(*source, tier, aspect)
        return {"text": resolution.describe_fit(source, target, tier, way)}
    except ValueError as error:
        return refusal(error)


def loras(query: Query) -> Answer:
    """Answers what the files of Load LoRA with Trigger Words say about themselves, by `lora_high` and `lora_low`."""
    chosen = text_of(query, "lora_high"), text_of(query, "lora_low")
    valid = lora_node.Lora.validate_inputs(*chosen)
    if valid is not True:
        return refusal(valid)  # of both files, where both are missing
    try:
        matches = lora_node.matches_of(*chosen)
        words = lora_node.words_of((match.file for match in matches), "")
        lines = [line for match in matches for line in lora_report.preview(match)]
    except (FileNotFoundError, RuntimeError, ValueError) as error:
        return refusal(error)
    if not lines:
        return {"text": "No LoRA is chosen.", "trigger_words": []}
    lines.append(f"Trigger words: {', '.join(words) or 'the files name none'}")
    return {"text": "\n".join(lines), "trigger_words": words}


def hosted(query: Query) -> Answer:
    """Answers what a clip of `model`, `resolution` and `duration` costs, and whether there is a key: never the key."""
    model, size, seconds = text_of(query, "model"), text_of(query, "resolution"), whole(query, "duration")
    try:
        request.check_settings(model, size, seconds)
    except HostedError as error:
        return refusal(error)
    provider, row = request.find_offer(model)
    price = Price(row.estimate(size, seconds), asked=False)
    costs = str(price)[0].upper() + str(price)[1:]
    try:
        hosted_node.find_key(model)
    except HostedError as error:
        return refusal(f"{costs}\n{error}")
    return {"text": f"{costs}\nThere is a key for {provider.title}."}


def model(query: Query) -> Answer:
    """Answers which file here is meant by the `name` of a foreign graph at an `input`; None where not just one fits."""
    slot = text_of(query, "input")
    if slot not in MODEL_FOLDERS:
        raise QueryError(f"input must be one of {', '.join(MODEL_FOLDERS)}, got '{slot}'.")
    folder, expert = MODEL_FOLDERS[slot], EXPERTS.get(slot)
    try:
        file = names.resolve_name(text_of(query, "name"), folder_paths.get_filename_list(folder), folder, expert)
    except (FileNotFoundError, ValueError) as error:
        return {**refusal(error), "file": None}
    return {"text": file, "file": file}


def refusal(reason: object) -> Answer:
    """Returns the answer for values that the node refuses."""
    return {"text": str(reason), "refused": True}


def text_of(query: Query, name: str) -> str:
    """Returns a value of the question.

    Raises:
        QueryError: It is not in it, or too long for any name.
    """
    text = _value(query, name)
    if len(text) > MAX_VALUE:
        raise QueryError(f"{name} takes at most {MAX_VALUE} characters, got {len(text)}. Shorten it.")
    return text


def _value(query: Query, name: str) -> str:
    if not query.get(name):
        raise QueryError(f"{name} is missing in the question. Add &{name}=VALUE.")
    return query[name]


def number(query: Query, name: str) -> float:
    """Returns a finite number of the question.

    Raises:
        QueryError: There is none.
    """
    text = _value(query, name)
    try:
        value = float(text[:MAX_VALUE])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise QueryError(f"{name} must be a number, got '{text[:40]}'.")
    return value


def whole(query: Query, name: str, least: int = 0, most: int = 2**53) -> int:
    """Returns a whole number of the question.

    Raises:
        QueryError: There is none, or not from `least` to `most`.
    """
    value = number(query, name)
    if not value.is_integer() or not least <= value <= most:
        raise QueryError(f"{name} must be a whole number from {least} to {most}, got '{query[name][:40]}'.")
    return int(value)


HANDLERS: dict[str, Handler] = {
    "/wan22_turbo/plan": answering(plan),
    "/wan22_turbo/fit": answering(fit),
    "/wan22_turbo/loras": answering(loras),
    "/wan22_turbo/hosted": answering(hosted),
    "/wan22_turbo/model": answering(model),
}
