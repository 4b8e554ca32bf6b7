"""What programs ask the server about a LoRA file: a read-only route, confined to ComfyUI's LoRA folders.

The frontend asks `live.loras` instead, which answers in the words of the node.
"""

import asyncio

import folder_paths
from aiohttp import web
from server import PromptServer

from ..weights import names
from ..weights.loras import report
from . import live
from . import lora as node

LORA = "/wan22_turbo/lora"


def add_routes() -> None:
    """Adds the pack's routes to the running server; without a server, as in a test of the nodes, there are none."""
    if getattr(PromptServer, "instance", None) is not None:
        live.add(PromptServer.instance.routes, {LORA: answer_lora, **live.HANDLERS})


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
    file = names.resolve_name(name, available, "loras")
    opened = node.open_lora(file)
    facts = report.facts(opened.header)
    return {
        "file": file,
        "kind": facts.kind.value,
        "expert": names.expert_of(file),
        "partner": names.partner(file, available),
        "trigger_words": node.words_of([opened], ""),
        "base": facts.model,
        "title": facts.title,
        "trainer": facts.trainer,
        "rank": facts.rank,
        "alpha": facts.alpha,
    }
