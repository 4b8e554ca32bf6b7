"""Load Wan 2.2 I2V: both experts, text encoder and VAE from the files that artists have."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io, ui

from ..weights import checks, loading, names
from ..weights.formats.model_file import open_model
from .door import Node

logger = logging.getLogger(__name__)

# input -> ComfyUI's model folder
FOLDERS = {
    "high_noise": "diffusion_models",
    "low_noise": "diffusion_models",
    "text_encoder": "text_encoders",
    "vae": "vae",
}
TOOLTIPS = {
    "high_noise": "The I2V A14B file with high_noise in its name. It lays out motion and composition.",
    "low_noise": "The I2V A14B file with low_noise in its name. It adds detail.",
    "text_encoder": "umT5-XXL, for example umt5_xxl_fp8_e4m3fn_scaled.safetensors.",
    "vae": "The Wan 2.1 VAE; the 14B models of Wan 2.2 use it too.",
}
EXPERTS: dict[str, names.Expert] = {"high_noise": "high", "low_noise": "low"}

_LOAD_GGUF = (
    "Load it with a GGUF loader node, and connect its MODEL where this node's went: to Load LoRA, else the sampler."
)
_INSTEAD_OF_GGUF = {
    "high_noise": _LOAD_GGUF,
    "low_noise": _LOAD_GGUF,
    "text_encoder": "Load it with a GGUF loader node for CLIP, and connect its CLIP to CLIP Text Encode.",
    "vae": "Choose wan_2.1_vae.safetensors.",
}


class Loader(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_Loader",
            display_name="Load Wan 2.2 I2V",
            description="Loads both experts of Wan 2.2 I2V A14B, its text encoder and its VAE.",
            search_aliases=["wan 2.2", "i2v loader", "high noise", "low noise"],
            inputs=[
                *(
                    io.Combo.Input(slot, options=folder_paths.get_filename_list(folder), tooltip=TOOLTIPS[slot])
                    for slot, folder in FOLDERS.items()
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=list(loading.WEIGHT_DTYPES),
                    default="default",
                    advanced=True,
                    tooltip="default keeps the file's own type. fp8 halves the memory of fp16 files.",
                ),
            ],
            outputs=[io.Model.Output("high"), io.Model.Output("low"), io.Clip.Output("clip"), io.Vae.Output("vae")],
        )

    @classmethod
    def validate_inputs(cls, high_noise: str, low_noise: str, text_encoder: str, vae: str) -> bool | str:
        # Naming a COMBO here takes its check over from ComfyUI, so that a name from another machine's folders is found.
        return check_names(find, high_noise=high_noise, low_noise=low_noise, text_encoder=text_encoder, vae=vae)

    @classmethod
    def decided_by(cls, name: str, value: str) -> list[str]:
        return [find(name, value)] if name in FOLDERS else []

    @classmethod
    def fingerprint_inputs(cls, **chosen: Any) -> str:
        # A file that somebody has replaced is loaded anew; of a linked input nothing is known yet.
        known = ((slot, name) for slot, name in chosen.items() if name is not None)
        return state_of(path for slot, name in known for path in cls.decided_by(slot, name))

    @classmethod
    def execute(cls, high_noise: str, low_noise: str, text_encoder: str, vae: str, weight_dtype: str) -> io.NodeOutput:
        chosen = {"high_noise": high_noise, "low_noise": low_noise, "text_encoder": text_encoder, "vae": vae}
        paths = [find(slot, name) for slot, name in chosen.items()]
        files = {path: open_model(path) for path in dict.fromkeys(paths)}
        high_file, low_file, clip_file, vae_file = (files[path] for path in paths)
        notes = checks.check_files(high_file, low_file, clip_file, vae_file)
        for note in notes:
            logger.warning(note)
        for path in dict.fromkeys(paths[:3]):  # before the first of them takes its minutes
            loading.check_numbers(files[path])
        high = loading.load_expert(high_file, weight_dtype)
        low = high if low_file is high_file else loading.load_expert(low_file, weight_dtype)
        loaded = high, low, loading.load_text_encoder(clip_file), loading.load_vae(vae_file)
        if not notes:
            return io.NodeOutput(*loaded)
        return io.NodeOutput(*loaded, ui=ui.PreviewText("\n".join(notes)))


def check_names(find: Callable[[str, str], object], **chosen: str | None) -> bool | str:
    """Returns whether a file is found for each input, or what is wrong; a linked input has no value yet."""
    problems = []
    for slot, name in chosen.items():
        try:
            if name is not None:
                find(slot, name)
        except (FileNotFoundError, ValueError) as error:
            problems.append(f"{slot}: {error}")
    return " ".join(problems) or True


def find(slot: str, name: str) -> str:
    """Returns the path of a model file, also where folders, slashes or case differ from the graph's.

    Only files that ComfyUI lists are found: a name with "../" in it leads nowhere. A link inside a model folder was put
    there by whoever runs ComfyUI, and is followed.

    Raises:
        FileNotFoundError: There is no such file, or only a link to one that is gone.
        ValueError: Several files fit, or this loader does not read such files.
    """
    if name.lower().endswith(".gguf"):
        raise ValueError(
            f"'{names.base_name(name)}' is a GGUF file, which this node does not read. {_INSTEAD_OF_GGUF[slot]}"
        )
    folder = FOLDERS[slot]
    return path_of(folder, resolve(folder, name, EXPERTS.get(slot)))


def state_of(paths: Iterable[str | Path]) -> str:
    """Returns a hash of names, times and sizes of files, by which ComfyUI tells whether to run a node again.

    A hash, without folders: ComfyUI keeps it in the prompt that it writes into PNGs, and paths are private.
    """
    seen = [(Path(path).name, os.path.getmtime(path), os.path.getsize(path)) for path in paths]
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def resolve(folder: str, name: str, expert: names.Expert | None = None) -> str:
    """Returns the file of a model folder that a name means, as `names.resolve_name` finds and refuses it."""
    return names.resolve_name(name, folder_paths.get_filename_list(folder), folder, expert)


def path_of(folder: str, name: str) -> str:
    """Returns the path of a file that ComfyUI lists; FileNotFoundError for a link to a file that is gone."""
    path = folder_paths.get_full_path(folder, name)
    if path is None:
        raise FileNotFoundError(
            f"'{names.base_name(name)}' is listed in ComfyUI's folder '{folder}', but is no file, or a link to one "
            "that is gone. Refresh the page and choose another file."
        )
    return path
