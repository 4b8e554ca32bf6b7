"""Save MP4 as a test runs it on a VIDEO."""

from pathlib import Path

import folder_paths
from comfy_api.latest import InputImpl, io
from pack.nodes.video import SaveMp4

SETTINGS = {"fps": 16.0, "filename_prefix": "files/clip", "codec": "h264", "crf": 8, "metadata": "none"}


def save(source, **changes):
    """Saves a path, bytes or a VIDEO; returns the file and what the node says."""
    video = InputImpl.VideoFromFile(str(source) if isinstance(source, Path) else source)
    return save_video(video, **changes)


def save_video(video, **changes):
    hidden = {io.Hidden.prompt: {}, io.Hidden.extra_pnginfo: {}, io.Hidden.unique_id: "1"}
    output = SaveMp4.PREPARE_CLASS_CLONE({"hidden_inputs": hidden}).execute(video, **{**SETTINGS, **changes})
    shown = output.ui.as_dict()
    saved = shown["images"][0]
    path = Path(folder_paths.get_output_directory()) / saved["subfolder"] / saved["filename"]
    return path, "\n".join(shown.get("text", ()))
