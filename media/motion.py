"""Makes a clip move more than a distilled model would: what the frames without a picture tell it is exaggerated.

Beside the start picture the experts read grey frames, encoded like it. PainterI2V (princepainter/ComfyUI-PainterI2V)
moves them further away from the picture than grey is. What that helps, and its price, is in docs/motion.md.
"""

import torch

LEAST, MOST = 1.0, 2.0  # of PainterI2V
LIMIT = 6.0  # standard deviations. The number is PainterI2V's


def livelier(first: torch.Tensor, blank: torch.Tensor, motion: float) -> torch.Tensor:
    """Multiplies what tells blank frames from the first frame, but for its mean.

    With d = blank - first, and m = mean of d over channel, height and width, the result is first + (d - m) motion + m.

    Args:
        first: Tensor[B, C, 1, h, w], the latent of the start picture, of unit variance as the experts read it. In the
            VAE's own units a mean over channels would be that of the widest ones, and the limit of some would be two
            deviations.
        blank: Tensor[B, C, T, h, w], the latent frames that hold no picture.
        motion: 1 changes nothing.

    Returns:
        Tensor like `blank`, within +-`LIMIT`.
    """
    difference = blank - first
    mean = difference.mean(dim=(1, 3, 4), keepdim=True)
    return (blank + (difference - mean) * (motion - 1)).clamp(-LIMIT, LIMIT)
