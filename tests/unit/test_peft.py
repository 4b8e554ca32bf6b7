import json
import math

import pytest
from pack.weights.peft import Scaling

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
        (settings(lora_alpha=4, alpha_pattern={"self_attn.q": 10**30}), 4),
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
