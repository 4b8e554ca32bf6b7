"""Every FLOAT of every node says how finely it counts; web/numbers.js lets people type so many decimals."""

import math

import pytest
from pack.tests.comfy.test_contract import NODES

pytestmark = pytest.mark.comfy

FLOATS = [
    pytest.param(entry, id=f"{node_id}.{entry.id}")
    for node_id, node in NODES.items()
    for entry in node.define_schema().inputs
    if entry.get_io_type() == "FLOAT"
]


@pytest.mark.parametrize("entry", FLOATS)
def test_it_counts_in_decimals_and_its_arrows_make_whole_steps_of_them(entry):
    decimals = -math.log10(entry.round)
    assert decimals == pytest.approx(round(decimals), abs=1e-9)
    steps = entry.step / entry.round
    assert steps == pytest.approx(round(steps), abs=1e-6)
    assert round(entry.default, round(decimals)) == entry.default
