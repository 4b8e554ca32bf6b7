"""What Long Clip refuses, and what it warns of."""

from types import SimpleNamespace

import folder_paths
import pytest
import torch
from pack.filters.question import ContentError
from pack.nodes import long_save
from pack.nodes.long_clip import LongClip
from pack.nodes.lora import AUTO
from pack.tests.comfy.long_clip.clips import PROMPT, SETTINGS, STORY, SVI, parts_there, start, with_loras
from pack.tests.toy import models as toy
from pack.tests.toy.loaded import load_expert

pytestmark = pytest.mark.comfy


def test_motion_without_the_lora_of_svi_is_said_with_its_remedy(planned, add_lora):
    def said(graph=PROMPT, way="motion"):
        hidden = SimpleNamespace(prompt=graph, unique_id="9")
        run = planned(continue_by=way, seconds=0.6, motion_latents=1, graph=graph)
        return "\n".join(long_save.notes_before(hidden, run))

    assert said().startswith("Warning: Both experts come without the LoRA of SVI")
    assert f"Download '{SVI[0]}' and '{SVI[1]}' into the folder 'loras', or continue by last frame." in said()
    for name in SVI:
        add_lora(name, toy.lora(1))
    assert f"Choose '{SVI[0]}' and '{SVI[1]}' in a Load LoRA before this node" in said()
    assert said(with_loras(*SVI)) == ""
    assert said(with_loras(SVI[0], AUTO)) == ""
    half = said(with_loras(SVI[0], "none"))
    assert half.startswith("Warning: The low-noise expert comes without the LoRA of SVI")
    assert f"Choose '{SVI[1]}' in" in half
    assert said(way="last_frame") == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompts": " \n"}, r"needs a prompt for each part, a line each, and prompts holds none\."),
        ({"prompts": "It turns.\n" * 200}, r"at most 24 parts, got 200\."),
        ({"prompts": "It turns.", "parts": 1, "loop": True}, r"A loop needs 2 parts at least, .*; got 1\."),
        ({"continue_by": "overlap", "overlap_frames": 9}, r"longer than what it shares .* part 2 has 5 frames"),
        ({"continue_by": "motion"}, r"part 2 has 5 frames, of which 5 are shared\. Give it more seconds"),
        ({"picture": start(50, 32)}, r"sides must be multiples of 16, got 50x32\. Put Fit to 720p"),
        ({"picture": torch.zeros(0, 32, 32, 3)}, r"A picture is needed, got an empty batch\."),
        ({"picture": start() * torch.nan}, r"The start image .*NaN"),
        ({"cfg": 3.0, "negative_prompt": "dark", "schedule": "odd"}, r"The schedule must be one of rcm"),
        ({"codec": "odd"}, r"[Cc]odec"),
        ({"motion": 9.0}, r"motion must be at most 2, got 9\."),
        # What a link may bring, and ComfyUI does not look at.
        ({"motion": 0.5}, r"motion must be at least 1, got 0\.5\. Choose a larger number\."),
        ({"prompts": "It turns.", "parts": 0}, r"parts must be at least 1, got 0\."),
        ({"continue_by": "motion", "motion_latents": 0}, r"motion_latents must be at least 1, got 0\."),
        ({"continue_by": "overlap", "overlap_frames": 0}, r"overlap_frames must be at least 5, got 0\."),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_cannot_be_made_is_a_sentence_before_anything_is_sampled(make, made, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**changes)
    assert made == []
    assert parts_there() == []


def test_the_operators_filter_sees_prompts_of_parts_that_are_on_the_disk(make, made, monkeypatch, tmp_path):
    make()
    made.clear()
    (tmp_path / "words.txt").write_text("jumps\n", encoding="utf-8")
    monkeypatch.setenv("WAN22_TURBO_FILTER_WORDS", str(tmp_path / "words.txt"))
    with pytest.raises(ContentError, match="Nothing was sampled"):
        make()
    assert made == []
    with pytest.raises(ContentError, match="which one is in 'positive' is not known"):
        make("It sleeps.", parts=2)  # these words come from no text encoder of ComfyUI


def test_models_of_another_family_are_refused_also_where_all_parts_are_there(make, high, add_file):
    make()
    name = add_file("diffusion_models", "t2v_high_noise.safetensors", toy.expert(1, in_dim=16))
    text_to_video = load_expert(folder_paths.get_full_path("diffusion_models", name))
    with pytest.raises(ValueError, match=r"expert must take 36 channels .* as the text-to-video files do"):
        make(models=(text_to_video, high))


def test_before_models_are_loaded_the_story_is_checked():
    waiting = {**SETTINGS, "high": None, "low": None, "clip": None, "vae": None, "start_image": None}
    node = LongClip.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
    asked = node.check_lazy_status(**waiting, prompts=STORY, filename_prefix="a/b")
    assert asked == ["high", "low", "clip", "vae", "start_image"]
    with pytest.raises(ValueError, match="prompts holds none"):
        node.check_lazy_status(**waiting, prompts="", filename_prefix="a/b")
    assert LongClip.validate_inputs(prompts="a\n" * 30, parts=2, seconds=5.0).startswith("A long clip has at most 24")
    assert LongClip.validate_inputs(prompts="a", parts=1, seconds=5.0, loop=True).startswith("A loop needs 2 parts")
    assert LongClip.validate_inputs(schedule="rcm", steps=9, sigma_max=200.0, shift=5.0).startswith("rCM takes 1 to 8")
    assert LongClip.validate_inputs(codec="h264", prompts=None) is True
