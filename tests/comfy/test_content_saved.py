"""The operator's filters on what is made: no file stays of a clip that they refuse, no hosted job is sent or kept."""

import asyncio
import os
import re
from pathlib import Path

import comfy.sd
import folder_paths
import pytest
import torch
from comfy_api.latest import InputImpl, io

pytestmark = pytest.mark.comfy

from pack.filters.question import ContentError  # noqa: E402
from pack.nodes import decode as decoding  # noqa: E402
from pack.nodes.decode import DecodeMp4  # noqa: E402
from pack.nodes.hosted import Hosted, HostedLora  # noqa: E402
from pack.nodes.video import SaveMp4  # noqa: E402
from pack.tests.toy import models as toy  # noqa: E402
from pack.tests.toy.content import red  # noqa: E402
from pack.tests.toy.hosted import OFFER  # noqa: E402


@pytest.fixture(scope="module")
def vae():
    return comfy.sd.VAE(sd=toy.settling_vae(4, 4))


def output(prefix):
    folder = Path(folder_paths.get_output_directory()) / prefix
    return sorted(path.suffix for path in folder.rglob("*") if path.is_file())


def save(node, *inputs, **changes):
    hidden = {io.Hidden.prompt: {}, io.Hidden.extra_pnginfo: {}, io.Hidden.unique_id: "9"}
    settings = {"fps": 16.0, "codec": "h264", "crf": 18, "metadata": "none", **changes}
    with torch.inference_mode():
        return node.PREPARE_CLASS_CLONE({"hidden_inputs": hidden}).execute(*inputs, **settings)


def sampled():
    return {"samples": torch.randn((1, 16, 1, 4, 4), generator=torch.Generator().manual_seed(6))}


def test_a_refused_clip_leaves_no_file(judges, vae, tmp_path):
    kept = save(SaveMp4, red(64).expand(3, -1, -1, -1), filename_prefix="content kept/clip").args[0]
    assert [(stage, pictures) for stage, *_, pictures in judges.asked] == [("clip", [[200, 50, 0]] * 3)]
    judges.answer = "no red clips"
    told = r"^The content filter of this ComfyUI refuses: no red clips\. No file was saved\.$"
    for node, inputs in {
        SaveMp4: [(red(64).expand(3, -1, -1, -1),), (kept,), (InputImpl.VideoFromFile(kept.get_stream_source()),)],
        DecodeMp4: [(sampled(), vae)],
    }.items():
        for each in inputs:
            with pytest.raises(ContentError, match=told):
                save(node, *each, filename_prefix="content refused/clip")
    assert output("content refused") == []
    assert output("content kept") == [".mp4"]


def test_a_latent_that_nobody_has_judged_does_not_stay_either(judges, vae, monkeypatch):
    def fail(*_):
        raise RuntimeError("the VAE fell over")

    monkeypatch.setattr("pack.nodes.decode.decode", fail)
    with pytest.raises(RuntimeError, match=r"^the VAE fell over$"):
        save(DecodeMp4, sampled(), vae, filename_prefix="content failed/clip")
    assert output("content failed") == []


def test_nobody_can_guess_where_a_latent_lies_whose_clip_is_not_judged_yet(judges, vae, monkeypatch):
    folder, seen, decode = Path(folder_paths.get_output_directory()) / "content hidden", [], decoding.decode

    def look(*arguments):
        seen.extend(path.name for path in folder.iterdir())
        return decode(*arguments)

    monkeypatch.setattr(decoding, "decode", look)
    for _ in range(2):
        save(DecodeMp4, sampled(), vae, filename_prefix="content hidden/clip", keep_latent=True)
    named = [f"clip_0000{number}_{suffix}" for number in (1, 2) for suffix in (".latent", ".mp4")]
    assert sorted(path.name for path in folder.iterdir()) == named
    hidden = [name for name in seen if name not in named]
    assert len(set(hidden)) == 2
    assert all(re.fullmatch(r"\.[0-9a-f]{32}\.latent", name) for name in hidden)


def test_a_clip_that_passes_keeps_its_latent_if_that_is_asked_for(judges, vae):
    save(DecodeMp4, sampled(), vae, filename_prefix="content passed/clip", keep_latent=True)
    assert output("content passed") == [".latent", ".mp4"]


@pytest.fixture
def hosted(running, monkeypatch, tmp_path):
    """Runs a hosted node against the loopback provider."""
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(folder_paths, "get_user_directory", lambda: str(tmp_path / "user"))
    monkeypatch.setattr(folder_paths, "get_temp_directory", lambda: str(tmp_path / "temp"))

    def run(**changes):
        asked = {"prompt": "A stone glows.", "resolution": "480p", "duration": 5, "seed": 3, "negative_prompt": ""}
        asked |= {"model": OFFER["wavespeed"], "if_flagged": "keep", "image": red(), **changes}
        node = Hosted.PREPARE_CLASS_CLONE({"hidden_inputs": {io.Hidden.unique_id: None}})
        return asyncio.run(node.execute(**asked))

    return run


LORA_OFFER = "WaveSpeed: wan-2.2/image-to-video-lora"


@pytest.mark.parametrize("where", ["prompt", "negative_prompt", "trigger words", "address of a LoRA"])
def test_a_hosted_job_is_refused_before_anything_is_sent(where, words, hosted, running):
    changes = {where: "glow, forb-iddenite"} if "prompt" in where else {"model": LORA_OFFER}
    lora = {"trigger words": ("owner/glow", "FORBIDDENITE"), "address of a LoRA": ("owner/forbiddenite_v2", "")}
    if where in lora:
        changes["loras"] = HostedLora.execute(lora[where][0], 1.0, "both", lora[where][1]).args[0]
    with pytest.raises(ContentError, match=r"list of words\. Nothing was sent or paid\. Change the prompt"):
        hosted(**changes)
    assert len(running.named("wavespeed").requests) == 0


def test_a_hosted_clip_is_judged_before_it_is_handed_on(judges, hosted, running, tmp_path):
    judges.stages, judges.answer = ("clip",), "no such clips"
    with pytest.raises(ContentError, match=r"no such clips\. The clip is paid, and no file of it was kept here\.$"):
        hosted()
    assert [entry[:2] for entry in judges.asked] == [("prompt", "A stone glows."), ("clip", "")]
    assert list((tmp_path / "temp").rglob("*.mp4")) == []
    judges.answer = True
    assert os.path.exists(hosted().args[0].get_stream_source())
    assert len(running.named("wavespeed").charged) == 1  # fetched again, not paid again
