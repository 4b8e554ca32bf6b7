"""A real ComfyUI process decodes to MP4, keeps the latent, and takes prompts from before the newest widgets."""

import json

import av
import pytest
from pack.client.errors import RefusedError
from pack.tests.toy import runs
from pack.tests.toy.models import VAE

pytestmark = pytest.mark.server


def prompt_of(prefix, node="Wan22Turbo_DecodeMp4", **settings):
    """Latent to MP4; the inputs that were appended later are left out."""
    frames = {"width": 64, "height": 32, "batch_size": 9, "color": 0x4080C0}
    saving = {"fps": 16, "filename_prefix": prefix, "codec": "h264", "crf": 18, "metadata": "workflow", **settings}
    first = {"latent": ["1", 0], "vae": ["2", 0]} if node == "Wan22Turbo_DecodeMp4" else {"video": ["4", 0]}
    return {
        "1": {"class_type": "VAEEncode", "inputs": {"pixels": ["5", 0], "vae": ["2", 0]}},
        "2": {"class_type": "VAELoader", "inputs": {"vae_name": VAE}},
        "3": {"class_type": node, "inputs": {**first, **saving}},
        "4": {"class_type": "VAEDecode", "inputs": {"samples": ["1", 0], "vae": ["2", 0]}},
        "5": {"class_type": "EmptyImage", "inputs": frames},
    }


def run(server, prompt):
    return runs.run(server, prompt)["3"]["images"][0]


def test_latent_to_mp4(server):
    saved = run(server, prompt_of("decoded/小 clip"))
    path = server.base / "output" / "decoded" / saved["filename"]
    assert saved == {"filename": "小 clip_00001_.mp4", "subfolder": "decoded", "type": "output"}
    with av.open(str(path)) as file:
        assert len(list(file.decode(video=0))) == 9
        assert json.loads(file.metadata["prompt"])["3"]["class_type"] == "Wan22Turbo_DecodeMp4"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_it_is_the_file_that_vae_decode_and_save_mp4_make(server):
    files = [
        server.base / "output" / "same" / run(server, prompt_of("same/clip", node, metadata="none"))["filename"]
        for node in ("Wan22Turbo_DecodeMp4", "Wan22Turbo_SaveMp4")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_kept_latent_is_loaded_by_comfyui(server):
    run(server, prompt_of("kept/clip", keep_latent=True, metadata="none"))
    again = prompt_of("kept/again", metadata="none")
    again["1"] = {"class_type": "LoadLatent", "inputs": {"latent": "kept/clip_00001_.latent [output]"}}
    saved = run(server, again)
    folder = server.base / "output" / "kept"
    assert (folder / saved["filename"]).read_bytes() == (folder / "clip_00001_.mp4").read_bytes()


def test_an_encoder_that_is_not_there_is_refused_when_the_prompt_is_posted(server):
    with pytest.raises(RefusedError, match="Encoder is one of cpu, nvenc, got 'qsv'"):
        run(server, prompt_of("refused/clip", encoder="qsv"))
    assert not (server.base / "output" / "refused").exists()
