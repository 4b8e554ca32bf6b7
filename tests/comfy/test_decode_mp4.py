"""Decode to MP4: the file that the whole way gives, and a latent that is never lost."""

import errno
import json
import os
import sys
from pathlib import Path

import av
import comfy.model_management
import comfy.sd
import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import io
from pack.media.finite import NotFiniteError
from pack.media.mp4 import Mp4Writer
from pack.nodes.decode import DecodeMp4
from pack.nodes.video import SaveMp4
from pack.tests.toy.models import vae

pytestmark = pytest.mark.comfy

PROMPT = {"1": {"class_type": "Wan22Turbo_Sampler", "inputs": {"seed": 5, "steps": 4}}}
WORKFLOW = {"nodes": [{"id": 1, "title": "小猫"}]}
SETTINGS = {"fps": 16.0, "codec": "h264", "crf": 18, "metadata": "workflow"}


@pytest.fixture(scope="module")
def wan():
    return comfy.sd.VAE(sd=vae(4))


@pytest.fixture
def prefix(request):
    """A folder of its own below the output folder, and the beginning of a name."""
    return f"{request.node.name.split('[')[0]}/clip"


@pytest.fixture
def handed_over(monkeypatch):
    """The frames of each clip as they went to the encoder, so that a difference shows whose it is: VAE or encoder."""
    clips = {}
    write = Mp4Writer.write

    def note(writer, frame):
        clips.setdefault(writer, []).append(np.array(frame))
        write(writer, frame)

    monkeypatch.setattr(Mp4Writer, "write", note)
    return clips


def latent(times=3):
    return {"samples": torch.randn((1, 16, times, 4, 6), generator=torch.Generator().manual_seed(6))}


def run(node, *inputs, **settings):
    hidden = {io.Hidden.prompt: PROMPT, io.Hidden.extra_pnginfo: {"workflow": WORKFLOW}, io.Hidden.unique_id: "9"}
    with torch.inference_mode():
        return node.PREPARE_CLASS_CLONE({"hidden_inputs": hidden}).execute(*inputs, **{**SETTINGS, **settings})


def decode(decoder, prefix, samples=None, **settings):
    return run(DecodeMp4, samples or latent(), decoder, filename_prefix=prefix, **settings)


def folder_of(prefix):
    return Path(folder_paths.get_output_directory()) / Path(prefix).parent


def test_the_file_is_the_one_that_decoding_whole_and_saving_gives(wan, prefix):
    import nodes

    output = decode(wan, prefix)
    with torch.inference_mode():
        (images,) = nodes.VAEDecode().decode(wan, latent())
    run(SaveMp4, images, filename_prefix=prefix)
    first, second = sorted(folder_of(prefix).iterdir())
    assert first.read_bytes() == second.read_bytes()
    assert output.ui.as_dict()["images"][0]["filename"] == "clip_00001_.mp4"
    assert output[0].get_dimensions() == (48, 32)


def test_sound_and_metadata_come_along(wan, prefix):
    tone = {"waveform": torch.sin(torch.arange(48000) * 0.05)[None, None], "sample_rate": 48000}
    decode(wan, prefix, audio=tone)
    (path,) = folder_of(prefix).iterdir()
    with av.open(str(path)) as file:
        assert json.loads(file.metadata["workflow"]) == WORKFLOW
        assert file.streams.audio[0].codec_context.name == "aac"
        assert file.streams.video[0].frames == 9


@pytest.mark.parametrize("keep_latent", [True, False])
def test_the_latent_goes_when_the_clip_is_there_unless_it_is_to_stay(wan, prefix, keep_latent):
    decode(wan, prefix, keep_latent=keep_latent)
    kept = [path.name for path in folder_of(prefix).glob("*.latent")]
    assert kept == (["clip_00001_.latent"] if keep_latent else [])
    for path in folder_of(prefix).iterdir():
        path.unlink()


def load_kept(prefix):
    """Loads a kept latent with ComfyUI's own node, under the name that the message gives."""
    import nodes

    name = (Path(prefix).parent / "clip_00001_.latent").as_posix() + " [output]"
    assert nodes.LoadLatent.VALIDATE_INPUTS(name) is True
    return nodes.LoadLatent().load(name)[0]


def test_the_latent_is_saved_before_decoding_and_comfyui_reads_it(wan, prefix):
    seen = []

    def look(*_):
        seen.append(sorted(path.name for path in folder_of(prefix).iterdir()))
        raise RuntimeError("the decoder fails")

    hook = wan.first_stage_model.conv2.register_forward_pre_hook(look)
    try:
        with pytest.raises(RuntimeError) as failure:
            decode(wan, prefix)
    finally:
        hook.remove()
    assert seen == [["clip_00001_.latent"]]
    assert str(failure.value) == (
        "the decoder fails The latent is kept: 'test_the_latent_is_saved_before_decoding_and_comfyui_reads_it"
        "/clip_00001_.latent' in ComfyUI's output folder. Load Latent reads it from the input folder."
    )
    assert torch.equal(load_kept(prefix)["samples"], latent()["samples"])


class FailsLate:
    """Raises at the second call of a layer, when frames are already in the encoder."""

    def __init__(self, decoder, error, tries=1):
        self.layer, self.error = decoder.first_stage_model.decoder.middle[0], error
        self.calls, self.tries = 0, tries

    def __call__(self, *_):
        self.calls += 1
        if 2 <= self.calls < 2 + self.tries:
            raise self.error

    def __enter__(self):
        self.hook = self.layer.register_forward_pre_hook(self)

    def __exit__(self, *_):
        self.hook.remove()


def test_out_of_memory_is_tried_smaller_and_the_clip_is_whole(wan, prefix, handed_over):
    decode(wan, prefix)
    with FailsLate(wan, torch.cuda.OutOfMemoryError("CUDA out of memory.")):
        decode(wan, prefix)
    whole, discarded, smaller = map(np.stack, handed_over.values())
    np.testing.assert_array_equal(discarded, whole[: len(discarded)])
    np.testing.assert_allclose(smaller, whole, rtol=0, atol=1e-6)
    first, second = sorted(folder_of(prefix).iterdir())
    frames = [decoded(path) for path in (first, second)]
    assert frames[0].shape == frames[1].shape
    assert np.abs(frames[0] - frames[1]).max() <= 2  # tiles are blended in another order of additions


def decoded(path):
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="gray") for frame in file.decode(video=0)]).astype(int)


def test_out_of_memory_twice_is_raised_as_it_is_and_the_latent_is_kept(wan, prefix, caplog):
    error = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    with FailsLate(wan, error, tries=100), pytest.raises(torch.cuda.OutOfMemoryError) as failure:
        decode(wan, prefix)
    assert failure.value is error
    assert str(failure.value) == "CUDA out of memory. Tried to allocate 2.00 GiB"
    assert [path.name for path in folder_of(prefix).iterdir()] == ["clip_00001_.latent"]
    assert "The latent is kept: 'test_out_of_memory_twice" in caplog.text
    assert torch.equal(load_kept(prefix)["samples"], latent()["samples"])


def test_a_resumed_clip_is_the_one_that_failed(wan, prefix, handed_over):
    with FailsLate(wan, RuntimeError("power")), pytest.raises(RuntimeError):
        decode(wan, prefix)
    decode(wan, prefix, samples=load_kept(prefix))
    decode(wan, prefix)
    failed, resumed, whole = map(np.stack, handed_over.values())
    np.testing.assert_array_equal(failed, whole[: len(failed)])
    np.testing.assert_array_equal(resumed, whole)
    first, second = sorted(folder_of(prefix).glob("*.mp4"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("value", "name"), [(torch.nan, "NaN"), (torch.inf, "infinity"), (-torch.inf, "minus infinity")]
)
@pytest.mark.parametrize("keep_latent", [True, False])
def test_a_latent_without_numbers_is_no_black_clip(wan, prefix, value, name, keep_latent):
    samples = latent()
    samples["samples"][0, 3, 1, 2, 2] = value
    with pytest.raises(NotFiniteError) as failure:
        decode(wan, prefix, samples=samples, keep_latent=keep_latent)
    assert str(failure.value).startswith(
        f"The latent holds {name}, first in its frame 2 of 3, so it was there before decoding. "
    )
    assert "The latent is kept: 'test_a_latent" in str(failure.value)
    assert [path.suffix for path in folder_of(prefix).iterdir()] == [".latent"]
    for path in folder_of(prefix).iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("value", "name"), [(torch.nan, "NaN"), (torch.inf, "infinity"), (-torch.inf, "minus infinity")]
)
def test_a_vae_that_overflows_is_said_and_the_latent_is_kept(wan, prefix, value, name):
    calls = []

    def overflow(_module, _inputs, piece):
        calls.append(piece)
        if len(calls) == 2:
            piece = piece.clone()
            piece[0, 1, -1, 5, 7] = value
            return piece
        return None

    hook = wan.first_stage_model.decoder.head[-1].register_forward_hook(overflow)
    try:
        with pytest.raises(NotFiniteError) as failure:
            decode(wan, prefix)
    finally:
        hook.remove()
    frame = sum(piece.shape[2] for piece in calls[:2])  # the last one of the second piece
    assert f"The VAE made {name} of a latent that has none, first in frame {frame}" in str(failure.value)
    assert "--fp32-vae" in str(failure.value)
    assert [path.name for path in folder_of(prefix).iterdir()] == ["clip_00001_.latent"]
    assert torch.equal(load_kept(prefix)["samples"], latent()["samples"])
    for path in folder_of(prefix).iterdir():
        path.unlink()


def test_an_image_model_that_makes_nan_is_said(prefix):
    image_vae = comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)})
    samples = torch.rand(3, 3, 32, 48)
    samples[2, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="The latent holds NaN, first in its frame 3 of 3"):
        decode(image_vae, prefix, samples={"samples": samples})


def test_an_interrupt_ends_between_two_pieces_and_keeps_the_latent(wan, prefix):
    layer = wan.first_stage_model.decoder.middle[0]
    hook = layer.register_forward_hook(lambda *_: comfy.model_management.interrupt_current_processing())
    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            decode(wan, prefix)
    finally:
        hook.remove()
        comfy.model_management.interrupt_current_processing(False)
    assert [path.name for path in folder_of(prefix).iterdir()] == ["clip_00001_.latent"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("size", [100, 30_000], ids=["latent", "clip"])
def test_a_full_disk_is_a_sentence_and_leaves_nothing_half_written(wan, prefix, size):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    samples = {"samples": torch.randn((1, 16, 3, 12, 12))}
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # writes past it fail as on a full disk
    try:
        with pytest.raises(OSError, match=r"could not be written: .*Make room on the disk") as failure:
            decode(wan, prefix, samples=samples, crf=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failure.value.errno == errno.EFBIG
    assert folder_paths.get_output_directory() not in str(failure.value)
    left = [path.name for path in folder_of(prefix).iterdir()]
    assert left == ([] if size == 100 else ["clip_00001_.latent"])
    assert ("The latent is kept" in str(failure.value)) == bool(left)
    for name in left:
        (folder_of(prefix) / name).unlink()


def test_nothing_private_is_said(wan, prefix, caplog):
    with FailsLate(wan, RuntimeError("power")), pytest.raises(RuntimeError) as failure:
        decode(wan, prefix)
    assert os.sep + "output" not in str(failure.value) + caplog.text


def test_an_image_model_makes_a_clip_too(prefix):
    image_vae = comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)})
    output = decode(image_vae, prefix, samples={"samples": torch.rand(3, 3, 32, 48)})
    assert output[0].get_dimensions() == (48, 32)
    (path,) = folder_of(prefix).iterdir()
    with av.open(str(path)) as file:
        assert file.streams.video[0].frames == 3
