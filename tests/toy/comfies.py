"""Many ComfyUIs on the loopback address: on a thread of this process, or each where a study starts its own."""

import asyncio
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from .one_comfy import Comfy

ROOT = Path(__file__).resolve().parents[2]
MADE = "made.log"  # in the output folder of one that a study has started: a line for each clip


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


def folder_of_one(folder: Path) -> Path:
    """Makes what looks like a ComfyUI's folder, whose main.py runs one of these."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["import asyncio, sys", f"sys.path.append({str(ROOT / 'tools')!r})"]
    lines += ["from pack.tests.toy.serve_comfies import alone", "asyncio.run(alone(sys.argv))"]
    (folder / "main.py").write_text("\n".join(lines), encoding="utf-8")
    return folder
