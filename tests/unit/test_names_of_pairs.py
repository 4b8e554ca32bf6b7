"""What two file names tell of each other: which expert each is for, and which file is the partner."""

import pytest
from pack.weights import names

RCM_HIGH = "Wan22-I2V-A14B-HIGH-rCM6_0_lora_rank_64_bf16.safetensors"
RCM_LOW = "Wan22-I2V-A14B-LOW-rCM1_0_lora_rank_64_bf16.safetensors"


@pytest.mark.parametrize(
    ("high", "low", "named"),
    [
        ("a_H.safetensors", "a_L.safetensors", ("high", "low")),
        ("a_L.safetensors", "a_H.safetensors", ("low", "high")),
        ("low/a.safetensors", "high/a.safetensors", ("low", "high")),
        ("low_dance.safetensors", "high_dance.safetensors", ("low", "high")),
        ("a_high.safetensors", "b.safetensors", ("high", None)),
        ("clip_L.safetensors", "clip_L.safetensors", (None, None)),
        ("a_H.safetensors", None, (None, None)),
        (None, "a_low.safetensors", (None, "low")),
    ],
)
def test_two_names_tell_the_experts_by_what_tells_them_apart(high, low, named):
    assert names.experts_of(high, low) == named


@pytest.mark.parametrize(
    ("high", "available", "low"),
    [
        ("a_high_noise.safetensors", ["a_low_noise.safetensors"], "a_low_noise.safetensors"),
        ("a_HIGH.safetensors", ["a_LOW.safetensors"], "a_LOW.safetensors"),
        ("A-High.safetensors", ["a_low.safetensors"], "a_low.safetensors"),
        ("DanceHighNoise.safetensors", ["dance_low_noise.safetensors"], "dance_low_noise.safetensors"),
        ("highnoise_a.safetensors", ["LowNoise_a.safetensors"], "LowNoise_a.safetensors"),
        ("a_H.safetensors", ["a_L.safetensors"], "a_L.safetensors"),
        ("a-HN-v1.safetensors", ["a-LN-v1.safetensors"], "a-LN-v1.safetensors"),
        ("a_HI.safetensors", ["a_LO.safetensors"], "a_LO.safetensors"),
        ("a_hi_noise.safetensors", ["a_lo_noise.safetensors"], "a_lo_noise.safetensors"),
        ("a_HNoise.safetensors", ["a_LNoise.safetensors"], "a_LNoise.safetensors"),
        ("HIGHv1.safetensors", ["LOWv1.safetensors"], "LOWv1.safetensors"),
        (
            "high_quality_high_noise.safetensors",
            ["high_quality_low_noise.safetensors"],
            "high_quality_low_noise.safetensors",
        ),
        (
            "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors",
            ["wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors"],
            "wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors",
        ),
        (
            "wan2.2_i2v_A14b_high_noise_lora_rank64_lightx2v_4step_260412.safetensors",
            ["wan2.2_i2v_A14b_low_noise_lora_rank64_lightx2v_4step_260412.safetensors"],
            "wan2.2_i2v_A14b_low_noise_lora_rank64_lightx2v_4step_260412.safetensors",
        ),
        # rCM names differ in the strength that was merged in
        (RCM_HIGH, [RCM_LOW], RCM_LOW),
        (RCM_HIGH, ["rcm/" + RCM_LOW], "rcm/" + RCM_LOW),
        (RCM_HIGH, [RCM_LOW, RCM_LOW.replace("1_0", "6_0")], RCM_LOW.replace("1_0", "6_0")),
        (RCM_HIGH, [RCM_LOW, RCM_LOW.replace("1_0", "2_0")], None),
        (RCM_HIGH, [RCM_LOW.replace("64", "32")], None),
        # the same or the mirrored folder first, then any other
        ("x/a_high.safetensors", ["a_low.safetensors", "x/a_low.safetensors"], "x/a_low.safetensors"),
        ("x/a_high.safetensors", ["y/a_low.safetensors"], "y/a_low.safetensors"),
        ("x/a_high.safetensors", ["y/a_low.safetensors", "z/a_low.safetensors"], None),
        ("high/a_high.safetensors", ["low\\a_low.safetensors", "a_low.safetensors"], "low\\a_low.safetensors"),
        ("high/a.safetensors", ["low/a.safetensors"], "low/a.safetensors"),
        # a name that says nothing but the expert is that of its folder
        ("cat/high_noise_model.safetensors", ["dog/low_noise_model.safetensors"], None),
        ("cat/high.safetensors", ["low.safetensors"], None),
        ("cat/lora_HIGH_v2.safetensors", ["dog/lora_LOW_v2.safetensors"], None),
        ("high_noise_model.safetensors", ["low_noise_model.safetensors"], "low_noise_model.safetensors"),
        ("cat/high.safetensors", ["dog/low.safetensors", "cat/low.safetensors"], "cat/low.safetensors"),
        ("cat_high/high.safetensors", ["cat_low/low.safetensors"], "cat_low/low.safetensors"),
        ("cat/high/lora.safetensors", ["cat/low/lora.safetensors"], "cat/low/lora.safetensors"),
        # the words of other languages
        ("镜头_高噪.safetensors", ["镜头_低噪.safetensors"], "镜头_低噪.safetensors"),
        (
            "镜头高噪声v2.safetensors",
            ["镜头低噪声v2.safetensors", "镜头低噪声v1.safetensors"],
            "镜头低噪声v2.safetensors",
        ),
        ("鏡頭_高雜訊.safetensors", ["鏡頭_低雜訊.safetensors"], "鏡頭_低雜訊.safetensors"),
        ("カメラ_ハイノイズ.safetensors", ["カメラ_ローノイズ.safetensors"], "カメラ_ローノイズ.safetensors"),
        ("카메라_고노이즈.safetensors", ["카메라_저노이즈.safetensors"], "카메라_저노이즈.safetensors"),
        ("danse_bruit_\u00e9lev\u00e9.pt", ["danse_bruit_faible.pt"], "danse_bruit_faible.pt"),
        ("danse_bruit_e\u0301leve\u0301.pt", ["danse_bruit_faible.pt"], "danse_bruit_faible.pt"),
        ("baile_alto_ruido.pt", ["baile_bajo_ruido.pt"], "baile_bajo_ruido.pt"),
        ("dança_alto_ruído.pt", ["dança_baixo_ruído.pt"], "dança_baixo_ruído.pt"),
        ("танец_высокий_шум.pt", ["танец_низкий_шум.pt"], "танец_низкий_шум.pt"),
        ("танец_высокошумная.pt", ["танец_низкошумная.pt"], "танец_низкошумная.pt"),
        ("高噪/镜头.pt", ["低噪/镜头.pt"], "低噪/镜头.pt"),
        ("镜头_高噪.pt", ["镜头_low_noise.pt"], "镜头_low_noise.pt"),
        ("hombre_alto.pt", ["hombre_bajo.pt"], None),
        # never a guess
        ("a_high.safetensors", [], None),
        ("a_high.safetensors", ["a_high.safetensors", "b_low.safetensors"], None),
        ("a_high.safetensors", ["a_low.pt"], None),
        ("a_high.safetensors", ["a_low_v2.safetensors"], None),
        ("a_high_e20.safetensors", ["a_low_e15.safetensors"], None),
        ("a_high.safetensors", ["A-low.safetensors", "a_LOW.safetensors"], None),
        ("a_low.safetensors", ["a_high.safetensors"], None),
        ("a.safetensors", ["low/a.safetensors"], None),
        ("a.safetensors", ["A.safetensors"], None),
        ("slow_a.safetensors", ["shigh_a.safetensors"], None),
    ],
)
def test_the_partner_differs_in_nothing_but_the_expert(high, available, low):
    assert names.partner(high, available) == low
