"""Which parts of a long clip are made again after a change."""

import json
import os

import folder_paths
import pytest
import torch
from pack.nodes import origins
from pack.nodes.loader import Loader
from pack.nodes.lora import AUTO, Lora
from pack.tests.comfy.long_clip.clips import PROMPT, STORY, asked, changed, digests, start, with_loras
from pack.tests.toy import models as toy
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({}, 0), ({"crf": 20, "fps": 24.0, "metadata": "recipe"}, 0),
        ({"prompts": "It turns.\nIt jumps.\nIt sleeps."}, 1), ({"prompts": "It turns.\nIt runs.\nIt sits."}, 2),
        ({"prompts": "It turns.\nIt jumps."}, 0), ({"prompts": STORY + "\nIt sleeps."}, 1), ({"loop": True}, 1),
        ({"continue_by": "overlap"}, 2), ({"anchor_colours": False}, 2), ({"seed": 6}, 3), ({"steps": 1}, 3),
        ({"mode": "sde"}, 3), ({"picture": start(seed=2)}, 3), ({"motion": 1.15}, 3), ({"negative_prompt": "dark"}, 0),
        ({"trigger_words": "orbit"}, 3), ({"graph": changed("weight_dtype", "fp8_e4m3fn")}, 3),
        ({"graph": changed("low_noise", "another.safetensors")}, 3),
    ],
    ids=lambda value: json.dumps(value, default=lambda _: "...")[:60],
)  # fmt: skip
def test_what_is_made_again_is_what_the_change_reaches(planned, changes, again):
    before = digests(planned(seconds=0.6))
    assert len(set(digests(planned(seconds=0.6, **changes))) - set(before)) == again


def test_a_picture_of_any_precision_is_known(planned):
    """NumPy has no bf16, in which some upscalers leave a picture."""
    half = start().to(torch.bfloat16)
    assert digests(planned(picture=half)) == digests(planned(picture=half.float()))


def test_a_changed_line_makes_its_part_and_the_later_ones_again(make, made):
    make()
    made.clear()
    make("It turns.\nIt runs.\nIt sits.")
    assert len(made) == 2
    assert make.words.asked[3:] == ["It runs.", "It sits."]


def test_what_comes_in_is_known_by_nodes_and_settings_not_by_their_ids(planned):
    moved = {"5": PROMPT["1"], "9": {**PROMPT["9"], "inputs": {
        name: ["5", place] for name, (_, place) in PROMPT["9"]["inputs"].items()}}}  # fmt: skip
    assert digests(planned(graph=moved)) == digests(planned())
    nobody_says = [digests(planned(graph=None)) for _ in range(2)]  # what models these are
    assert not set(nobody_says[0]) & set(nobody_says[1])


def test_the_versions_of_what_samples_are_known(planned, monkeypatch, tmp_path):
    known = [digests(planned())]
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "9.8.7"\n', encoding="utf-8")
    for owner, name, value in (
        (origins, "PYPROJECT", tmp_path / "pyproject.toml"),
        (origins, "comfyui_version", "9.8.8"),
        (torch, "__version__", "9.8.9"),
    ):
        monkeypatch.setattr(owner, name, value)
        known.append(digests(planned()))
    assert origins.sampled_by() == "Wan 2.2 Turbo 9.8.7, ComfyUI 9.8.8, torch 9.8.9"
    assert len({digest for each in known for digest in each}) == 4 * 3


def test_a_lora_is_known_and_its_prompt_is_not_of_the_model(planned):
    def through(lora="a.safetensors", prompt="one"):
        inputs = {"high": ["1", 0], "low": ["1", 1], "lora_high": lora, "strength_high": 1.0, "prompt": prompt}
        own = {**PROMPT["9"]["inputs"], "high": ["2", 0], "low": ["2", 1]}
        return {
            **PROMPT, "2": {"class_type": "Wan22Turbo_Lora", "inputs": inputs}, "9": {**PROMPT["9"], "inputs": own},
        }  # fmt: skip

    wanted = digests(planned(graph=through()))
    assert digests(planned(graph=through(prompt="two"))) == wanted
    assert not set(digests(planned(graph=through(lora="b.safetensors")))) & set(wanted)


def test_another_strength_of_a_lora_makes_all_parts_again_and_the_old_one_finds_its_own(planned):
    def at(strength):
        graph = with_loras("a.safetensors", "b.safetensors")
        graph["2"]["inputs"]["strength_low"] = strength
        return digests(planned(graph=graph))

    assert not set(at(1.0)) & set(at(0.9))
    assert at(1.0) == at(1.0)


def test_a_partner_that_auto_finds_is_known(planned, add_lora):
    add_lora("ring_high_noise.safetensors", toy.lora(1))
    graph = with_loras("ring_high_noise.safetensors", AUTO)
    alone = digests(planned(graph=graph))
    add_lora("ring_low_noise.safetensors", toy.lora(2))
    paired = digests(planned(graph=graph))
    save_file(toy.lora(3), folder_paths.get_full_path_or_raise("loras", "ring_low_noise.safetensors"))
    assert not set(alone) & set(paired)
    assert not set(paired) & set(digests(planned(graph=graph)))


@pytest.mark.parametrize(
    ("named", "loaded", "twin"),
    [
        ("twin.safetensors", "loras/twin.safetensors", "checkpoints/twin.safetensors"),
        ("pen.safetensors", "loras/inner/pen.safetensors", "checkpoints/pen.safetensors"),
        ("somebody/style.safetensors", "loras/high/style.safetensors", "loras/low/style.safetensors"),
    ],
    ids=["two folders", "below a folder", "by expert"],
)
def test_a_file_is_known_where_another_one_has_its_name(planned, add_file, models, named, loaded, twin):
    for seed, place in enumerate((loaded, twin)):
        add_file(*place.split("/", 1), toy.lora(seed))
    graph = with_loras(named, "none")
    before = digests(planned(graph=graph))
    save_file(toy.lora(2), models / loaded)
    changed = digests(planned(graph=graph))
    assert not set(before) & set(changed)
    save_file(toy.lora(3), models / twin)
    assert digests(planned(graph=graph)) == changed  # which this node does not read


def test_a_file_whose_name_comes_from_another_node_is_known(planned, add_lora, models):
    """This pack's nodes tell two files of one name apart by the expert, also then."""
    pair = [add_lora(f"{expert}/style.safetensors", toy.lora(seed)) for seed, expert in enumerate(("high", "low"))]
    graph = with_loras(["7", 0], ["7", 0])
    graph["7"] = {"class_type": "SomebodysText", "inputs": {"text": "somebody/style.safetensors"}}
    seen = [digests(planned(graph=graph))]
    for seed, name in enumerate(pair, 2):
        save_file(toy.lora(seed), models / "loras" / name)
        seen.append(digests(planned(graph=graph)))
    assert len({digest for each in seen for digest in each}) == 3 * 3


def test_settings_beside_two_loras_are_known_each_with_its_own(planned, add_lora, models):
    pair = [add_lora(f"{name}/adapter_model.safetensors", toy.lora(1)) for name in ("ink", "oil")]
    settings = [(models / "loras" / name).with_name("adapter_config.json") for name in pair]
    seen = []
    for alphas in ((4, 8), (8, 4)):
        for path, alpha in zip(settings, alphas, strict=True):
            path.write_text(json.dumps({"r": 4, "lora_alpha": alpha}), encoding="utf-8")
        seen.append(digests(planned(graph=with_loras(*pair))))
    for path in settings:
        path.unlink()
    assert not set(seen[0]) & set(seen[1])


def test_what_comfyui_asks_a_node_beside_its_inputs_is_known(planned):
    def digests_where(answer):
        return digests(planned(graph=asked(answer)))

    assert digests_where("one picture") == digests_where("one picture")
    assert not set(digests_where("one picture")) & set(digests_where("another"))
    assert not set(digests_where(float("nan"))) & set(digests_where(float("nan")))  # it says that nobody can tell


def test_a_text_beside_a_lora_or_a_later_date_of_a_file_makes_nothing_again(planned, add_lora, models):
    """The files are known by what is in them, and a node's answer to ComfyUI tells more."""
    graph = with_loras(add_lora("dated/ink.safetensors", toy.lora(1)), "none")

    def digests_now():
        for node, kind in (("1", Loader), ("2", Lora)):
            chosen = {name: value for name, value in graph[node]["inputs"].items() if not isinstance(value, list)}
            graph[node]["is_changed"] = [kind.fingerprint_inputs(**chosen)]
        return digests(planned(graph=graph)), graph["2"]["is_changed"], graph["1"]["is_changed"]

    seen = [digests_now()]
    words, settings = ((models / "loras" / "dated" / name) for name in ("ink.txt", "adapter_config.json"))
    words.write_text("ink", encoding="utf-8")
    seen.append(digests_now())
    os.utime(models / "diffusion_models" / toy.HIGH)
    seen.append(digests_now())
    settings.write_text('{"r": 4, "lora_alpha": 8}', encoding="utf-8")
    seen.append(digests_now())
    words.unlink()
    settings.unlink()
    parts, loras, loaders = zip(*seen, strict=True)
    assert parts[0] == parts[1] == parts[2]
    assert not set(parts[2]) & set(parts[3])  # which sets how strongly the LoRA acts
    assert [loras[0] != loras[1], loaders[1] != loaders[2], loras[2] != loras[3]] == [True] * 3
