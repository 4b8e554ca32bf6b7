"""Many ComfyUIs on the loopback address, in a process of their own.

python tests/toy/serve_comfies.py SERVERS SEED FROM TO FAULTS      prints their addresses, a JSON list, and serves
"""

import asyncio
import itertools
import json
import random
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from pack.tests.toy.comfies import MADE
from pack.tests.toy.one_comfy import Comfy, Faults


async def serve(count: int, seed: int, seconds: tuple[float, float], faults: Faults) -> None:
    """Serves, and answers each line of standard input with what was made so far."""
    comfies = [Comfy(seconds, faults, chance=random.Random(seed + number)) for number in range(count)]
    for comfy in comfies:
        await comfy.start()
    say([comfy.address for comfy in comfies])
    while await asyncio.to_thread(sys.stdin.readline):
        jobs = len(set().union(*(comfy.made for comfy in comfies)))
        made = sum(comfy.made.total() for comfy in comfies)
        posted = sum(comfy.posted.total() for comfy in comfies)
        drawn = sum(comfy.drawn for comfy in comfies)
        say({"jobs": jobs, "made": made, "posted": posted, "drawn": drawn})


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
    if "--meet" in named:
        await meet(comfy, Path(named["--meet"]))
    await asyncio.Event().wait()


async def meet(comfy: Comfy, folder: Path) -> None:
    """Ends no job before two servers, which write themselves down in a folder, have one each."""
    comfy.hold = True
    while comfy.running is None:
        await asyncio.sleep(0.01)
    (folder / str(comfy.port)).touch()
    while len(list(folder.iterdir())) < 2:
        await asyncio.sleep(0.01)
    comfy.hold = False


if __name__ == "__main__":
    _, count, seed, low, high, faults = sys.argv
    asyncio.run(serve(int(count), int(seed), (float(low), float(high)), Faults(**json.loads(faults))))
