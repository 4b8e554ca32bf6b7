"""What the pack adds to the start of ComfyUI: seconds and packages, in fresh processes, against ComfyUI's own."""

import asyncio
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = 7


def measure() -> dict[str, float | list[str]]:
    """Imports ComfyUI with all its nodes, then the pack, in this process."""
    sys.path[0] = os.environ["COMFYUI_DIR"]
    sys.path.append(str(ROOT / "tools"))
    started = time.perf_counter()
    from torch_compat import let_torchvision_import

    let_torchvision_import()
    from comfy.cli_args import args

    args.cpu = True
    import nodes

    asyncio.run(nodes.init_extra_nodes(init_custom_nodes=False, init_api_nodes=False))
    before, between = set(sys.modules), time.perf_counter()
    spec = importlib.util.spec_from_file_location("pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    module = importlib.util.module_from_spec(spec)
    sys.modules["pack"] = module
    spec.loader.exec_module(module)
    ended = time.perf_counter()
    added = {name.split(".")[0] for name in set(sys.modules) - before} - {"pack", *sys.stdlib_module_names}
    return {"comfyui": between - started, "pack": ended - between, "added": sorted(added)}


def main() -> None:
    """Measures in fresh processes and prints the medians."""
    if sys.argv[1:] == ["once"]:
        print(json.dumps(measure()))
        return
    runs = []
    for _ in range(RUNS):
        output = subprocess.run([sys.executable, __file__, "once"], check=True, capture_output=True, text=True).stdout
        runs.append(json.loads(output.splitlines()[-1]))
    comfyui, pack = (statistics.median(run[name] for run in runs) for name in ("comfyui", "pack"))
    print(
        f"ComfyUI's own imports {comfyui:.2f} s, the pack {pack:.3f} s on top ({pack / comfyui:.1%}), medians of {RUNS}"
    )
    print(f"packages that only the pack imports: {', '.join(runs[0]['added']) or 'none'}")


if __name__ == "__main__":
    main()
