"""Join Clips: a clip and its continuation become one."""

import torch
from comfy_api.latest import io, ui

from ..media import join
from .door import Node


class JoinClips(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_JoinClips",
            display_name="Join Clips",
            description="Puts a continuation behind its clip, in the clip's colours, without the frame that both hold.",
            search_aliases=["long video", "concatenate video", "extend video", "color match", "combine clips"],
            inputs=[
                io.Image.Input("first", tooltip="Frames of the clip."),
                io.Image.Input("second", tooltip="Frames of its continuation, grown from the clip's last frame."),
                io.Boolean.Input(
                    "match_colours",
                    default=True,
                    tooltip="Corrects the whole continuation by what makes its first frame match the clip's last.",
                ),
            ],
            outputs=[io.Image.Output("frames"), io.String.Output("report")],
        )

    @classmethod
    def execute(cls, first: torch.Tensor, second: torch.Tensor, match_colours: bool) -> io.NodeOutput:
        """Joins Tensor[F, H, W, C] and Tensor[G, H, W, D] to Tensor[F + G - 1, H, W, max(C, D)]."""
        frames, seam = join.join(first, second, match_colours)
        report = join.describe(len(first), len(second), seam, match_colours)
        note = join.note_on_channels(first, second)
        report = f"{report}\n{note}" if note else report
        return io.NodeOutput(frames, report, ui=ui.PreviewText(report))
