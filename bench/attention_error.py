"""How far sparse attention is from exact attention: the order of tokens, what stands for the rest, and the first frame.

Queries and keys are random projections of a smooth random field, turned by Wan's rotary embedding: peaked, where a
tenth of the keys has nearly all of the weight, or flat. What a number means for a picture, a trained model says.
"""

import harness

GRID = (9, 23, 26)  # latent frames, rows and columns of tokens: none a multiple of four
KINDS = {"peaked": (1.6, 3), "flat": (0.7, 5)}  # length of queries and keys, width of the field's blur
DENSITY = 0.15
RUNS = 3


def layer(kind, seed):
    """Returns q, k and v of a layer of one head."""
    import torch
    from torch.nn.functional import avg_pool3d

    length, width = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    field = random(1, 48, *GRID)
    for _ in range(2):
        field = avg_pool3d(field, width, 1, width // 2, count_include_pad=False)
    field = field.flatten(2)[0].T
    seen = field / field.std() + 0.3 * random(*field.shape)
    same, bias = random(48, 128), random(1, 128)
    q, k = (seen @ (same + random(48, 128)) / 7 + shift for shift in (0, bias))
    q, k = (length * x / x.square().mean(1, keepdim=True).sqrt() for x in (q, k))
    return [x[None, :, None] for x in (rotated(q), rotated(k), seen @ random(48, 128) / 7)]


def rotated(x):
    """Turns Tensor[L, 128] by the place of each token: 44 channels for time, 42 each for height and width."""
    import torch

    place = torch.cartesian_prod(*(torch.arange(size).float() for size in GRID))
    turns = [
        place[:, axis : axis + 1] / 10000 ** (torch.arange(0, channels, 2) / channels)
        for axis, channels in enumerate((44, 42, 42))
    ]
    pairs = torch.view_as_complex(x.unflatten(1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones(()), torch.cat(turns, 1))).flatten(1)


def orders():
    """Returns the order of the pack, and the raster order in the same form."""
    import torch
    from pack.attention.order import cube_order

    cubes = cube_order(GRID, torch.device("cpu"))
    raster = torch.arange(cubes.length)
    return {"cubes": cubes, "raster": cubes._replace(tokens=raster, places=raster)}


def error(qkv, order, pattern):
    """Returns |sparse - exact| / |exact|."""
    from pack.attention import kernels
    from torch.nn.functional import scaled_dot_product_attention

    exact = scaled_dot_product_attention(*(x.transpose(1, 2) for x in qkv)).transpose(1, 2)
    return float((kernels.attend(kernels.GATHER, *qkv, order, pattern)[0] - exact).norm() / exact.norm())


def main():
    """Measures and saves the rows."""
    harness.import_comfyui()
    from pack.attention.routing import Pattern

    rows = {}
    for kind in KINDS:
        layers = [layer(kind, seed) for seed in range(RUNS)]
        row = {
            f"{name}, {said}": sum(error(each, order, pattern) for each in layers) / RUNS
            for name, order in orders().items()
            for said, pattern in {
                "a tail for each row": Pattern(DENSITY),
                "a tail for each block": Pattern(DENSITY, tail="block"),
                "no tail": Pattern(DENSITY, tail="none"),
                "a tail for each row, no sink": Pattern(DENSITY, sink=False),
            }.items()
        }
        title = f"routing: error of a layer, {kind}, density {DENSITY}"
        rows[title] = {name: round(each, 3) for name, each in row.items()}
    harness.save(rows)


if __name__ == "__main__":
    main()
