"""The operator's filters on the local path: what they see of ComfyUI, and what does not happen when they say no."""

import functools

import comfy.sd
import pytest
import torch
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy

from comfy_extras.nodes_custom_sampler import KSamplerSelect, RandomNoise, SamplerCustomAdvanced  # noqa: E402
from pack.filters.question import ContentError  # noqa: E402
from pack.nodes import content  # noqa: E402
from pack.nodes.picture import ImageToVideo  # noqa: E402
from pack.nodes.sampling import ExpertGuider, RcmSigmas, Sampler  # noqa: E402
from pack.tests.toy import models as toy  # noqa: E402
from pack.tests.toy.content import red  # noqa: E402
from pack.tests.toy.loader_node import load  # noqa: E402
from pack.tests.toy.lora_node import apply  # noqa: E402
from pack.tests.toy.sampling import SETTINGS  # noqa: E402

from nodes import CLIPTextEncode, ConditioningCombine, ConditioningConcat, ConditioningZeroOut  # noqa: E402


@pytest.fixture(scope="module")
def clip(models):
    return load().args[2]


@pytest.fixture(scope="module")
def vae():
    return comfy.sd.VAE(sd=toy.settling_vae(4, 4))


@pytest.fixture(scope="module")
def texts(clip, high, low, models):
    """Conditioning of two texts, encoded while a filter is named: the second is what a LoRA makes of the first."""
    lora = models / "loras" / "names its word.safetensors"
    save_file(toy.lora(8), lora, {"modelspec.trigger_phrase": "FORBIDDENITE"})
    prompt = apply(high, low, lora_high=lora.name, prompt="A stone.")[2]
    lora.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAN22_TURBO_FILTER_WORDS", "words.txt")
        undo = content.watch_texts()
        made = {text: CLIPTextEncode().encode(clip, text)[0] for text in ("A stone.", prompt)}
        undo()
    return made


@pytest.fixture(scope="module")
def stone(texts):
    return texts["A stone."]


@pytest.fixture(scope="module")
def forbidden(texts):
    return texts["FORBIDDENITE, A stone."]


@pytest.fixture
def evaluations(high, low):
    """Both experts, and a list that grows with each evaluation of one."""
    calls = []

    def counting(patcher):
        def note(apply_model, arguments):
            calls.append(1)
            return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])

        clone = patcher.clone()
        clone.set_model_unet_function_wrapper(note)
        return clone

    return counting(high), counting(low), calls


def empty():
    return {"samples": torch.zeros(1, 16, 2, 4, 4)}


def with_picture(conditioning):
    """Returns a conditioning as Image to Video Latent makes it of a red picture, for a latent like `empty`."""
    more = {"concat_latent_image": torch.ones(1, 16, 2, 4, 4), "concat_mask": torch.zeros(1, 1, 2, 4, 4)}
    made = [[encoded, {**known, **more}] for encoded, known in conditioning]
    content.note_pictures(made, red())
    return made


def sample(evaluations, positive, negative=None, latent=None, **changes):
    """Runs one step, and returns how often an expert was evaluated."""
    high, low, calls = evaluations
    settings = {**SETTINGS, "steps": 1, **changes}
    with torch.inference_mode():
        Sampler.execute(high, low, positive, latent or empty(), seed=1, **settings, negative=negative)
    return len(calls)


def refusal(evaluations, *conditioning, **changes):
    """Returns why a run is refused, which must be before an expert has run."""
    with pytest.raises(ContentError) as refused:
        sample(evaluations, *conditioning, **changes)
    assert evaluations[2] == []
    return str(refused.value)


REFUSED = (
    "The content filter of this ComfyUI refuses: the text holds 'forbiddenite', which is on the list of words. "
    "Nothing was sampled. Change the prompt or the picture."
)


def test_without_a_filter_nothing_is_noted_and_nothing_changes(clip, forbidden, evaluations):
    methods = {name: getattr(comfy.sd.CLIP, name) for name in content.WATCHED}
    content.watch_texts()
    assert {name: getattr(comfy.sd.CLIP, name) for name in content.WATCHED} == methods
    assert type(clip.tokenize("A stone.")) is dict
    positive = with_picture(forbidden)
    assert positive[0][1]["concat_latent_image"] not in content._pictures
    assert sample(evaluations, positive) == 1


def test_texts_are_noted_where_another_pack_has_wrapped_the_encoder(monkeypatch, operator, clip):
    tokenize = comfy.sd.CLIP.tokenize
    monkeypatch.setattr(comfy.sd.CLIP, "tokenize", functools.wraps(tokenize)(lambda *given, **named: tokenize(*given)))
    operator(WORDS="words.txt")
    encoded = CLIPTextEncode().encode(clip, "A stone.")[0][0][0]
    assert content._texts[encoded] == "A stone."


def test_a_word_that_a_lora_brings_is_refused_before_a_model_runs(words, forbidden, evaluations):
    assert refusal(evaluations, with_picture(forbidden)) == REFUSED


def test_the_same_word_in_the_negative_prompt_is_refused(words, stone, forbidden, evaluations):
    for cfg in (1.0, 2.0):
        assert refusal(evaluations, with_picture(stone), with_picture(forbidden), cfg=cfg) == REFUSED


def test_each_text_of_a_combined_prompt_is_read(words, stone, forbidden, evaluations):
    assert refusal(evaluations, with_picture(ConditioningCombine().combine(stone, forbidden)[0])) == REFUSED


def test_what_is_not_listed_is_sampled_and_zeros_hold_no_text(words, stone, evaluations):
    nothing = with_picture(ConditioningZeroOut().zero_out(stone)[0])
    assert sample(evaluations, with_picture(stone), nothing, cfg=2.0) == 1  # both prompts in one batch


def test_a_conditioning_whose_text_nobody_knows_is_refused(words, stone, evaluations):
    made = ([[torch.randn(1, 4, 4096), {}]], ConditioningConcat().concat(stone, stone)[0], [[stone[0][0] * 0.9, {}]])
    for conditioning in made:
        assert refusal(evaluations, with_picture(conditioning)).startswith(
            "The content filter of this ComfyUI must see every text, and which one is in 'positive' is not known. "
            "Nothing was sampled. Take the clip of Load Wan 2.2 I2V or of a loader of ComfyUI"
        )


def test_tokens_know_their_text_until_somebody_changes_them(words, clip):
    one, other = clip.tokenize("A stone."), clip.tokenize("Another stone.")
    assert (one.text, one.is_whole()) == ("A stone.", True)
    for change in (
        lambda tokens: tokens.update(umt5xxl=other["umt5xxl"]),
        lambda tokens: tokens.update(more=other["umt5xxl"]),
        lambda tokens: tokens["umt5xxl"].append(other["umt5xxl"][0]),
        lambda tokens: tokens["umt5xxl"][0].insert(0, other["umt5xxl"][0][0]),
        lambda tokens: tokens.clear(),
    ):
        tokens = clip.tokenize("A stone.")
        change(tokens)
        assert not tokens.is_whole()


def test_every_form_in_which_an_encoder_answers_is_noted():
    one, other = torch.zeros(1), torch.ones(1)
    for made in (one, (one, other), {"cond": one, "pooled_output": other}, [[one, {}]]):
        assert content.encoded_in(made) == [one]
    assert content.encoded_in([[one, {}], [other, {}]]) == [one, other]  # of prompts that change while sampling


def test_a_function_sees_prompt_and_picture_at_once(judges, stone, forbidden, evaluations):
    assert sample(evaluations, with_picture(stone), with_picture(forbidden)) == 1
    assert judges.asked == [("prompt", "A stone.", "FORBIDDENITE, A stone.", (), [[200, 50, 0]] * 2)]
    judges.answer = "no red stones"
    evaluations[2].clear()
    assert refusal(evaluations, with_picture(stone)) == (
        "The content filter of this ComfyUI refuses: no red stones. "
        "Nothing was sampled. Change the prompt or the picture."
    )


def test_image_to_video_latent_notes_both_pictures(judges, vae, stone, evaluations):
    end = red().flip(-1)
    positive, _, latent = ImageToVideo.execute(stone, vae, red(), 0.25, end_image=end).args[:3]
    judges.answer = False
    assert "it gives no reason" in refusal(evaluations, positive, None, latent)
    assert judges.asked[0][-1] == [[200, 50, 0], [0, 50, 200]]


def test_what_is_noted_goes_with_the_conditioning(judges, stone):
    conditioning = with_picture(stone)
    pictures = len(content._pictures)
    assert conditioning[0][1]["concat_latent_image"] in content._pictures
    del conditioning
    assert len(content._pictures) == pictures - 1


def test_a_guider_asks_at_each_run(judges, stone, evaluations):
    high, low, calls = evaluations
    guider = ExpertGuider.execute(high, low, with_picture(stone), cfg=1.0, boundary=0.9)[0]
    run = (guider, KSamplerSelect.execute("euler")[0], RcmSigmas.execute(1, 200.0)[0], empty())
    with torch.inference_mode():
        SamplerCustomAdvanced.execute(RandomNoise.execute(1)[0], *run)
        judges.answer = False
        with pytest.raises(ContentError, match="it gives no reason"):
            SamplerCustomAdvanced.execute(RandomNoise.execute(2)[0], *run)
    assert (len(judges.asked), len(calls)) == (2, 1)


def test_a_picture_that_nobody_knows_is_refused(judges, stone, evaluations):
    known = with_picture(stone)
    unknown = [[stone[0][0], {**known[0][1], "concat_latent_image": torch.ones(1, 16, 2, 4, 4)}]]
    told = "must see every picture, and which one is in 'positive' is not known"
    assert told in refusal(evaluations, unknown)
    assert told in refusal(evaluations, stone)
    more = [[stone[0][0], {**known[0][1], "reference_latents": [torch.randn(1, 16, 1, 4, 4)]}]]
    assert told in refusal(evaluations, more)
    begun = {"samples": torch.randn(1, 16, 2, 4, 4)}
    assert "which one is in 'latent' is not known" in refusal(evaluations, known, None, begun)
    high, low, calls = evaluations
    patched = high.clone()
    patched.add_object_patch("concat_cond", lambda **_: torch.ones(1, 20, 2, 4, 4))
    assert "which one is in 'latent' is not known" in refusal((patched, low, calls), known)
    assert judges.asked == []


def test_words_need_no_picture(words, stone, evaluations):
    unknown = [[stone[0][0], {"concat_latent_image": torch.ones(1, 16, 2, 4, 4)}]]
    assert sample(evaluations, unknown) == 1
