"""What the frontend asks of this pack, and programs too: routes that read and change nothing.

While a graph is edited, a panel on a node shows what a run will do, without knowing how. Every answer holds `text`, to
show as it is. Values that the node would refuse are answered too, with `refused` and the sentence that the node would
say; only a question that the frontend never asks is an HTTP error. The words of the panels themselves, and the lines
of `text` in other languages, are in `locales`.
"""

import asyncio
import inspect as python
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import folder_paths
from aiohttp import web
from comfy_api.latest import io
from server import PromptServer

from ..hosted import request
from ..hosted.errors import HostedError
from ..hosted.providers import Price
from ..media import resolution
from ..samplers import routing, schedules
from ..weights import names
from ..weights.loras import report
from . import hosted as hosted_node
from . import loader
from . import lora as lora_node
from .door import Node
from .picture import Resolution
from .sampling import Sampler

ROUTES = "/wan22_turbo"
MAX_VALUE = 4_000  # characters of a value, as at the door of the nodes
MAX_NUMBER = 2**53  # above it, not every whole number is one of JavaScript's

Query = Mapping[str, str]
Answer = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.Response]]


class QueryError(Exception):
    """A question lacks a value, or holds one of another type."""


class Panel(NamedTuple):
    """What a panel shows before a run."""

    answer: Callable[..., Answer]  # takes inputs of the node by their names, `width` and `height` of its picture
    lines: int  # that the panel keeps free for it
    fills: str | None = None  # the input into which a click puts what the answer has of that name, in words


def add_routes() -> None:
    """Adds the routes to the running server, but for those that another copy of this pack has added.

    aiohttp would refuse to start with two of one path. Without a server, as in a test of the nodes, there are none.
    """
    if getattr(PromptServer, "instance", None) is None:
        return
    routes = PromptServer.instance.routes
    known = {route.path for route in routes if isinstance(route, web.RouteDef)}
    for path, handler in HANDLERS.items():
        if path not in known:
            routes.get(path)(handler)


def answering(make: Callable[..., Answer]) -> Handler:
    """Returns a handler that answers with what `make` returns; it runs in a thread, since it may read files."""

    async def answer(asked: web.Request) -> web.Response:
        try:
            return web.json_response(await asyncio.to_thread(lambda: make(**read(make, asked.query))))
        except QueryError as error:
            return web.json_response({"error": str(error)}, status=400)

    return answer


def plan(steps: int, schedule: str, sigma_max: float, shift: float, boundary: float) -> Answer:
    """Answers what rCM Sampler will run."""
    valid = Sampler.validate_inputs(schedule, steps, sigma_max, shift)
    if valid is not True:
        return refusal(valid)
    if schedule == schedules.AUTO:
        return {"text": "The schedule is the one that the model was trained with, rcm where its file does not tell."}
    return {"text": routing.plan(schedules.schedule_sigmas(schedule, steps, sigma_max, shift).tolist(), boundary)}


def fit(width: int, height: int, tier: str, aspect: str, fit: str) -> Answer:
    """Answers what Fit to 720p will make of a picture of `width` x `height` pixels."""
    source = resolution.Size(width, height)
    try:
        return {"text": resolution.describe_fit(source, resolution.fit_size(*source, tier, aspect), tier, fit)}
    except ValueError as error:
        return refusal(error)


def loras(lora_high: str, lora_low: str) -> Answer:
    """Answers what the files of Load LoRA with Trigger Words say about themselves."""
    valid = lora_node.Lora.validate_inputs(lora_high, lora_low)
    if valid is not True:
        return refusal(valid)  # of both files, where both are missing
    try:
        matches = lora_node.matches_of(lora_high, lora_low)
        words = lora_node.words_of((match.file for match in matches), "")
        lines = [line for match in matches for line in report.preview(match)]
    except (FileNotFoundError, RuntimeError, ValueError) as error:
        return refusal(error)
    if not lines:
        return {"text": "No LoRA is chosen.", "trigger_words": []}
    lines.append(f"Trigger words: {', '.join(words) or 'the files name none'}")
    return {"text": "\n".join(lines), "trigger_words": words}


def hosted(model: str, resolution: str, duration: int) -> Answer:
    """Answers what a clip of `duration` seconds costs, also as `usd`, and whether there is a key: never the key."""
    try:
        request.check_settings(model, resolution, duration)
    except HostedError as error:
        return refusal(error)
    provider, row = request.find_offer(model)
    price = Price(row.estimate(resolution, duration), asked=False)
    costs = str(price)[0].upper() + str(price)[1:]
    try:
        hosted_node.find_key(model)
    except HostedError as error:
        return {**refusal(f"{costs}\n{error}"), "usd": price.usd}
    return {"text": f"{costs}\nThere is a key for {provider.title}.", "usd": price.usd}


def model(input: str, name: str) -> Answer:
    """Answers which file here is meant by the `name` of a foreign graph at an `input`; None where not just one fits."""
    if input not in MODEL_FOLDERS:
        raise QueryError(f"input must be one of {', '.join(MODEL_FOLDERS)}, got '{input}'.")
    folder, expert = MODEL_FOLDERS[input], EXPERTS.get(input)
    try:
        file = loader.resolve(folder, name, expert)
    except (FileNotFoundError, ValueError) as error:
        return {**refusal(error), "file": None}
    return {"text": file, "file": file}


def nodes() -> Answer:
    """Answers what the frontend has to know of nodes beside their schemas, by the node's id.

    `preview`: what its panel asks before a run. `bypassed`: what goes on in place of each of its outputs while it is
    bypassed: what an `input` got or holds, a `text`, the `report` in the words of the panels, or nothing. `models`: its
    first widgets, which choose model files, in the order of a saved graph's `widgets_values`.
    """
    told: dict[type[Node], Answer] = {node: {"preview": asked_by(node, each)} for node, each in PANELS.items()}
    for node, inputs in PASSED_ON.items():
        told.setdefault(node, {})["bypassed"] = [goes_on(output, inputs) for output in node.GET_SCHEMA().outputs]
    for node, folders in MODELS.items():
        told.setdefault(node, {})["models"] = list(folders)
    return {node.GET_SCHEMA().node_id: known for node, known in told.items()}


def asked_by(node: type[Node], panel: Panel) -> Answer:
    """Returns what the panel of a node asks: the route, the inputs in the question, the one whose picture's size is."""
    inputs = {each.id: each for each in node.GET_SCHEMA().inputs}
    asked = list(python.signature(panel.answer).parameters)
    known: Answer = {"route": panel.answer.__name__, "lines": panel.lines, "fills": panel.fills}
    known["reads"] = [name for name in asked if name in inputs]
    if known["reads"] != asked:
        known["picture"] = next(name for name, each in inputs.items() if isinstance(each, io.Image.Input))
    return known


def goes_on(output: io.Output, inputs: tuple[str, ...]) -> Answer:
    """Returns what goes on in place of an output of a bypassed node, which passes on what these of its inputs got."""
    if output.id in inputs:
        return {"input": output.id}
    if not isinstance(output, io.String.Output):
        return {}
    return {"report": True} if output.id == "report" else {"text": ""}


async def answer_lora(asked: web.Request) -> web.Response:
    """Answers `GET /wan22_turbo/lora?name=FILE` with `describe(FILE)`; in the case of an error with a sentence."""
    name = asked.query.get("name", "")
    if not name:
        return web.json_response({"error": f"Name a LoRA file: {LORA}?name=FILE."}, status=400)
    try:
        return web.json_response(await asyncio.to_thread(describe, name))
    except (FileNotFoundError, RuntimeError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=404)


def describe(name: str) -> Answer:
    """Returns what a LoRA file says about itself: facts of its header, trigger words, expert and partner by name.

    This is for programs; the frontend asks `loras`, which answers in the words of the node.

    Raises:
        FileNotFoundError: ComfyUI lists no such file in its LoRA folders.
        ValueError: Several files fit the name, or the file cannot be read.
    """
    file = loader.resolve("loras", name)
    opened = lora_node.open_lora(file)
    facts = report.facts(opened.header)
    return {
        "file": file,
        "kind": facts.kind.value,
        "expert": names.expert_of(file),
        "partner": names.partner(file, folder_paths.get_filename_list("loras")),
        "trigger_words": lora_node.words_of([opened], ""),
        "base": facts.model,
        "title": facts.title,
        "trainer": facts.trainer,
        "rank": facts.rank,
        "alpha": facts.alpha,
    }


def refusal(reason: object) -> Answer:
    """Returns the answer for values that the node refuses."""
    return {"text": str(reason), "refused": True}


def read(make: Callable[..., Answer], query: Query) -> dict[str, Any]:
    """Reads what a function takes from a question, by the types of its parameters; QueryError where one is absent."""
    taken = python.signature(make).parameters.values()
    return {each.name: READERS[each.annotation](query, each.name) for each in taken}


def text_of(query: Query, name: str) -> str:
    """Returns a value of the question; QueryError if it is not in it, or too long for any name."""
    text = query.get(name)
    if not text:
        raise QueryError(f"{name} is missing in the question. Add &{name}=VALUE.")
    if len(text) > MAX_VALUE:
        raise QueryError(f"{name} takes at most {MAX_VALUE} characters, got {len(text)}. Shorten it.")
    return text


def number(query: Query, name: str) -> float:
    """Returns a finite number of the question; QueryError if there is none."""
    text = text_of(query, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise QueryError(f"{name} must be a number, got '{text[:40]}'.")
    return value


def whole(query: Query, name: str) -> int:
    """Returns a whole number of the question, at least 0; QueryError if there is none."""
    value = number(query, name)
    if not value.is_integer() or not 0 <= value <= MAX_NUMBER:
        raise QueryError(f"{name} must be a whole number from 0 to {MAX_NUMBER}, got '{query[name][:40]}'.")
    return int(value)


READERS: dict[type, Callable[[Query, str], Any]] = {str: text_of, int: whole, float: number}
PANELS: dict[type[Node], Panel] = {
    Sampler: Panel(plan, lines=2),
    lora_node.Lora: Panel(loras, lines=7, fills="trigger_words"),
    Resolution: Panel(fit, lines=4),
    hosted_node.Hosted: Panel(hosted, lines=4),
}
# Nodes that the frontend alone would bypass wrongly -> the inputs whose outputs of the same name go on. It goes by
# types alone: it hands on the trigger words as the prompt, and never what is written on the node itself.
PASSED_ON: dict[type[Node], tuple[str, ...]] = {lora_node.Lora: ("high", "low", "prompt"), hosted_node.Hosted: ()}
MODELS: dict[type[Node], dict[str, str]] = {
    loader.Loader: loader.FOLDERS,
    lora_node.Lora: {"lora_high": "loras", "lora_low": "loras"},
}
MODEL_FOLDERS = {name: folder for folders in MODELS.values() for name, folder in folders.items()}
EXPERTS = loader.EXPERTS | lora_node.EXPERTS
LORA = f"{ROUTES}/lora"
HANDLERS: dict[str, Handler] = {
    LORA: answer_lora,
    **{f"{ROUTES}/{make.__name__}": answering(make) for make in (plan, fit, loras, hosted, model, nodes)},
}
