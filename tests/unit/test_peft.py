import json
import math

import pytest
from pack.weights.lora_keys import Scaling, are_in_doubt

LAYER = "blocks.0.self_attn.q"


def settings(**values):
    return {"lora_adapter_metadata": json.dumps(values)}


@pytest.mark.parametrize(
    ("metadata", "alpha"),
    [
        (settings(lora_alpha=4), 4),
        (settings(**{"transformer.lora_alpha": 4, "transformer.r": 2}), 4),
        (settings(lora_alpha=4, use_rslora=True), 4 * math.sqrt(2)),
        (settings(lora_alpha=4, alpha_pattern={"self_attn.q": 7, "ffn.0": 9}), 7),
        (settings(lora_alpha=4, alpha_pattern={"^blocks\\.0\\.self_attn\\.q$": 7}), 7),
        (settings(lora_alpha=4, alpha_pattern={"(.*\\.)?self_attn.q": 7}), 7),
        (settings(lora_alpha=4, alpha_pattern={"attn.q": 7}), 4),  # a part of a component is no layer
        (settings(lora_alpha=4, alpha_pattern=["q"]), 4),
    ],
)
def test_settings_give_the_alpha_of_a_layer(metadata, alpha):
    found = Scaling.of(metadata)
    assert found is not None
    assert found.alpha(LAYER, rank=2) == pytest.approx(alpha)
    assert found.unread == ()


@pytest.mark.parametrize("pattern", [".*q", "blocks\\.[0-9]+\\.ffn", "(a+)+$", ""])
def test_a_pattern_is_not_run_but_told(pattern):
    found = Scaling.of(settings(lora_alpha=4, alpha_pattern={pattern: 7}))
    assert found is not None
    assert (found.alpha(LAYER, 2), found.unread) == (4, (pattern,))


@pytest.mark.parametrize("alpha", [10**30, -math.inf, "7", None, True])
def test_an_alpha_of_a_layer_that_is_none_is_told(alpha):
    found = Scaling.of(settings(lora_alpha=4, alpha_pattern={"self_attn.q": alpha, "ffn.0": 9}))
    assert found is not None
    assert (found.alpha(LAYER, 2), found.unread) == (4, ("self_attn.q",))


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        settings(lora_alpha="4"),
        settings(lora_alpha=True),
        settings(lora_alpha=10**400),
        {"lora_adapter_metadata": '{"lora_alpha": NaN}'},
        {"lora_adapter_metadata": '{"lora_alpha": 1e999}'},
        {"lora_adapter_metadata": "[" * 100_000},
        {"lora_adapter_metadata": "[4]"},
        {"lora_adapter_metadata": "{"},
    ],
)
def test_what_is_no_setting_counts_as_none(metadata):
    assert Scaling.of(metadata) is None


def test_each_expert_has_its_own_settings_where_the_file_holds_both():
    both = settings(**{"transformer.lora_alpha": 4, "transformer_2.lora_alpha": 9})
    assert Scaling.of(both, "transformer") == Scaling(4.0, {}, False)
    assert Scaling.of(both, "transformer_2") == Scaling(9.0, {}, False)
    assert Scaling.of(settings(**{"transformer.lora_alpha": 4}), "transformer_2") == Scaling(4.0, {}, False)


@pytest.mark.parametrize(
    ("name", "others", "found"),
    [
        ("adapter_model.safetensors", [], True),
        ("adapter_model.safetensors", ["other.safetensors", "adapter_model.bin"], True),
        ("my_style.safetensors", [], True),  # renamed, and nothing else could be meant
        ("my_style.safetensors", ["notes.txt", "my_style.png"], True),
        ("my_style.safetensors", ["adapter_model.safetensors"], False),
        ("my_style.safetensors", ["other.safetensors"], False),
        ("my_style.safetensors", ["other.PT"], False),
    ],
)
def test_settings_in_a_folder_are_those_of_the_file_they_belong_to(tmp_path, name, others, found):
    for other in (name, *others):
        (tmp_path / other).touch()
    assert not are_in_doubt(tmp_path / name)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 8}), encoding="utf-8")
    scaling = Scaling.beside(tmp_path / name, {4})
    assert (scaling is not None, are_in_doubt(tmp_path / name)) == (found, not found)
    assert Scaling.beside(tmp_path / name, {16}) is None


def test_settings_name_the_experts_as_their_tensors_do():
    both = settings(**{"transformer_1.lora_alpha": 4, "transformer_2.lora_alpha": 9})
    assert Scaling.of(both, "transformer") == Scaling(4.0, {}, False)
    assert Scaling.of(both, "transformer_2") == Scaling(9.0, {}, False)
