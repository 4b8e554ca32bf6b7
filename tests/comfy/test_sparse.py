"""Sparse Attention on tiny experts, run by ComfyUI's own samplers."""

import pytest
import torch
from pack.nodes.sparse import SparseAttention, session_of
from pack.tests.toy.sampling import conditioning, sample

pytestmark = pytest.mark.comfy

SETTINGS = {"mode": "training-free", "density": 0.3, "dense_steps": 1, "error_limit": 1.0, "kernel": "auto"}


def sparse(high, low, **changes):
    return SparseAttention.execute(high, low, **{**SETTINGS, **changes}).args


def test_it_runs(high, low):
    a, b, report = sparse(high, low)
    print(report)
    pos = conditioning(1)
    dense = sample(high, low, pos)
    got = sample(a, b, pos)
    print(session_of(a).text)
    print((got - dense).norm() / dense.norm())
    assert torch.equal(sample(*sparse(high, low, mode="off")[:2], pos), dense)
