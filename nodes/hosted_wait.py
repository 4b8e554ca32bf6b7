"""Waits for a hosted clip, says on the node what its job does, and hands ComfyUI's interrupt on."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

import comfy.model_management

from ..hosted import request
from ..hosted.client import Clip
from ..hosted.errors import HostedError
from ..hosted.polling import Status
from .progress import duration as spoken
from .progress import reason, say

logger = logging.getLogger(__name__)

LOOK = 0.2  # seconds between two looks at ComfyUI's interrupt


async def attended(work: Coroutine[Any, Any, Clip], teller: "Teller") -> Clip:
    """Waits for a clip, says where it is, and hands ComfyUI's interrupt on."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=LOOK)
            comfy.model_management.throw_exception_if_processing_interrupted()
            teller.tell()
        return task.result()
    except BaseException as error:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=LOOK)
        teller.on_stopped(error)
        raise


class Teller:
    """Shows on the node what its job does."""

    def __init__(self, asked: request.Request, status: Status, node_id: str | None):
        self.asked = asked
        self.title = asked.provider.title
        self.status = status
        self.node_id = node_id
        self.said = ""

    def tell(self) -> None:
        """Shows provider, state and time, when they have changed."""
        self.say(f"{self.title}: {self.status.words}, {spoken(time.monotonic() - self.status.began)}")

    def on_stopped(self, error: BaseException) -> None:
        """Tells what goes on although the node has stopped."""
        ours = isinstance(error, HostedError)  # those say it themselves
        goes_on = None if ours else self.status.after_stop(self.asked)
        if goes_on:
            logger.warning(goes_on)
        self.say(reason(error) or goes_on or f"{self.title}: stopped before the end")

    def say(self, text: str) -> None:
        """Shows a few words to whoever runs the graph."""
        if text != self.said:
            say(text, self.node_id)
        self.said = text
