"""What the pack adds to the start of ComfyUI: seconds and packages, in fresh processes, against ComfyUI's own."""

import asyncio
import importlib.util
import json
import statistics
import subprocess
import sys
import time

import harness

RUNS = 7


def measure() -> dict[str, float | list[str]]:
    """Imports ComfyUI with all its nodes, then the pack, in this process."""
    started = time.perf_counter()
    harness.import_comfyui()
    import nodes

    asyncio.run(nodes.init_extra_nodes(init_custom_nodes=False, init_api_nodes=False))
    before, between = set(sys.modules), time.perf_counter()
    place = str(harness.ROOT)
    spec = importlib.util.spec_from_file_location("pack", f"{place}/__init__.py", submodule_search_locations=[place])
    module = importlib.util.module_from_spec(spec)
    sys.modules["pack"] = module
    spec.loader.exec_module(module)
    ended = time.perf_counter()
    added = {name.split(".")[0] for name in set(sys.modules) - before} - {"pack", *sys.stdlib_module_names}
    return {"comfyui": between - started, "pack": ended - between, "added": sorted(added)}


def main() -> None:
    """Measures in fresh processes and saves the medians."""
    if sys.argv[1:] == ["once"]:
        print(json.dumps(measure()))
        return
    runs = []
    for _ in range(RUNS):
        output = subprocess.run([sys.executable, __file__, "once"], check=True, capture_output=True, text=True).stdout
        runs.append(json.loads(output.splitlines()[-1]))
    comfyui, pack = (statistics.median(run[name] for run in runs) for name in ("comfyui", "pack"))
    harness.save(
        {
            "import: the pack on top of ComfyUI": {
                "seconds": round(pack, 3),
                "share of ComfyUI's own": round(pack / comfyui, 4),
                "packages that only the pack imports": ", ".join(runs[0]["added"]) or "none",
            }
        }
    )


if __name__ == "__main__":
    main()
