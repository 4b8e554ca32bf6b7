"""What programs ask the server about a LoRA file: a read-only route, confined to ComfyUI's LoRA folders.

The frontend asks `preview_routes.loras` instead, which answers in the words of the node.
"""

import asyncio

import folder_paths
from aiohttp import web
from server import PromptServer

from ..weights import inspect, lora_facts, pairing
from . import lora as node
from . import preview_routes

LORA = "/wan22_turbo/lora"


def add_routes() -> None:
    """Adds the pack's routes to the running server; without a server, as in a test of the nodes, there are none."""
    if getattr(PromptServer, "instance", None) is not None:
        preview_routes.add(PromptServer.instance.routes, {LORA: answer_lora, **preview_routes.HANDLERS})


async def answer_lora(request: web.Request) -> web.Response:
    """Answers `GET /wan22_turbo/lora?name=FILE` with `describe(FILE)`; in the case of an error with a sentence."""
    name = request.query.get("name", "")
    if not name:
        return web.json_response({"error": f"Name a LoRA file: {LORA}?name=FILE."}, status=400)
    try:
        return web.json_response(await asyncio.to_thread(describe, name))
    except (FileNotFoundError, RuntimeError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=404)


def describe(name: str) -> dict[str, object]:
    """Returns what a LoRA file says about itself: facts of its header, trigger words, expert and partner by name.

    Raises:
        FileNotFoundError: ComfyUI lists no such file in its LoRA folders.
        ValueError: Several files fit the name, or the file cannot be read.
    """
    available = folder_paths.get_filename_list("loras")
    file = pairing.resolve_name(name, available, "loras")
    facts = lora_facts.facts(inspect.read_listing(node.path_of(file)))
    return {
        "file": file,
        "kind": facts.kind.value,
        "expert": pairing.expert_of(file),
        "partner": pairing.partner(file, available),
        "trigger_words": node.words_of((file,), ""),
        "base": facts.model,
        "title": facts.title,
        "trainer": facts.trainer,
        "rank": facts.rank,
        "alpha": facts.alpha,
    }
