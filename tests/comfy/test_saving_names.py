"""Names of clips and latents: none is replaced, what cannot be is said early, and the latent is never the price."""

import errno
import os
from pathlib import Path

import comfy.sd
import folder_paths
import pytest
import torch
from comfy_api.latest import io
from pack.nodes.decode import DecodeMp4
from pack.nodes.video import SaveMp4
from pack.tests.toy import refusing_kernel
from pack.tests.toy.models import vae

pytestmark = pytest.mark.comfy

SETTINGS = {"fps": 16.0, "codec": "h264", "crf": 18, "metadata": "none"}
on_linux = pytest.mark.skipif(not refusing_kernel.available, reason="needs a kernel that refuses on request")
both = pytest.mark.parametrize("node", [SaveMp4, DecodeMp4])


@pytest.fixture(scope="module")
def wan():
    return comfy.sd.VAE(sd=vae(4))


@pytest.fixture
def output(tmp_path):
    """An output folder of the test's own."""
    before = folder_paths.get_output_directory()
    folder_paths.set_output_directory(str(tmp_path / "out"))
    (tmp_path / "out").mkdir()
    yield tmp_path / "out"
    folder_paths.set_output_directory(before)


def latent():
    return {"samples": torch.randn((1, 16, 1, 4, 6), generator=torch.Generator().manual_seed(6))}


def clone(node, prompt=None):
    hidden = {io.Hidden.prompt: prompt or {}, io.Hidden.extra_pnginfo: {}, io.Hidden.unique_id: "9"}
    return node.PREPARE_CLASS_CLONE({"hidden_inputs": hidden})


def save(prefix, prompt=None, **settings):
    return clone(SaveMp4, prompt).execute(torch.rand(1, 32, 32, 3), filename_prefix=prefix, **{**SETTINGS, **settings})


def decode(wan, prefix, **settings):
    with torch.inference_mode():
        return clone(DecodeMp4).execute(latent(), wan, filename_prefix=prefix, **{**SETTINGS, **settings})


def name_of(result):
    return result.ui.as_dict()["images"][0]["filename"]


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("clips/", ["clips_00001_.mp4", "clips_00002_.mp4"]),
        ("a/clips//", ["a/clips_00001_.mp4", "a/clips_00002_.mp4"]),
        ("clip_00001_", ["clip_00001__00001_.mp4", "clip_00001__00002_.mp4"]),
        ("a/./b/../clip", ["a/clip_00001_.mp4", "a/clip_00002_.mp4"]),
        ("a..b/v1.2.", ["a..b/v1.2._00001_.mp4", "a..b/v1.2._00002_.mp4"]),
    ],
)
def test_the_same_prefix_twice_gives_two_clips(output, prefix, expected):
    results = [save(prefix), save(prefix)]
    assert files(output) == expected
    for result, name in zip(results, expected, strict=True):
        saved = result.ui.as_dict()["images"][0]
        assert (Path(saved["subfolder"]) / saved["filename"]).as_posix() == name
        assert result[0].get_dimensions() == (32, 32)


def test_an_absolute_prefix_in_the_output_folder_is_told_without_it(output):
    assert save(str(output / "mine" / "clip")).ui.as_dict()["images"][0] == {
        "filename": "clip_00001_.mp4",
        "subfolder": "mine",
        "type": "output",
    }


def test_a_clip_that_somebody_saves_meanwhile_stays_and_the_latent_goes_along(wan, output):
    def overtake(*_):
        (output / "clip_00001_.mp4").write_text("somebody's")
        (output / "clip_00002_.latent").write_text("somebody's")

    hook = wan.first_stage_model.conv2.register_forward_pre_hook(overtake)
    try:
        result = decode(wan, "clip", keep_latent=True)
    finally:
        hook.remove()
    assert name_of(result) == "clip_00003_.mp4"
    assert files(output) == ["clip_00001_.mp4", "clip_00002_.latent", "clip_00003_.latent", "clip_00003_.mp4"]
    for name in files(output)[:2]:
        assert (output / name).read_text() == "somebody's"


def test_a_latent_that_somebody_kept_is_not_replaced(wan, output):
    (output / "clip_00001_.latent").write_text("somebody's")
    assert name_of(decode(wan, "clip", keep_latent=True)) == "clip_00002_.mp4"
    assert (output / "clip_00001_.latent").read_text() == "somebody's"
    assert name_of(save("clip")) == "clip_00003_.mp4"


def test_a_latent_is_saved_under_a_slash_twice(wan, output):
    for _ in range(2):
        decode(wan, "clips/", keep_latent=True)
    assert files(output) == [f"clips_0000{number}_.{kind}" for number in (1, 2) for kind in ("latent", "mp4")]


@both
@pytest.mark.parametrize("prefix", ["../x", "v1..2", "x" * 250, "a\nb", "\u202e4pm", "", "there/x", "z" * 100_000])
def test_a_prefix_that_cannot_be_is_refused_before_anything_runs(node, prefix, output):
    (output / "there").touch()
    said = node.validate_inputs(codec="h264", encoder="cpu", filename_prefix=prefix)
    assert isinstance(said, str)
    assert said.endswith(".")
    assert len(said) < 300
    assert str(output) not in said
    assert files(output) == ["there"]


@both
@pytest.mark.skipif(not hasattr(folder_paths, "is_within_directory"), reason="this ComfyUI lets links lead anywhere")
def test_a_linked_folder_that_leads_outside_is_refused_before_anything_runs(node, output, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (output / "away").symlink_to(tmp_path / "elsewhere")
    said = node.validate_inputs(codec="h264", encoder="cpu", filename_prefix="away/clip")
    assert said == (
        "Clips are saved below ComfyUI's output folder, and 'away/clip' goes through a link that leads out of it. "
        "Choose another folder, or start ComfyUI with --output-directory."
    )


def test_a_linked_folder_that_stays_inside_is_fine(output):
    (output / "real").mkdir()
    (output / "link").symlink_to(output / "real")
    assert SaveMp4.validate_inputs(codec="h264", filename_prefix="link/clip") is True
    save("link/clip")
    assert files(output / "real") == ["clip_00001_.mp4"]


@both
@on_linux
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_takes_no_file_is_refused_before_anything_runs(node, code, output):
    asked = {"codec": "h264", "encoder": "cpu", "filename_prefix": "a/clip"}
    said = refusing_kernel.run(lambda: node.validate_inputs(**asked), create=code)
    assert said.startswith(f"Nothing can be saved under filename_prefix 'a/clip': {os.strerror(code)}. ")
    assert ".part" not in said
    assert list(output.iterdir()) == []


LINKED = [
    ({"crf": 99}, r"takes a CRF of 1 \(best\) to 51, got 99"),
    ({"codec": "vp9"}, "Codec is one of h264, h265, av1, got 'vp9'"),
    ({"audio": {"waveform": torch.zeros(1, 2, 100), "sample_rate": 5}}, "samples per second, got 5"),
    ({"filename_prefix": "../x"}, "leads out of it"),
    ({"filename_prefix": "v1..2"}, "two dots side by side"),
    ({"filename_prefix": "there/x"}, "'there' is no folder"),
    ({"fps": 0.0}, "1 to 240 frames per second, got 0.0"),
    ({"fps": 500.0}, "1 to 240 frames per second, got 500.0"),
    ({"metadata": "everything"}, "Metadata is one of workflow, recipe, none, got 'everything'"),
]


@both
@pytest.mark.parametrize(("name", "said"), [("fps", "fps must be a number"), ("crf", "crf must be a number")])
def test_a_text_in_place_of_a_number_is_a_sentence_before_the_first_model_is_needed(node, name, said):
    with pytest.raises(ValueError, match=f"{said}, got 'fast'"):
        clone(node).check_lazy_status(**{**SETTINGS, "filename_prefix": "clip", name: "fast"})


@both
@pytest.mark.parametrize(("linked", "said"), LINKED)
def test_what_comes_through_links_is_checked_before_the_first_model_is_needed(node, linked, said, output):
    (output / "there").touch()
    inputs = {**SETTINGS, "filename_prefix": "clip", **linked}
    with pytest.raises(ValueError, match=said):
        clone(node).check_lazy_status(**inputs)
    assert files(output) == ["there"]


def test_what_comes_from_a_model_is_asked_for_last():
    for node, wanted, more in ((SaveMp4, ["video"], ["numbers"]), (DecodeMp4, ["latent", "vae"], [])):
        lazy = [input.id for input in node.GET_SCHEMA().inputs if input.lazy]
        assert lazy == wanted + more
        inputs = {**SETTINGS, "filename_prefix": "clip"}
        asking = node.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
        assert asking.check_lazy_status(**inputs) == wanted
        assert asking.check_lazy_status(**inputs, **dict.fromkeys(wanted, object())) == []


@pytest.mark.parametrize(("linked", "said"), LINKED)
def test_what_cannot_be_saved_costs_no_latent(wan, linked, said, output):
    (output / "there").touch()
    ran = []
    hook = wan.first_stage_model.conv2.register_forward_pre_hook(lambda *_: ran.append(True))
    try:
        with pytest.raises(ValueError, match=f"{said}.*The latent is kept: '"):
            decode(wan, **{"prefix": "clip", **{key.replace("filename_", ""): linked[key] for key in linked}})
    finally:
        hook.remove()
    assert not ran
    expected = "video/wan22-turbo" if "filename_prefix" in linked else "clip"
    assert files(output) == sorted(["there", f"{expected}_00001_.latent"])


def test_a_graph_that_nobody_can_write_costs_no_latent(wan, output):
    hidden = {io.Hidden.prompt: {}, io.Hidden.extra_pnginfo: {"workflow": {1, 2}}, io.Hidden.unique_id: "9"}
    node = DecodeMp4.PREPARE_CLASS_CLONE({"hidden_inputs": hidden})
    with torch.inference_mode(), pytest.raises(TypeError, match=r"The latent is kept: 'clip_00001_\.latent'"):
        node.execute(latent(), wan, filename_prefix="clip", **{**SETTINGS, "metadata": "workflow"})
    assert files(output) == ["clip_00001_.latent"]


@on_linux
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_turns_read_only_is_a_sentence(wan, code, output):
    for attempt in (lambda: save("clip"), lambda: decode(wan, "clip")):
        with pytest.raises(ValueError, match=f"'clip': {os.strerror(code)}") as failure:
            refusing_kernel.run(attempt, create=code)
        assert ".part" not in str(failure.value)
        assert str(output) not in str(failure.value)
    assert files(output) == []


@on_linux
@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL])
def test_a_disk_whose_fsync_fails_keeps_the_clip_with_a_word_on_the_node(wan, code, output):
    for number, attempt in enumerate((lambda: save("clip"), lambda: decode(wan, "clip")), 1):
        saved = refusing_kernel.run(attempt, fsync=code)
        assert name_of(saved) == f"clip_0000{number}_.mp4"
        (text,) = saved.ui.as_dict()["text"]
        assert text.startswith(f"The disk did not confirm that 'clip_0000{number}_.mp4' is stored for good")
    assert files(output) == ["clip_00001_.mp4", "clip_00002_.mp4"]


@on_linux
def test_a_disk_without_hard_links_keeps_both_clips(wan, output):
    def both_ways():
        return [name_of(save("clip")), name_of(decode(wan, "clip", keep_latent=True)), name_of(save("clip"))]

    names = refusing_kernel.run(both_ways, link=errno.EPERM)
    assert names == [f"clip_0000{number}_.mp4" for number in (1, 2, 3)]
    assert files(output) == ["clip_00001_.mp4", "clip_00002_.latent", "clip_00002_.mp4", "clip_00003_.mp4"]


def batches(combine):
    prompt = {
        "1": {"class_type": "VHS_BatchManager", "inputs": {"requeue": 1}},
        "2": {"class_type": "VHS_LoadVideo", "inputs": {"meta_batch": ["1", 0]}},
        "9": {"class_type": "Wan22Turbo_SaveMp4", "inputs": {"video": ["2", 0]}},
    }
    if combine:
        prompt["4"] = {"class_type": "VHS_VideoCombine", "inputs": {"images": ["2", 0], "meta_batch": ["1", 0]}}
    return prompt


def test_a_meta_batch_is_refused_before_anything_runs(output):
    for attempt in (
        lambda: clone(SaveMp4, batches(False)).check_lazy_status(**SETTINGS, filename_prefix="clip"),
        lambda: clone(DecodeMp4, batches(False)).check_lazy_status(**SETTINGS, filename_prefix="clip"),
        lambda: save("clip", batches(False)),
    ):
        with pytest.raises(ValueError, match="only the first would be saved"):
            attempt()
    assert files(output) == []


def test_a_batch_beside_video_combine_says_that_it_is_one(output):
    (text,) = save("clip", batches(True)).ui.as_dict()["text"]
    assert text.startswith("This clip holds batch 2 of a Meta Batch Manager")
    assert files(output) == ["clip_00001_.mp4"]
