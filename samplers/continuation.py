"""Continuing by motion, as SVI 2.0 conditions: the anchor's latent, the last latent frames of the part before, nothing.

The formula is that of KJNodes' WanImageToVideoSVIPro, for which the LoRAs of SVI 2.0 Pro were trained. The mask says of
the first latent frame alone that it is given.
"""

import torch


def continued(
    picture: torch.Tensor, mask: torch.Tensor, before: torch.Tensor, count: int, grey: torch.Tensor
) -> torch.Tensor:
    """Returns the encoded pictures for a part that goes on from another, in the shape of `picture`; its mask stays.

    Args:
        picture: Tensor[1, 16, T, h, w], what Image to Video Latent makes of the anchor: its latent, then grey; of a
            loop, the picture that it arrives at is in its last latent frame.
        mask: Tensor[1, M, T, h, w] with it, 0 where a frame is given.
        before: Tensor[1, 16, S, h, w], the latent of the part before.
        count: Latent frames that are taken from its end, fewer where it has fewer.
        grey: Tensor[1, 16, 1, 1, 1], what stands for a frame of which nothing is known: zero in the model's own scale.

    Raises:
        ValueError: The part has no latent frame left to make.
    """
    motion = before[:, :, 1:][:, :, -count:]  # the first is of one frame alone
    known = 1 + motion.shape[2]
    times = picture.shape[2]
    if known >= times:
        raise ValueError(
            f"A part that continues by motion must be longer than what it takes over, {4 * known - 3} frames; "
            f"this one has {4 * times - 3}. Give it more seconds, or lower motion_latents."
        )
    given = mask.to(picture).mean(1, keepdim=True).expand_as(picture[:, :1]) < 1
    filled = torch.where(given, picture, grey.to(picture))
    filled[:, :, 1:known] = motion.to(picture)
    return filled
