"""ComfyUI's server and the client in one process: `python one_process.py BASE PORT`

Reads jobs from standard input, one a line, {prompt, values, target, stop, hold}, and answers each with a line, {saved,
error, text, said, steps}. Ends with its input. A helper of test_client_one_process.py, which runs it in a process of
its own, since ComfyUI reads sys.argv.
"""

import importlib.util
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLER = "rCM Sampler"
PATIENCE = 60.0  # seconds for a wish to stop to arrive


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
        *device_arguments(),
    ]  # fmt: skip
    let_torchvision_import()
    import main

    loop, _, start_all = main.start_comfyui()
    threading.Thread(target=lambda: loop.run_until_complete(start_all()), daemon=True).start()


class Hold:
    """Keeps a run that is to be stopped at its first step until ComfyUI has been told to stop it.

    A real step takes seconds, one of a tiny model milliseconds, and where other threads of the process get no time, all
    of them are done before the first message about them is read. What is asked is where the wish to stop meets the run,
    not how quickly.
    """

    def __init__(self):
        import comfy.model_management
        import comfy.utils

        self.steps = 0  # of the run to be held; 0 for none
        self.arrived = comfy.model_management.processing_interrupted
        self.show = comfy.utils.PROGRESS_BAR_HOOK
        comfy.utils.set_progress_bar_global_hook(self)

    def __call__(self, done, total, *picture, **where):
        self.show(done, total, *picture, **where)
        deadline = time.monotonic() + PATIENCE
        while (done, total) == (1, self.steps) and not self.arrived() and time.monotonic() < deadline:
            time.sleep(0.01)


class Watch:
    """A display that keeps what is said, and at the first step of the sampler stops the job as it was told to.

    Args:
        stop: "" for not at all, "ctrl-c" for a signal to this process, "cancel" for a call from another thread.
        cancel: Takes a job's id.
    """

    def __init__(self, stop, cancel):
        self.stop = stop
        self.cancel = cancel
        self.said = []
        self.steps = []  # of the sampler, as done and total
        self.title = ""

    def say(self, text):
        self.said.append(text)

    def stage(self, title):
        self.title = title

    def step(self, done, total):
        if self.title != SAMPLER:
            return
        self.steps.append((done, total))
        stop, self.stop = self.stop, ""
        if stop == "ctrl-c":
            signal.raise_signal(signal.SIGINT)
        elif stop == "cancel":
            job = next(text.removeprefix("Job ") for text in self.said if text.startswith("Job "))
            threading.Thread(target=lambda: self.said.append(self.cancel(job))).start()

    def end(self):
        pass


def run(comfy_client, address, hold, job):
    """Runs one job and returns what became of it."""
    hold.steps = job["hold"]

    def cancel(prompt_id):
        server = comfy_client.Server(comfy_client.address.parse(address))
        try:
            return comfy_client.cancel.cancel(server, prompt_id)
        finally:
            server.close()

    watch = Watch(job["stop"], cancel)
    saved, error, text = [], "", ""
    try:
        saved = comfy_client.make(address, job["prompt"], job["values"], Path(job["target"]), display=watch)
    except comfy_client.ClientError as problem:
        saved, error, text = getattr(problem, "saved", []), type(problem).__name__, str(problem)
    return {"saved": list(map(str, saved)), "error": error, "text": text, "said": watch.said, "steps": watch.steps}


def serve(base, port):
    """Starts ComfyUI, and runs one job after another on it."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever ComfyUI and its packs print is no answer
    start_comfyui(base, port)
    comfy_client, address, hold = client(), f"http://127.0.0.1:{port}", Hold()
    for line in sys.stdin:
        answers.write(json.dumps(run(comfy_client, address, hold, json.loads(line))) + "\n")
        answers.flush()
    os._exit(0)  # ComfyUI's threads have no end of their own


if __name__ == "__main__":
    serve(*sys.argv[1:])
