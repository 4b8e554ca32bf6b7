"""Runs Long Clip on tiny random models."""

import comfy.sd
import pytest
import torch
from comfy_api.latest import io
from pack.nodes import long_save, sampling
from pack.nodes.long_clip import LongClip
from pack.tests.comfy.long_clip.clips import PROMPT, SETTINGS, STORY, Words, parts_there, start
from pack.tests.toy import models as toy


@pytest.fixture(scope="session")
def wan():
    return comfy.sd.VAE(sd=toy.vae(4))


@pytest.fixture
def made(monkeypatch):
    """The seeds of the parts that were sampled, in order."""
    seeds = []
    sample = sampling.sample

    def note(guider, latent, seed, *rest):
        seeds.append(seed)
        return sample(guider, latent, seed, *rest)

    monkeypatch.setattr(sampling, "sample", note)
    return seeds


@pytest.fixture
def make(high, low, wan, request):
    """Runs the node, in an output folder and with parts of its own."""
    for path in parts_there():
        path.unlink()
    words = Words()

    def run(prompts=STORY, picture=None, graph=PROMPT, models=None, **changes):
        hidden = {io.Hidden.prompt: graph, io.Hidden.extra_pnginfo: {}, io.Hidden.unique_id: "9"}
        prefix = f"{request.node.name.split('[')[0]}/clip"
        given = {**SETTINGS, "filename_prefix": prefix, "prompts": prompts, **changes}
        with torch.inference_mode():
            return LongClip.PREPARE_CLASS_CLONE({"hidden_inputs": hidden}).execute(
                *(models or (high, low)),
                clip=words,
                vae=wan,
                start_image=start() if picture is None else picture,
                **given,
            )

    run.words = words
    return run


@pytest.fixture
def planned(make, monkeypatch):
    """Returns what would make a clip, just before anything is made."""
    monkeypatch.setattr(long_save, "save", lambda hidden, run, *_: run)
    return make
