"""Makes tiny Wan 2.2 models: both experts, umT5, VAE and a LoRA pair, under the names that the shipped graphs use.

    python -m tests.toy.models FOLDER        COMFYUI_DIR names the ComfyUI whose architectures they follow

They are random, so a clip made with them is a moving pattern. Every parameter is set, because one left out is a NaN in
every frame.
"""

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

HIGH = "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors"
LOW = "wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors"
TEXT_ENCODER = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
VAE = "wan_2.1_vae.safetensors"
LORA_HIGH = "Wan22-I2V-A14B-HIGH-rCM6_0_lora_rank_64_bf16.safetensors"
LORA_LOW = "Wan22-I2V-A14B-LOW-rCM1_0_lora_rank_64_bf16.safetensors"
# Pairs that other shipped graphs name.
LIGHTNING = [f"wan2.2_i2v_lightx2v_4steps_lora_v1_{expert}_noise.safetensors" for expert in ("high", "low")]
ORBIT = [f"wan22_14b_i2v_orbit_{expert}_noise.safetensors" for expert in ("high", "low")]
# And the experts that were trained to be sparse.
TURBO = [f"TurboWan2.2-I2V-A14B-{expert}-720P-quant.pth" for expert in ("high", "low")]
LIGHTWAN = [f"wan2.2_i2v_A14b_{expert}_noise_nvfp4_sparse_comfy.safetensors" for expert in ("high", "low")]

DIM = 128  # one attention head
FFN_DIM = 256
LAYERS = 2
TEXT_DIM = 4096  # umT5-XXL's width, which the experts take
TEXT_LAYERS = 2
VAE_DIM = 4  # it takes most of a run: at 8, twice the time
RANK = 4

State = dict[str, torch.Tensor]


def expert(
    seed: int,
    in_dim: int = 36,
    out_dim: int = 16,
    dim: int = DIM,
    layers: int = LAYERS,
    ffn_dim: int = FFN_DIM,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> State:
    """Returns the state of a Wan transformer; 36 channels in and 16 out make it an I2V A14B expert.

    Parameters are drawn on `device`, one by one, and kept on the CPU.
    """
    shapes = expert_shapes(in_dim, out_dim, dim, layers, ffn_dim)
    generator = torch.Generator(device).manual_seed(seed)
    return {name: random_parameter(name, shape, generator).to("cpu", dtype) for name, shape in shapes}


def expert_shapes(
    in_dim: int, out_dim: int, dim: int, layers: int, ffn_dim: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields name and shape of every parameter of a Wan transformer."""
    yield "patch_embedding.weight", (dim, in_dim, 1, 2, 2)
    yield "patch_embedding.bias", (dim,)
    yield from linear("text_embedding.0", TEXT_DIM, dim)
    yield from linear("text_embedding.2", dim, dim)
    yield from linear("time_embedding.0", 256, dim)
    yield from linear("time_embedding.2", dim, dim)
    yield from linear("time_projection.1", dim, 6 * dim)
    for layer in range(layers):
        block = f"blocks.{layer}"
        yield f"{block}.modulation", (1, 6, dim)
        for attention in ("self_attn", "cross_attn"):
            for projection in "qkvo":
                yield from linear(f"{block}.{attention}.{projection}", dim, dim)
            yield f"{block}.{attention}.norm_q.weight", (dim,)
            yield f"{block}.{attention}.norm_k.weight", (dim,)
        yield f"{block}.norm3.weight", (dim,)
        yield f"{block}.norm3.bias", (dim,)
        yield from linear(f"{block}.ffn.0", dim, ffn_dim)
        yield from linear(f"{block}.ffn.2", ffn_dim, dim)
    yield "head.modulation", (1, 2, dim)
    yield from linear("head.head", dim, 4 * out_dim)


def linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields name and shape of a linear layer's parameters."""
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def random_parameter(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Draws a parameter at the scale that keeps activations near one."""
    noise = torch.randn(shape, generator=generator, device=generator.device)
    if "norm" in name or name.endswith("gamma"):
        return 1.0 + 0.05 * noise if name.endswith(("weight", "gamma")) else 0.05 * noise
    if len(shape) == 1:
        return 0.05 * noise
    if "modulation" in name:
        return 0.3 * noise
    return noise / noise[0].numel() ** 0.5


def lora(seed: int, layers: int = LAYERS, dim: int = DIM, rank: int = RANK) -> State:
    """Returns a LoRA for the attention of `expert`, in the form that most trainers write."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for layer in range(layers):
        for projection in "qkvo":
            name = f"diffusion_model.blocks.{layer}.self_attn.{projection}"
            state[f"{name}.lora_down.weight"] = torch.randn(rank, dim, generator=generator) / dim**0.5
            state[f"{name}.lora_up.weight"] = 0.1 * torch.randn(dim, rank, generator=generator)
            state[f"{name}.alpha"] = torch.tensor(float(rank))
    return {name: tensor.to(torch.bfloat16) for name, tensor in state.items()}


def vae(seed: int, dim: int = VAE_DIM) -> State:
    """Returns the state of a narrow Wan 2.1 VAE, with ComfyUI's own parameter names."""
    from comfy.ldm.wan.vae import WanVAE

    model = WanVAE(dim=dim, z_dim=16, dim_mult=[1, 2, 4, 4], temperal_downsample=[False, True, True])
    generator = torch.Generator().manual_seed(seed)
    state = {name: random_parameter(name, tuple(value.shape), generator) for name, value in model.state_dict().items()}
    state["decoder.head.2.weight"] *= 0.5  # keeps most pixels inside [-1, 1]
    return state


def settling_vae(seed: int, latent_frames: int, dim: int = VAE_DIM) -> State:
    """Returns a VAE that settles: of a picture followed by grey, all latent frames after these are the same."""
    state = vae(seed, dim)
    memory = latent_frames - 1
    # Of the layers that run once in a latent frame, the last ones first: each looks back at two of them.
    late = ("head.", "middle.", "downsamples.10.", "downsamples.9.")
    for name, weight in reversed(state.items()):
        if name.startswith("encoder.") and weight.ndim == 5 and weight.shape[2] == 3:
            looks_back = min(2, memory) if name.removeprefix("encoder.").startswith(late) else 0
            memory -= looks_back
            weight[:, :, : 2 - looks_back] = 0
    return state


def text_encoder(seed: int) -> State:
    """Returns a thin umT5 with its tokenizer."""
    vocabulary, tokenizer = spiece()
    inner, d_ff = 8, 16
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {"shared.weight": (vocabulary, TEXT_DIM)}
    for layer in range(TEXT_LAYERS):
        attention, feed = f"encoder.block.{layer}.layer.0", f"encoder.block.{layer}.layer.1"
        for projection in "qkv":
            shapes[f"{attention}.SelfAttention.{projection}.weight"] = (inner, TEXT_DIM)
        shapes[f"{attention}.SelfAttention.o.weight"] = (TEXT_DIM, inner)
        shapes[f"{attention}.SelfAttention.relative_attention_bias.weight"] = (32, 1)
        shapes[f"{attention}.layer_norm.weight"] = (TEXT_DIM,)
        shapes[f"{feed}.DenseReluDense.wi_0.weight"] = (d_ff, TEXT_DIM)
        shapes[f"{feed}.DenseReluDense.wi_1.weight"] = (d_ff, TEXT_DIM)
        shapes[f"{feed}.DenseReluDense.wo.weight"] = (TEXT_DIM, d_ff)
        shapes[f"{feed}.layer_norm.weight"] = (TEXT_DIM,)
    shapes["encoder.final_layer_norm.weight"] = (TEXT_DIM,)
    state = {name: random_parameter(name, shape, generator).to(torch.float16) for name, shape in shapes.items()}
    state["spiece_model"] = torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8)
    return state


def spiece() -> tuple[int, bytes]:
    """Trains a SentencePiece model that takes any text, and returns its size and its file."""
    import sentencepiece

    lines = [
        "A cat turns its head towards the camera and blinks slowly in the afternoon light.",
        "The camera moves forward while leaves drift across the path and the water ripples.",
    ]
    file = io.BytesIO()
    size = 300  # 256 bytes, for every other script, and a few English pieces
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=file, vocab_size=size, model_type="bpe", byte_fallback=True,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    return size, file.getvalue()


def save_all(models: Path) -> None:
    """Writes the whole set into a ComfyUI models folder."""
    from . import quantised, turbodiffusion

    plain = [expert(seed, dtype=torch.bfloat16) for seed in (1, 2)]
    files = {
        f"diffusion_models/{HIGH}": expert(1),
        f"diffusion_models/{LOW}": expert(2),
        f"text_encoders/{TEXT_ENCODER}": text_encoder(3),
        f"vae/{VAE}": vae(4),
        f"loras/{LORA_HIGH}": lora(5),
        f"loras/{LORA_LOW}": lora(6),
        **{f"loras/{name}": lora(7 + seed) for seed, name in enumerate([*LIGHTNING, *ORBIT])},
        **{
            f"diffusion_models/{name}": turbodiffusion.checkpoint(state)
            for name, state in zip(TURBO, plain, strict=True)
        },
        **{
            f"diffusion_models/{name}": quantised.packed(state, "nvfp4")
            for name, state in zip(LIGHTWAN, plain, strict=True)
        },
    }
    for name, state in files.items():
        path = models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".pth":
            torch.save(state, path)
        else:
            save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)


if __name__ == "__main__":
    sys.path.insert(0, os.environ["COMFYUI_DIR"])
    from comfy.cli_args import args

    args.cpu = True
    save_all(Path(sys.argv[1]))
