"""What the tests of Long Clip share: a prompt, a story, an encoder of words, and what is on the disk afterwards."""

from pathlib import Path

import av
import comfy.model_management
import folder_paths
import numpy as np
import torch
from pack.nodes.hosted import private_folder
from pack.tests.toy import models as toy

SIDE = 32  # the least that flow is measured at
PROMPT = {
    "1": {"class_type": "Wan22Turbo_Loader", "inputs": {"high_noise": toy.HIGH, "low_noise": toy.LOW}},
    "9": {
        "class_type": "Wan22Turbo_LongClip",
        "inputs": {name: ["1", place] for place, name in enumerate(("high", "low", "clip", "vae"))},
    },
}
SETTINGS = {
    "parts": 3, "seconds": 0.3, "continue_by": "last_frame", "anchor_colours": True, "loop": False, "seed": 5,
    "steps": 2, "schedule": "rcm", "mode": "ode", "cfg": 1.0, "sigma_max": 200.0, "shift": 5.0, "boundary": 0.9,
    "fps": 16.0, "codec": "h264", "crf": 18, "metadata": "none",
}  # fmt: skip
STORY = "It turns.\nIt jumps.\nIt sits."
SVI = [f"SVI_Wan2.2-I2V-A14B_{expert}_noise_lora_v2.0_pro.safetensors" for expert in ("high", "low")]


class Words:
    """A text encoder: of each text other words, and it counts how often it is asked."""

    def __init__(self):
        self.asked = []

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, text):
        self.asked.append(text)
        seed = sum(map(ord, text))
        return [[torch.randn(1, 12, 4096, generator=torch.Generator().manual_seed(seed)), {}]]


def digests(run):
    return [part.digest for part in run.parts]


def start(width=SIDE, height=SIDE, seed=1):
    small = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (height, width), mode="bilinear").movedim(1, 3)


def parts_there():
    return sorted((private_folder() / "parts").glob("*"))


def file_of(output):
    saved = output.ui.as_dict()["images"][0]
    return Path(folder_paths.get_output_directory()) / saved["subfolder"] / saved["filename"]


def frames_of(output):
    with av.open(str(file_of(output))) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def clips(request_name):
    return sorted(path.name for path in (Path(folder_paths.get_output_directory()) / request_name).glob("*"))


class CutAt:
    """Fails at the evaluation of a model with a number, counted from 1."""

    def __init__(self, number, error):
        self.number, self.error, self.calls = number, error, 0

    def __call__(self, apply_model, arguments):
        self.calls += 1
        if self.calls == self.number:
            if self.error is None:
                comfy.model_management.interrupt_current_processing()
                comfy.model_management.throw_exception_if_processing_interrupted()
            raise self.error
        return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])


def cut(model, number, error):
    clone = model.clone()
    clone.set_model_unet_function_wrapper(CutAt(number, error))
    return clone


def changed(name, value, graph=PROMPT):
    loader = {**graph["1"], "inputs": {**graph["1"]["inputs"], name: value}}
    return {**graph, "1": loader}


def with_loras(high, low):
    inputs = {"high": ["1", 0], "low": ["1", 1], "lora_high": high, "lora_low": low}
    own = {**PROMPT["9"]["inputs"], "high": ["2", 0], "low": ["2", 1]}
    return {
        **PROMPT, "2": {"class_type": "Wan22Turbo_Lora", "inputs": inputs}, "9": {**PROMPT["9"], "inputs": own},
    }  # fmt: skip


def asked(answer):
    """A graph with another pack's node, of which ComfyUI has asked whether it is as before."""
    patch = {"class_type": "SomebodysPatch", "inputs": {"model": ["1", 0]}, "is_changed": [answer]}
    own = {**PROMPT["9"]["inputs"], "high": ["3", 0]}
    return {**PROMPT, "3": patch, "9": {**PROMPT["9"], "inputs": own}}
