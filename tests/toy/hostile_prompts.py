"""Prompts and questions that somebody sends to a server who means harm, or whose program is broken."""

import copy
import random

LONG = "a/" * 100_000 + "x.safetensors"
VALUES = [
    LONG, "a" * 1_000_000, "\u0301\u0327" * 100_000, "(" * 200_000, "a, " * 60_000, "../" * 1000, "\0", "\x1b[31m",
    "none", "auto", "", " ", "NaN", float("nan"), float("inf"), -float("inf"), 10**400, -(10**400), 2**63, -1, 0, 1.5,
    True, False, None, {}, {"__value__": [1, [2]]}, {"__value__": LONG}, {"a": {"b": []}}, [], [1], [[], {}], [1, 2, 3],
]  # fmt: skip
OUTPUTS = ("Wan22Turbo_DecodeMp4", "Wan22Turbo_SaveMp4", "Wan22Turbo_LongClip")


def mutations(prompt, seed):
    """Yields copies of a prompt, each wrong in one to three places. None of them can run: every output node is refused.

    Links to nodes that are not there are no part of them: ComfyUI itself stops at those with an HTTP 500.
    """
    chance = random.Random(seed)
    while True:
        wrong = copy.deepcopy(prompt)
        for _ in range(chance.randint(1, 3)):
            ours = [node for node in wrong.values() if node["class_type"].startswith("Wan22Turbo_")]
            inputs = chance.choice(ours)["inputs"]
            name = chance.choice(sorted(inputs))
            if chance.random() < 0.1:
                del inputs[name]
            else:
                inputs[name] = copy.deepcopy(chance.choice(VALUES))
            if not inputs:
                inputs["x"] = 0
        for node in wrong.values():
            if node["class_type"] in OUTPUTS:
                node["inputs"]["crf"] = 1_000
        yield wrong


def without_us(prompt):
    """Returns the same values for nodes of ComfyUI's own, to see what it takes for them itself."""
    other = copy.deepcopy(prompt)
    for node in other.values():
        if node["class_type"].startswith("Wan22Turbo_"):
            node["class_type"] = "SaveImage"
    return other


def names(seed):
    """Yields names and other values for a route."""
    chance = random.Random(seed)
    pieces = [
        "a/",
        "..",
        "\0",
        "%",
        "(",
        "\u0301",
        "high_noise",
        "x.safetensors",
        "nan",
        "1e400",
        "9" * 20,
        "\u6c34",
        "\\",
    ]
    while True:
        yield "".join(chance.choices(pieces, k=chance.choice([1, 10, 300, 3000]))) or "a" * 1_000_000
