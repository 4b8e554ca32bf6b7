"""A sampler's receipt on its way into the recipe of the clip."""

import json
from types import SimpleNamespace

import pytest
from pack.nodes import metadata, receipts

pytestmark = pytest.mark.comfy


def prompt(seed=7):
    return {
        "1": {"class_type": "Wan22Turbo_SparseAttention", "inputs": {"density": 0.15, "mode": "auto"}},
        "2": {"class_type": "Wan22Turbo_Sampler", "inputs": {"high": ["1", 0], "seed": seed, "steps": 4}},
        "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0]}},
        "4": {"class_type": "Wan22Turbo_SaveMp4", "inputs": {"video": ["3", 0], "fps": 16}},
    }


def recipe_of(graph):
    hidden = SimpleNamespace(prompt=graph, extra_pnginfo=None)
    return json.loads(metadata.notes("recipe", hidden, {})["recipe"])


def test_the_recipe_of_a_clip_has_the_receipt_of_its_own_run():
    receipts.keep("2", prompt(7), "sparse attention: density 0.15\nstep 2 high: 40 of 40 layers sparse")
    sampler = recipe_of(prompt(7))["2 Wan22Turbo_Sampler"]
    assert sampler["receipt"] == "sparse attention: density 0.15\nstep 2 high: 40 of 40 layers sparse"
    assert "receipt" not in recipe_of(prompt(8))["2 Wan22Turbo_Sampler"]
    assert recipe_of(prompt(7))["1 Wan22Turbo_SparseAttention"] == {"density": 0.15, "mode": "auto"}


def test_what_comes_after_the_sampler_does_not_matter_and_what_is_before_it_does():
    receipts.keep("2", prompt(7), "told")
    later, earlier = prompt(7), prompt(7)
    later["4"]["inputs"]["fps"] = 24
    earlier["1"]["inputs"]["density"] = 0.2
    assert receipts.find("2", later) == "told"
    assert receipts.find("2", earlier) is None
    assert receipts.find("4", later) is None


def test_what_comfyui_adds_while_it_runs_does_not_matter():
    running = prompt(9)
    running["1"]["is_changed"] = ["abc"]
    receipts.keep("2", running, "told")
    assert recipe_of(prompt(9))["2 Wan22Turbo_Sampler"]["receipt"] == "told"


def test_old_receipts_are_let_go():
    for seed in range(100, 100 + receipts.MOST + 1):
        receipts.keep("2", prompt(seed), "told")
    assert receipts.find("2", prompt(100)) is None
    assert receipts.find("2", prompt(101)) == "told"


def test_a_prompt_that_links_in_a_circle_ends():
    circle = {"1": {"class_type": "A", "inputs": {"x": ["1", 0], "y": ["gone", 0]}}}
    receipts.keep("1", circle, "told")
    assert receipts.find("1", circle) == "told"


def test_a_long_prompt_is_not_gone_through_for_each_of_its_nodes():
    looks = []

    class Node(dict):
        def get(self, *arguments):
            looks.append(arguments)
            return super().get(*arguments)

    chain = {str(at): Node(class_type="A", inputs={"x": [str(at - 1), 0]}) for at in range(500)}
    receipts.keep("7", chain, "told")
    looks.clear()
    assert [node_id for node_id in chain if receipts.find(node_id, chain)] == ["7"]
    assert len(looks) < 2 * len(chain)
