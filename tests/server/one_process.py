"""ComfyUI's server and the client in one process: `python one_process.py BASE PORT OUT PROMPT NAME=VALUE ...`

Prints the saved files. A helper of test_client.py, which runs it in a process of its own, since ComfyUI reads sys.argv.
"""

import importlib.util
import os
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def client():
    """Imports the client by its place, so that the checkout's nodes/ does not hide ComfyUI's module of that name."""
    folder = ROOT / "client"
    spec = importlib.util.spec_from_file_location(
        "client", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["client"] = module
    spec.loader.exec_module(module)
    return module


def start_comfyui(base, port):
    """Starts ComfyUI's own server on a thread of this process."""
    sys.path.insert(0, str(ROOT / "tools"))
    from launch import device_arguments
    from torch_compat import let_torchvision_import

    sys.path[0] = os.environ["COMFYUI_DIR"]
    database = f"sqlite:///{base}/user/comfyui.db"
    sys.argv = [
        "main.py", "--listen", "127.0.0.1", "--port", port, "--base-directory", base, "--database-url", database,
        "--disable-api-nodes", *device_arguments(),
    ]  # fmt: skip
    let_torchvision_import()
    import main

    loop, _, start_all = main.start_comfyui()
    threading.Thread(target=lambda: loop.run_until_complete(start_all()), daemon=True).start()


def run(base, port, out, prompt, *pairs):
    """Runs a prompt on it."""
    start_comfyui(base, port)
    comfy_client = client()
    values = dict(pair.split("=", 1) for pair in pairs)
    address = comfy_client.address.parse(f"http://127.0.0.1:{port}")
    server = comfy_client.Server(address)
    server.get("/system_stats")  # waits for it
    server.close()
    for path in comfy_client.make(str(address), prompt, values, Path(out)):
        sys.stdout.write(f"saved {path}\n")
    sys.stdout.flush()
    os._exit(0)  # ComfyUI's threads have no end of their own


if __name__ == "__main__":
    run(*sys.argv[1:])
