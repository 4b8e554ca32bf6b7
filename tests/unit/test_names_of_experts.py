"""What a file name tells of the expert that the file is for."""

import json
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
        ("high/dance_high_low.safetensors", None),
        ("high/dance_high_noise_and_low_noise.safetensors", None),
        ("High and low dance.safetensors", None),
        ("danceHighLow.safetensors", None),
        # unless one of them is the subject's, or another word tells
        ("wan22_HIGH_low_poly.safetensors", "high"),
        ("wan22_high_low_poly.safetensors", "high"),
        ("wan2.2_HIGH_low_angle.safetensors", "high"),
        ("style_LOW_high_quality.safetensors", "low"),
        ("glow_low_HighNoise.safetensors", "high"),
        ("high_low_angle_HIGH_noise.safetensors", "high"),
        ("high_low_dance_HIGH_noise.safetensors", "high"),
        ("wan22_low_high_res_LN.safetensors", "low"),
        ("dance_low_hn.safetensors", "high"),
        ("ハイノイズローノイズ.safetensors", None),
        ("저노이즈고노이즈.safetensors", None),
        ("舞蹈_高低噪.safetensors", None),
        ("wan22高低噪声通用.safetensors", None),
        ("低高ノイズ.safetensors", None),
        # where the subject ends in that letter, as in high jump
        ("跳高低噪.safetensors", "low"),
        ("跳高_低噪.safetensors", "low"),
        ("", None),
    ],
)
def test_a_name_tells_the_expert_by_whole_words(name, expert):
    assert names.expert_of(name) == expert


LOCALES = sorted((Path(__file__).parents[2] / "locales").iterdir())


@pytest.mark.parametrize("language", LOCALES, ids=lambda path: path.name)
def test_the_words_that_the_loader_shows_in_a_language_tell_the_expert_in_a_file_name(language):
    inputs = json.loads((language / "nodeDefs.json").read_text(encoding="utf-8"))["Wan22Turbo_Loader"]["inputs"]
    for expert in ("high", "low"):
        named = names.words(inputs[f"{expert}_noise"]["name"])
        assert [expert, "noise"] in [named[place : place + 2] for place in range(len(named))]
