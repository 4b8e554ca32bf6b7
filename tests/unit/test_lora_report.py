"""What the report says of LoRAs, and which are refused."""

from pathlib import Path

import pytest
from pack.tests.toy.shapes import wan
from pack.weights.formats.header import ModelFile
from pack.weights.loras import report as lora_report
from pack.weights.loras.report import Match, Source
from pack.weights.wan.transformer import Kind


def match(about, expert="high", file_name="x.safetensors", matched=8, unmatched=(), strength=1.0, **others):
    file = ModelFile(Path(file_name), about)
    return Match(
        file, expert, strength, **{"matched": matched, "keys": 3 * matched, "unmatched": list(unmatched), **others}
    )


@pytest.mark.parametrize(
    ("source", "note"),
    [
        (Source.CHOSEN, ""),
        (Source.PAIRED, " (auto: paired by name)"),
        (Source.SHARED, " (auto: no partner found, the same file serves both experts)"),
    ],
)
def test_the_report_says_what_became_of_each_file(listed, source, note):
    about = listed(wan(ranks=(4, 8)), ss_base_model_version="wan22_14b", software="ai-toolkit", ss_network_alpha="2.5")
    missed = [f"x.{number}.lora_A.weight" for number in range(5)]
    matches = [
        match(about, file_name="a_high.safetensors", matched=480, source=source),
        match(listed(wan(ranks=(4, 4))), "low", "a_low.safetensors", 475, missed, -0.5, source=source),
    ]
    assert lora_report.report(matches).splitlines() == [
        "high: a_high.safetensors at 1",
        "  480 of 480 layers (1440 keys), rank up to 8, alpha 2.5, made for wan22_14b, with ai-toolkit",
        f"low: a_low.safetensors at -0.5{note}",
        "  475 of 480 layers (1425 keys), rank 4, made for Wan 14B",
        "  not applied: x.0, x.1, x.2 and 2 more (5 keys)",
    ]


def test_notes_that_are_too_long_to_be_read_are_named(listed):
    found = match(listed(wan(), ss_tag_frequency="x" * 900_000, ss_comment="short"))
    warning = (
        "  Warning: The header of 'x.safetensors' holds notes that are too long to be read (ss_tag_frequency). If the "
        "LoRA needs trigger words from there, type them in trigger_words."
    )
    assert lora_report.report([found]).splitlines()[-1] == warning
    assert lora_report.preview(found)[-1] == warning


def test_few_missed_layers_are_all_named(listed):
    assert (
        "not applied: x, y, z (3 keys)\n"
        in lora_report.report([match(listed({"a.diff": (1,)}), unmatched="xyz")]) + "\n"
    )


def test_the_report_of_no_lora_says_so():
    assert lora_report.report([]) == "No LoRA is applied."


def test_a_lora_at_strength_0_is_reported_as_doing_nothing(listed):
    report = lora_report.report([match(listed({"x.diff": (1,)}), "low", matched=0, strength=0.0)])
    assert report.splitlines() == [
        "low: x.safetensors at 0",
        "  Warning: The strength of 'x.safetensors' is 0, so it does nothing.",
    ]


@pytest.mark.parametrize(
    ("expert", "name", "named"), [("low", "a_high.safetensors", "high"), ("high", "a_LOW.safetensors", "low")]
)
def test_a_file_named_for_the_other_expert_gives_a_warning(listed, expert, name, named):
    warning = (
        f"'{name}' is named for the {named}-noise expert, but it is applied to the {expert}-noise expert. "
        "Check that the two files are not swapped."
    )
    swapped = match(listed(wan()), expert, name, named=named)
    assert lora_report.warnings(swapped) == [warning]
    assert f"  Warning: {warning}" in lora_report.report([swapped]).splitlines()
    assert lora_report.warnings(match(listed(wan()), named, name, named=named)) == []


@pytest.mark.parametrize(
    ("width", "metadata", "problem"),
    [
        (3072, {}, "Wan 2.2 TI2V 5B: it does not fit a 14B model"),
        (1536, {}, "Wan 1.3B: it does not fit a 14B model"),
        (5120, {"ss_base_model_version": "wan22_5B"}, "Wan 2.2 TI2V 5B: it does not fit a 14B model"),
        (5120, {"modelspec__title": "Wan2.2 TI2V dance"}, "Wan 2.2 TI2V 5B: it does not fit a 14B model"),
        (5120, {"modelspec__architecture": "wan2.1_t2v_1.3B"}, "Wan 1.3B: it does not fit a 14B model"),
        (
            5120,
            {"file_name": "Wan2.1_T2V_14B_dance.safetensors"},
            "Wan T2V: with a start image it may do less than it was made for",
        ),
        (
            5120,
            {"ss_base_model_version": "Wan2.2-T2V-A14B"},
            "Wan T2V: with a start image it may do less than it was made for",
        ),
    ],
)
def test_a_lora_of_another_wan_model_gives_a_warning(listed, width, metadata, problem):
    name = metadata.pop("file_name", "x.safetensors")
    assert lora_report.warnings(match(listed(wan(width), **metadata), file_name=name)) == [
        f"'{name}' was made for {problem}. Choose a Wan 2.2 I2V 14B LoRA."
    ]


@pytest.mark.parametrize("base", ["wan22_14b_i2v", "wan2.1_t2v_i2v", "wan2.2", "0.5B", ""])
def test_a_lora_of_this_model_gives_no_warning(listed, base):
    assert lora_report.warnings(match(listed(wan(), ss_base_model_version=base))) == []


@pytest.mark.parametrize(
    ("shapes", "metadata", "cause"),
    [
        (
            {"lora_unet_down_blocks_0_proj.lora_down.weight": (4, 8)},
            {},
            "It was made for Stable Diffusion or SDXL; choose a Wan 2.2 14B LoRA.",
        ),
        (
            {"lora_unet_blocks_0_self_attn_q.lora_down.weight": (4, 1536)},
            {},
            "It was made for Wan 1.3B; choose a Wan 2.2 14B LoRA.",
        ),
        (
            {"x.lora_A.weight": (4, 8)},
            {"ss_base_model_version": "sd3"},
            "It was made for sd3; choose a Wan 2.2 14B LoRA.",
        ),
        (
            {"x.lora_A.weight": (4, 8)},
            {},
            "It was probably made for another model, with layers such as 'x'; choose a Wan 2.2 14B LoRA.",
        ),
        (
            {"blocks.0.attn1.to_q.lora_A.weight": (4, 5120)},
            {},
            "It was made for Wan, but its tensors are incomplete, of another size, or of no known form, "
            "such as 'blocks.0.attn1.to_q'. Download it again, or look for its version for Wan 2.2 14B and ComfyUI.",
        ),
        (
            {"diffusion_model.blocks.0.self_attn.q.oft_blocks": (2, 4, 4)},
            {},
            "It was made for Wan, but its tensors are incomplete, of another size, or of no known form, such as "
            "'diffusion_model.blocks.0.self_attn.q.oft_blocks'. Download it again, or look for its version for "
            "Wan 2.2 14B and ComfyUI.",
        ),
        (
            {"oft.oft_blocks": (4, 8)},
            {},
            "It was probably made for another model, with layers such as 'oft.oft_blocks'; choose a Wan 2.2 14B LoRA.",
        ),
    ],
)
def test_a_lora_that_matches_nothing_is_refused_with_the_likely_cause(listed, shapes, metadata, cause):
    message = lora_report.no_match_message(match(listed(shapes, **metadata), matched=0, unmatched=shapes))
    assert message == f"LoRA 'x.safetensors' matched 0 of 1 layers of this model. {cause}"


def test_a_lora_for_the_other_expert_alone_is_refused(listed):
    only = match(listed(wan()), matched=0, other_expert=["transformer_2.blocks.0.attn1.to_q.lora_A"])
    assert lora_report.no_match_message(only) == (
        "LoRA 'x.safetensors' matched 0 of 0 layers of this model. "
        "All of it is for the other expert. Choose none for the high-noise expert."
    )


def test_tensors_without_a_use_and_of_the_other_expert_are_told(listed):
    told = match(listed(wan()), "low", ignored=["x.lora_B.bias"], other_expert=["a", "b"])
    assert lora_report.report([told]).splitlines()[2:] == [
        "  tensors without a use: x.lora_B.bias",
        "  for the other expert: 2 keys, as the file holds both",
    ]


def test_strengths_that_are_not_understood_give_a_warning(listed):
    told = match(listed(wan()), "low", unread=(".*q",))
    assert lora_report.warnings(told) == [
        "'x.safetensors' sets the strength of some layers in a way that is not understood here (.*q). "
        "Those layers may act too much or too little."
    ]


def test_a_files_names_cannot_forge_lines_of_the_report(listed):
    forged = ["x\nlow: good.safetensors at 1\n  480 of 480 layers" + "y" * 1000]
    report = lora_report.report([match(listed(wan()), unmatched=forged)])
    assert len(report.splitlines()) == 3
    assert len(report) < 300


def test_the_width_of_a_kronecker_factor_is_not_the_models(facts):
    assert facts({"diffusion_model.blocks.0.self_attn.q.lokr_w2_b": (8, 320)}).made_for == "Wan"


def test_a_lora_of_leftovers_alone_is_refused(listed):
    shapes = {"diffusion_model.img_emb.proj.1.lora_A.weight": (4, 8)}
    assert lora_report.no_match_message(match(listed(shapes), matched=0, unmatched=shapes)) == (
        "LoRA 'x.safetensors' matched 0 of 0 layers of this model. "
        "It has no layers that an image-to-video model has; choose a Wan 2.2 14B LoRA."
    )


def test_a_model_in_place_of_a_lora_is_named(listed):
    shapes = {"decoder.conv_in.weight": (4, 8)}
    found = match(listed(shapes), matched=0, unmatched=shapes)
    assert found.facts.kind is Kind.VAE
    assert lora_report.no_match_message(found) == ("'x.safetensors' is a VAE, not a LoRA. Choose a Wan 2.2 14B LoRA.")


def test_leftovers_of_wan_21_are_counted_apart_and_quiet(listed):
    leftovers = [
        "diffusion_model.blocks.0.cross_attn.k_img.lora_A.weight",
        "diffusion_model.blocks.0.cross_attn.k_img.lora_B.weight",
        "lora_unet_blocks_1_cross_attn_v_img.lora_down.weight",
        "diffusion_model.blocks.0.cross_attn.norm_k_img.diff",
        "diffusion_model.img_emb.proj.1.diff_b",
    ]
    found = match(listed(wan()), unmatched=[*leftovers, "diffusion_model.look_img_embed.lora_A.weight"])

    assert (found.total, len(found.leftovers), found.missed) == (9, 4, ["diffusion_model.look_img_embed"])
    text = lora_report.report([match(listed(wan()), unmatched=leftovers)])
    assert "8 of 8 layers (24 keys)" in text
    assert "layers of Wan 2.1's image encoder left out, as Wan 2.2 has none: 4" in text
    assert "not applied" not in text
    assert "Warning" not in text


def both(about, expert="high", **changes):
    return match(about, expert, "Style_HIGH.safetensors", other_expert=["a", "b"], named="high", **changes)


def test_a_half_that_no_expert_gets_is_told(listed):
    about = listed(wan())
    assert lora_report.warnings(both(about)) == []
    # its name tells one expert, and it holds both
    assert lora_report.warnings(both(about, "low", source=Source.SHARED)) == []
    for expert, other in (("high", "low"), ("low", "high")):
        assert lora_report.warnings(both(about, expert, alone=True)) == [
            f"'Style_HIGH.safetensors' holds a half for the {other}-noise expert, too, which is not applied. "
            f"Choose it in lora_{other} as well."
        ]


def test_layers_of_zeros_are_counted_and_a_lora_of_nothing_else_gives_a_warning(listed):
    some, all_of_it = (match(listed(wan()), zeros=zeros) for zeros in (3, 8))
    assert "  layers of zeros, which change nothing: 3" in lora_report.report([some]).splitlines()
    assert lora_report.warnings(some) == []
    assert lora_report.warnings(all_of_it) == [
        "All layers of 'x.safetensors' hold zeros, so it does nothing, as a LoRA before its training. "
        "Choose another version of it."
    ]


def test_settings_that_may_be_another_files_are_told(listed):
    told = match(listed(wan()), assumed=True, in_doubt=True)
    assert lora_report.warnings(told) == [
        "The alpha of 'x.safetensors' is not given, and taken as the rank. The adapter_config.json in its folder may "
        "be that of another file there: put the two that belong together into a folder of their own."
    ]


@pytest.mark.parametrize("in_doubt", [False, True])
@pytest.mark.parametrize("part", ["lokr_w1", "hada_w1_a"])
def test_no_file_is_named_for_the_alpha_of_a_kind_whose_settings_are_not_read(listed, part, in_doubt):
    told = match(listed({f"base_model.model.blocks.0.ffn.0.{part}": (8, 8)}), assumed=True, in_doubt=in_doubt)
    assert lora_report.warnings(told) == [
        "The alpha of 'x.safetensors' is not given, and taken as the rank. If its effect is too strong or too weak, "
        "change the strength."
    ]
