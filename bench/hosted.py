"""How fast ComfyUI answers while hosted nodes wait, against the same ComfyUI at rest; and how fast an interrupt is.

Real ComfyUI, real HTTP, providers on the loopback address. Twenty nodes of one graph, as many jobs at a time as nodes.
"""

import copy
import statistics
import tempfile
import threading
import time
from pathlib import Path

import harness
from comfy_server import ComfyServer
from pack.tests.toy.hosted_prompt import HOSTED, SAVE, make_base, shipped
from pack.tests.toy.loopback import Running
from pack.tests.toy.providers import WaveSpeed

NODES, ROUNDS = 20, 5
JOB_SECONDS = 4.0


def main() -> None:
    """Measures and saves."""
    with tempfile.TemporaryDirectory() as folder, Running(WaveSpeed()) as running:
        limits = {"WAN22_TURBO_WAVESPEED_JOBS": str(NODES), "WAN22_TURBO_WAVESPEED_STARTS_PER_MINUTE": "0"}
        base = make_base(Path(folder) / "base")
        with ComfyServer(base, environment={**running.environment(), **limits}) as server:
            running.providers[0].seconds = JOB_SECONDS
            rest, busy, interrupts = [], [], []
            measure_run(server, 0)  # warm-up
            for round_ in range(1, ROUNDS + 1):
                rest += at_rest(server)
                busy += measure_run(server, round_)
                interrupts.append(interrupt(server, round_))
    harness.save({f"hosted: /queue while {NODES} nodes wait / at rest": row(rest, busy, interrupts)})


def row(rest: list[float], busy: list[float], interrupts: list[float]) -> dict[str, float | str]:
    """Puts the measurements into a row, in milliseconds."""
    return {
        "median ratio": round(statistics.median(busy) / statistics.median(rest), 2),
        "median ms": round(statistics.median(busy) * 1e3, 1),
        "within 100 ms": f"{sum(each <= 0.1 for each in busy) / len(busy):.2%}",
        "worst ms": round(max(busy) * 1e3, 1),
        "worst ms at rest": round(max(rest) * 1e3, 1),
        "answers": len(busy),
        "interrupt to end of the run, median ms": round(statistics.median(interrupts) * 1e3),
        "interrupt to end of the run, worst ms": round(max(interrupts) * 1e3),
    }


def measure_run(server: ComfyServer, round_: int) -> list[float]:
    """Runs twenty nodes and returns how long each answer took meanwhile."""
    prompt = shipped(0)
    for index in range(NODES):
        node, save = str(100 + index), str(200 + index)
        prompt[node] = copy.deepcopy(prompt[HOSTED])
        prompt[node]["inputs"]["seed"] = 1000 * round_ + index
        prompt[save] = copy.deepcopy(prompt[SAVE])
        prompt[save]["inputs"]["video"] = [node, 0]
    del prompt[HOSTED], prompt[SAVE]
    _, accepted = server.post("/prompt", {"prompt": prompt})
    return latencies(server, lambda: not server.get(f"/history/{accepted['prompt_id']}"))


def at_rest(server: ComfyServer, seconds: float = 2.0) -> list[float]:
    """Returns how long each answer of an idle ComfyUI took."""
    end = time.monotonic() + seconds
    return latencies(server, lambda: time.monotonic() < end)


def interrupt(server: ComfyServer, round_: int) -> float:
    """Interrupts a node that waits, and returns the seconds until ComfyUI is free again."""
    _, accepted = server.post("/prompt", {"prompt": shipped(round_)})
    time.sleep(2.0)
    asked = time.monotonic()
    threading.Thread(target=server.post, args=("/interrupt", {})).start()
    while not server.get(f"/history/{accepted['prompt_id']}"):
        time.sleep(0.005)
    return time.monotonic() - asked


def latencies(server: ComfyServer, go_on) -> list[float]:
    """Asks for the queue again and again and returns the seconds that each answer took."""
    taken = []
    while go_on():
        began = time.perf_counter()
        server.get("/queue")
        taken.append(time.perf_counter() - began)
        time.sleep(0.01)
    return taken


if __name__ == "__main__":
    main()
