"""The VAE: ComfyUI's own classes, narrow, with a start that already passes pictures through, and its file.

ComfyUI encodes and decodes in pieces of a few frames with a memory; here a clip goes through in one piece, as training
needs it. Both give the same, which a test holds.
"""

import torch
from comfy.latent_formats import Wan21
from comfy.ldm.wan.vae import CausalConv3d, Resample, ResidualBlock, WanVAE
from torch import Tensor, nn

CHANNELS = 16
KL = 3e-4  # weight of the KL divergence from a unit normal, per value of the latent


def new_vae(dim: int, seed: int) -> WanVAE:
    """Returns a VAE at its start: residual branches are zero, so blocks pass on what they get.

    Args:
        dim: Channels at full size: 8 makes 0.9 million parameters, 16 3.6 million.
        seed: Of what is drawn.
    """
    model = WanVAE(dim=dim, z_dim=CHANNELS, dim_mult=[1, 2, 4, 4], temperal_downsample=[False, True, True])
    random = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        if value.ndim > 1 and "gamma" not in name:
            value.data.normal_(0, value[0].numel() ** -0.5, generator=random)
        else:
            value.data.fill_(float("gamma" in name))
    for part in model.modules():
        if isinstance(part, ResidualBlock):
            _weight(part.residual[6]).zero_()
            if isinstance(part.shortcut, CausalConv3d):
                nn.init.orthogonal_(_weight(part.shortcut), generator=random)
        elif isinstance(part, Resample) and part.mode.startswith("downsample"):
            _start_shrinking(part, random)
        elif isinstance(part, Resample):
            _start_growing(part, random)
    for part in (model.encoder.middle[1], model.decoder.middle[1]):
        _weight(part.get_submodule("proj")).zero_()
    return model


def _weight(conv: nn.Module) -> Tensor:
    """Returns the weight of a convolution, to be changed in place."""
    weight = conv.weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def _start_shrinking(part: Resample, random: torch.Generator) -> None:
    """Starts with a rotation of two by two pixels, of which some channels stay; and a mean of frames."""
    weight = _weight(part.get_submodule("resample.1"))
    outputs, inputs = weight.shape[:2]
    square = nn.init.orthogonal_(torch.empty(outputs, inputs * 4), generator=random)
    weight.zero_()
    weight[:, :, :2, :2] = square.view(outputs, inputs, 2, 2)
    if part.mode == "downsample3d":
        taps = _weight(part.time_conv).mul_(0.3)
        taps += torch.eye(inputs)[..., None, None, None] / 3


def _start_growing(part: Resample, random: torch.Generator) -> None:
    """Starts with a rotation of the channels and something of the neighbours; frames are doubled."""
    weight = _weight(part.get_submodule("resample.1")).mul_(0.5)
    outputs, inputs = weight.shape[:2]
    weight[:, :, 1, 1] += nn.init.orthogonal_(torch.empty(outputs, inputs), generator=random)
    if part.mode == "upsample3d":
        taps = _weight(part.time_conv).mul_(0.3)
        taps[:, :, 2, 0, 0] += torch.eye(inputs).repeat(2, 1)


def encode(model: WanVAE, clip: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and logarithm of the variance of a clip's latent, [B, 16, 1 + F // 4, H / 8, W / 8].

    Args:
        model: The VAE.
        clip: [B, 3, F, H, W] in -1 to 1; F is 4 n + 1.
    """
    x = model.encoder.conv1(clip)
    for layer in model.encoder.downsamples:
        x = _resampled(layer, x) if isinstance(layer, Resample) else layer(x)
    for layer in (*model.encoder.middle, *model.encoder.head):
        x = layer(x)
    mean, log_variance = model.conv1(x).chunk(2, dim=1)
    return mean, log_variance


def decode(model: WanVAE, latent: Tensor) -> Tensor:
    """Returns the clip of a latent, [B, 3, 4 T - 3, 8 H, 8 W] in -1 to 1, as far as the VAE keeps to it."""
    x = model.decoder.conv1(model.conv2(latent))
    for layer in (*model.decoder.middle, *model.decoder.upsamples):
        x = _resampled(layer, x) if isinstance(layer, Resample) else layer(x)
    for layer in model.decoder.head:
        x = layer(x)
    return x


def file_state(model: WanVAE, mean: Tensor, deviation: Tensor) -> dict[str, Tensor]:
    """Returns what a VAE's file holds, with the statistics of its latent made those that ComfyUI expects of Wan's.

    Both are constants in the file: the convolutions of one pixel at both sides of the latent take them up.

    Args:
        model: The VAE.
        mean: Of each channel of its latents, over many clips, [16].
        deviation: Likewise, the standard deviation.
    """
    wan, mean, deviation = Wan21(), mean.cpu(), deviation.cpu()
    gain = wan.latents_std.flatten() / deviation
    shift = wan.latents_mean.flatten() - gain * mean
    state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    ones, zeros = torch.ones(CHANNELS), torch.zeros(CHANNELS)
    rows = torch.cat([gain, ones])  # the other rows are of the variance
    state["conv1.weight"] *= rows.view(-1, 1, 1, 1, 1)
    state["conv1.bias"] = state["conv1.bias"] * rows + torch.cat([shift, zeros])
    state["conv2.bias"] -= torch.einsum("oi,i->o", state["conv2.weight"].flatten(1), shift / gain)
    state["conv2.weight"] /= gain.view(1, -1, 1, 1, 1)
    return {name: value.to(torch.bfloat16).contiguous() for name, value in state.items()}


def _resampled(layer: Resample, x: Tensor) -> Tensor:
    """Changes the size of all frames in one piece; the first frame is not joined to the later ones, nor doubled."""
    if layer.mode == "upsample3d" and x.shape[2] > 1:
        first, later = x[:, :, :1], layer.time_conv(x[:, :, 1:])
        later = later.unflatten(1, (2, -1)).movedim(1, 3).flatten(2, 3)
        x = torch.cat([first, later], 2)
    frames = x.shape[2]
    x = layer.resample(x.transpose(1, 2).flatten(0, 1))
    x = x.unflatten(0, (-1, frames)).transpose(1, 2)
    if layer.mode == "downsample3d" and frames > 1:
        x = torch.cat([x[:, :, :1], layer.time_conv(x)], 2)
    return x
