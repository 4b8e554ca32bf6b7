"""Wan 2.2 image to video in a few steps, for ComfyUI."""

from comfy_api.latest import ComfyExtension, io
from typing_extensions import override

from .nodes import (
    clip_report,
    content,
    decode,
    hosted,
    joining,
    loader,
    long_clip,
    lora,
    panel_routes,
    picture,
    sampling,
    sparse,
    video,
)

WEB_DIRECTORY = "./web"


class Wan22TurboExtension(ComfyExtension):
    @override
    async def on_load(self) -> None:
        panel_routes.add_routes()
        content.watch_texts()

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            loader.Loader,
            lora.Lora,
            picture.Resolution,
            picture.ImageToVideo,
            sampling.Sampler,
            sampling.RcmSigmas,
            sampling.ExpertGuider,
            video.SaveMp4,
            decode.DecodeMp4,
            hosted.HostedLora,
            hosted.Hosted,
            joining.JoinClips,
            clip_report.ClipReport,
            sparse.SparseAttention,
            long_clip.LongClip,
        ]


async def comfy_entrypoint() -> Wan22TurboExtension:
    return Wan22TurboExtension()
