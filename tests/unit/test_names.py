import json
import tracemalloc
from difflib import get_close_matches
from pathlib import Path

import pytest
from pack.weights import names

RCM_HIGH = "Wan22-I2V-A14B-HIGH-rCM6_0_lora_rank_64_bf16.safetensors"
RCM_LOW = "Wan22-I2V-A14B-LOW-rCM1_0_lora_rank_64_bf16.safetensors"


@pytest.mark.parametrize(
    ("name", "expert"),
    [
        ("wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors", "high"),
        ("wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors", "low"),
        (RCM_HIGH, "high"),
        (RCM_LOW, "low"),
        ("Wan2_2-I2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ.safetensors", "high"),
        ("TurboWan2.2-I2V-A14B-low-720P.safetensors", "low"),
        ("Wan2.2-Lightning-HIGH-i2v_lora_r64.safetensors", "high"),
        ("dance_low_rank32.safetensors", "low"),
        ("StyleHighNoise.safetensors", "high"),
        ("styleLOW.safetensors", "low"),
        ("lownoise-v2.safetensors", "low"),
        ("HIGHv1.safetensors", "high"),
        ("high_v2.safetensors", "high"),
        ("dance HN.safetensors", "high"),
        ("dance_ln_e20.safetensors", "low"),
        ("high noise.safetensors", "high"),
        ("слон_high.safetensors", "high"),
        # another "high" or "low" is no match for the clear words
        ("slow_motion_high_noise.safetensors", "high"),
        ("high_fashion_low_noise.safetensors", "low"),
        ("low_angle_shot_HIGH.safetensors", "high"),
        # the folder speaks where the name does not
        ("high_noise_model/diffusion_pytorch_model.safetensors", "high"),
        ("wan\\LowNoise\\model.safetensors", "low"),
        ("high_noise/dance_low.safetensors", "low"),
        # in every language of locales/
        ("镜头_高噪.safetensors", "high"),
        ("镜头低噪声_v2.safetensors", "low"),
        ("鏡頭_低雜訊.safetensors", "low"),
        ("鏡頭-高噪點.safetensors", "high"),
        ("カメラ_高ノイズ.safetensors", "high"),
        ("カメラ-ローノイズ.safetensors", "low"),
        ("카메라_고노이즈.safetensors", "high"),
        ("카메라 낮은 노이즈.safetensors", "low"),
        ("danse_haut_bruit.safetensors", "high"),
        ("danse-bruit-faible.safetensors", "low"),
        ("baile_alto_ruido.safetensors", "high"),
        ("BaileRuidoBajo.safetensors", "low"),
        ("dança_ruído_baixo.safetensors", "low"),
        ("танец_высокий_шум.safetensors", "high"),
        ("танец-низкошумный.safetensors", "low"),
        ("高噪/镜头.safetensors", "high"),
        ("hombre_alto.safetensors", None),
        ("haut_rouge.safetensors", None),
        ("镜头_高.safetensors", None),
        ("スローノイズ.safetensors", None),
        ("噪点风格.safetensors", None),
        # words only
        ("highres_fix.safetensors", None),
        ("high_res.safetensors", None),
        ("slow.safetensors", None),
        ("flow.safetensors", None),
        ("glow_style.safetensors", None),
        ("lowrider.safetensors", None),
        ("highland-cow.safetensors", None),
        ("thigh.safetensors", None),
        ("low_angle.safetensors", None),
        ("high_heels.safetensors", None),
        ("low_vram.safetensors", None),
        ("high_contrast_film.safetensors", None),
        ("high_fashion.safetensors", None),
        ("high_kick_dance.safetensors", None),
        ("low_light.safetensors", None),
        ("low_cut_dress_v2.safetensors", None),
        ("slownoise.safetensors", None),
        ("wan_h264.safetensors", None),
        ("clip_l.safetensors", None),
        # both say nothing
        ("dance_high_and_low.safetensors", None),
        ("high_and_low_dance.safetensors", None),
        ("wan22_high_low_dance.safetensors", None),
        ("low-high noise dance.safetensors", None),
        ("HN_LN_dance.safetensors", None),
        ("high_noise_low_light.safetensors", "high"),
        ("high_noise_and_low_noise.safetensors", None),
        ("ハイノイズローノイズ.safetensors", None),
        ("저노이즈고노이즈.safetensors", None),
        ("", None),
    ],
)
def test_a_name_tells_the_expert_by_whole_words(name, expert):
    assert names.expert_of(name) == expert


@pytest.mark.parametrize(
    ("wanted", "available", "found"),
    [
        ("a.safetensors", ["x/a.safetensors", "a.safetensors"], "a.safetensors"),
        ("x/a.safetensors", ["x\\a.safetensors", "y/a.safetensors"], "x\\a.safetensors"),
        ("x\\a.safetensors", ["x/a.safetensors"], "x/a.safetensors"),
        ("x/A.safetensors", ["X/a.safetensors", "y/A.safetensors"], "X/a.safetensors"),
        ("a.safetensors", ["x/y/a.safetensors"], "x/y/a.safetensors"),
        ("x/a.safetensors", ["a.safetensors"], "a.safetensors"),
        ("x/a.safetensors", ["y/a.safetensors", "z/A.safetensors"], "y/a.safetensors"),
        ("A.SAFETENSORS", ["x/a.safetensors"], "x/a.safetensors"),
        ("C:\\ComfyUI\\models\\loras\\a.safetensors", ["wan/a.safetensors"], "wan/a.safetensors"),
        ("STRASSE.safetensors", ["straße.safetensors"], "straße.safetensors"),
        ("high_noise/model.safetensors", ["model.safetensors"], "model.safetensors"),
        ("model.safetensors", ["low_noise/model.safetensors"], "low_noise/model.safetensors"),
        ("dog/high_noise_model.safetensors", ["high_noise_model.safetensors"], "high_noise_model.safetensors"),
        ("C:\\loras\\cat\\high.safetensors", ["cat/high.safetensors", "dog/high.safetensors"], "cat/high.safetensors"),
        ("loras/cat/high.safetensors", ["wan/Cat/high.safetensors"], "wan/Cat/high.safetensors"),
        (
            "high_noise/model.safetensors",
            ["wan/high_noise/model.safetensors", "wan/low_noise/model.safetensors"],
            "wan/high_noise/model.safetensors",
        ),
    ],
)
def test_a_name_from_another_machine_finds_the_one_file_it_can_mean(wanted, available, found):
    assert names.resolve_name(wanted, available, "loras") == found


@pytest.mark.parametrize(
    "name", ["high_noise_model", "pytorch_lora_weights", "adapter_model", "diffusion_pytorch_model", "LOW_v2"]
)
def test_a_name_that_tools_give_to_every_file_means_none_of_another_folder(name):
    with pytest.raises(FileNotFoundError, match=f"'{name}.safetensors' is not in ComfyUI's folder 'loras'"):
        names.resolve_name(f"cat/{name}.safetensors", [f"dog/{name}.safetensors"], "loras")


@pytest.mark.parametrize(
    ("wanted", "available", "expert", "found"),
    [
        ("model.safetensors", ["low_noise/model.safetensors"], "low", "low_noise/model.safetensors"),
        ("model.safetensors", ["low_noise/model.safetensors"], "high", None),
        (
            "model.safetensors",
            ["low_noise/model.safetensors", "high/model.safetensors"],
            "high",
            "high/model.safetensors",
        ),
        # what a name says itself is what the user chose
        ("low_noise/model.safetensors", ["wan/low/model.safetensors"], "high", "wan/low/model.safetensors"),
    ],
)
def test_the_input_tells_the_expert_where_the_name_does_not(wanted, available, expert, found):
    if found:
        assert names.resolve_name(wanted, available, "diffusion_models", expert) == found
        return
    with pytest.raises(FileNotFoundError, match="Download it into that folder"):
        names.resolve_name(wanted, available, "diffusion_models", expert)


def test_a_name_in_the_other_form_of_unicode_is_found_by_its_letters():
    composed, apart = "caf\u00e9.safetensors", "cafe\u0301.safetensors"
    assert names.resolve_name(composed, [apart], "loras") == apart
    assert names.resolve_name("x/" + apart, [composed], "loras") == composed


def test_several_files_that_fit_are_listed():
    with pytest.raises(ValueError, match="times") as caught:
        names.resolve_name("/home/me/a.safetensors", ["y/a.safetensors", "x/a.safetensors", "b.safetensors"], "loras")
    assert str(caught.value) == (
        "'a.safetensors' is in 'loras' 2 times: 'x/a.safetensors', 'y/a.safetensors'. Choose one of them in the list."
    )


def test_a_missing_file_is_named_with_the_closest_ones():
    with pytest.raises(FileNotFoundError) as caught:
        names.resolve_name(
            "/home/me/wan_2.1_vea.safetensors", ["sub/wan_2.1_vae.safetensors", "ae.safetensors", "zzz.pth"], "vae"
        )
    assert str(caught.value) == (
        "'wan_2.1_vea.safetensors' is not in ComfyUI's folder 'vae'. "
        "The closest names there are 'sub/wan_2.1_vae.safetensors': choose one, then refresh the page."
    )


def test_a_missing_file_with_no_like_is_to_be_downloaded():
    with pytest.raises(FileNotFoundError) as caught:
        names.resolve_name("a.safetensors", [], "vae")
    assert str(caught.value) == (
        "'a.safetensors' is not in ComfyUI's folder 'vae'. Download it into that folder, then refresh the page."
    )


@pytest.mark.parametrize(
    ("wanted", "other"),
    [
        ("i2v_high_noise.safetensors", "i2v_low_noise.safetensors"),
        ("high_noise/model.safetensors", "low_noise/model.safetensors"),
        ("low_noise\\model.safetensors", "high_noise/model.safetensors"),
    ],
)
def test_the_other_expert_is_neither_taken_nor_suggested(wanted, other):
    with pytest.raises(FileNotFoundError, match="Download it into that folder"):
        names.resolve_name(wanted, [other], "diffusion_models")


def test_a_name_is_split_into_lower_case_words_and_numbers():
    assert names.words("Wan2.2-HighNoise_LOWv3 naïve") == ["wan", "2", "2", "high", "noise", "low", "v", "3", "naïve"]


LONG = "a/" * 100_000 + "x.safetensors"  # which took 71 s, while the whole server waited


def test_a_name_that_no_file_can_have_is_refused_before_a_look_at_it():
    with pytest.raises(ValueError, match="at most") as caught:
        names.resolve_name(LONG, ["x.safetensors"], "loras")
    assert str(caught.value) == ("The name of a file has at most 400 characters, got 200013. Choose a file of 'loras'.")
    assert names.resolve_name(LONG, [LONG], "loras") == LONG  # unless ComfyUI lists it


def test_reading_a_name_is_linear_in_its_folders():
    deep = "a/" * 20_000 + "x.safetensors"
    assert names.expert_of("low_noise/" + deep) == "low"
    assert names.partner("high/" + deep, ["low/" + deep]) == "low/" + deep


def test_nothing_of_the_names_that_strangers_ask_for_is_kept():
    available = ["one_high_noise.safetensors", "two_low_noise.safetensors"]

    def ask(first):
        for number in range(first, first + 300):
            with pytest.raises(FileNotFoundError):
                names.resolve_name(f"{number}" * 50 + "/folder/name.safetensors", available, "loras")

    ask(0)  # what is made once is made
    tracemalloc.start()
    try:
        ask(300)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000


def test_a_missing_name_is_compared_with_the_few_that_share_its_words(monkeypatch):
    compared = []

    def note(name, names, n):
        compared.extend(names)
        return get_close_matches(name, names, n)

    monkeypatch.setattr(names, "get_close_matches", note)
    many = [f"wan_style_{number}_dance.safetensors" for number in range(3000)]
    with pytest.raises(FileNotFoundError, match=r"The closest names there are 'glow_of_dusk\.safetensors'"):
        names.resolve_name("glow_of_dusk_v2.safetensors", [*many, "glow_of_dusk.safetensors"], "loras")
    assert len(compared) <= 20


LOCALES = sorted((Path(__file__).parents[2] / "locales").iterdir())


@pytest.mark.parametrize("language", LOCALES, ids=lambda path: path.name)
def test_the_words_that_the_loader_shows_in_a_language_tell_the_expert_in_a_file_name(language):
    inputs = json.loads((language / "nodeDefs.json").read_text(encoding="utf-8"))["Wan22Turbo_Loader"]["inputs"]
    for expert in ("high", "low"):
        named = names.words(inputs[f"{expert}_noise"]["name"])
        assert [expert, "noise"] in [named[place : place + 2] for place in range(len(named))]
