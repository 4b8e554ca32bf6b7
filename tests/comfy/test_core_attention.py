"""What Sparse Attention relies on in ComfyUI's own attention, from 0.16.3 to its newest."""

import comfy.ldm.modules.attention as core
import pytest
import torch
from pack.nodes.sparse import KEY, override
from pack.tests.toy.sampling import SHAPE, conditioning, sample

pytestmark = pytest.mark.comfy


class Recorder:
    """Stands where an evaluation stands, and keeps what it is asked for."""

    def __init__(self):
        self.calls = []

    def attend(self, q, k, v, heads, layer, masked, dense):
        self.calls.append((q, k, v, heads, layer, masked))
        return dense()


def test_an_override_gets_tensors_heads_and_the_number_of_the_layer(high, low):
    """From Wan's own model: by position or in newer ComfyUI's containers, with whatever comes with them."""
    seen = []

    def attend(function, *arguments, **given):
        q, k, v, *rest = arguments
        assert all(isinstance(x, torch.Tensor) and x.ndim == 3 for x in (q, k, v))
        assert (given["heads"] if "heads" in given else rest[0]) * 128 == q.shape[2]
        assert given.get("mask") is None
        seen.append(given["transformer_options"]["block_index"])
        return function(*arguments, **given)

    models = [model.clone() for model in (high, low)]
    for model in models:
        model.model_options["transformer_options"] = {"optimized_attention_override": attend}
    found = sample(*models, conditioning(1, SHAPE))
    assert torch.equal(found, sample(high, low, conditioning(1, SHAPE)))
    assert seen == [0, 0, 1, 1] * 4  # each layer's own attention first, then that to the words


@pytest.mark.parametrize("contained", [False, True])
def test_containers_are_opened_and_what_is_new_is_passed_on(contained):
    """A `container_function` on our override would get them closed; newer ones add `preferred_attention`."""
    if contained and not hasattr(core, "AttentionTensorContainer"):
        contained = False  # this ComfyUI has none; by position it is then tried twice
    passed = []

    @core.wrap_attn
    def attention(q, k, v, heads, mask=None, **given):
        passed.append(given.get("preferred_attention"))
        return q + v

    recorder = Recorder()
    options = {KEY: recorder, "block_index": 7, "optimized_attention_override": override(None)}
    tensors = [torch.full((1, 4, 128), float(value)) for value in (1, 2, 3)]
    given = [core.AttentionTensorContainer(each) for each in tensors] if contained else tensors
    found = attention(*given, heads=1, transformer_options=options, preferred_attention="sage")
    assert found.eq(4).all()
    assert passed == ["sage"]
    ((q, k, v, heads, layer, masked),) = recorder.calls
    assert (q is tensors[0], k is tensors[1], v is tensors[2], heads, layer, masked) == (True, True, True, 1, 7, False)
    assert not hasattr(override(None), "container_function")
