"""Which file a name from another machine means, and what is said where none or several may be meant."""

import tracemalloc
from difflib import get_close_matches

import pytest
from pack.weights import names


@pytest.mark.parametrize(
    ("wanted", "available", "found"),
    [
        ("a.safetensors", ["x/a.safetensors", "a.safetensors"], "a.safetensors"),
        ("x/a.safetensors", ["x\\a.safetensors", "y/a.safetensors"], "x\\a.safetensors"),
        ("x\\a.safetensors", ["x/a.safetensors"], "x/a.safetensors"),
        ("x/A.safetensors", ["X/a.safetensors", "y/A.safetensors"], "X/a.safetensors"),
        ("a.safetensors", ["x/y/a.safetensors"], "x/y/a.safetensors"),
        ("x/a.safetensors", ["a.safetensors"], "a.safetensors"),
        ("x/a.safetensors", ["y/a.safetensors", "z/A.safetensors"], "y/a.safetensors"),
        ("A.SAFETENSORS", ["x/a.safetensors"], "x/a.safetensors"),
        ("C:\\ComfyUI\\models\\loras\\a.safetensors", ["wan/a.safetensors"], "wan/a.safetensors"),
        ("STRASSE.safetensors", ["straße.safetensors"], "straße.safetensors"),
        ("high_noise/model.safetensors", ["model.safetensors"], "model.safetensors"),
        ("model.safetensors", ["low_noise/model.safetensors"], "low_noise/model.safetensors"),
        ("dog/high_noise_model.safetensors", ["high_noise_model.safetensors"], "high_noise_model.safetensors"),
        ("C:\\loras\\cat\\high.safetensors", ["cat/high.safetensors", "dog/high.safetensors"], "cat/high.safetensors"),
        ("loras/cat/high.safetensors", ["wan/Cat/high.safetensors"], "wan/Cat/high.safetensors"),
        (
            "high_noise/model.safetensors",
            ["wan/high_noise/model.safetensors", "wan/low_noise/model.safetensors"],
            "wan/high_noise/model.safetensors",
        ),
        # a name that says nothing is that of its folder, however that is spelled
        (
            "cat high/high.safetensors",
            ["cat_high/high.safetensors", "dog/high.safetensors"],
            "cat_high/high.safetensors",
        ),
        ("cat_high/high.safetensors", ["cat/high.safetensors"], "cat/high.safetensors"),
        ("cat-v1/model.safetensors", ["cat v1/model.safetensors"], "cat v1/model.safetensors"),
        (
            "Wan2.2-Lightning/Seko-V1/high_noise_model.safetensors",
            ["Wan2.2_Lightning/high_noise_model.safetensors"],
            "Wan2.2_Lightning/high_noise_model.safetensors",
        ),
        (
            "Wan2.2-Lightning/Seko-V1/high_noise_model.safetensors",
            ["Wan2.2_Lightning/Seko-V1/high_noise_model.safetensors"],
            "Wan2.2_Lightning/Seko-V1/high_noise_model.safetensors",
        ),
        ("/home/me/loras/cat/high.safetensors", ["wan/Cat/high.safetensors"], "wan/Cat/high.safetensors"),
        ("C:\\ComfyUI\\models\\loras\\high.safetensors", ["cat/high.safetensors"], "cat/high.safetensors"),
        (
            "cat/checkpoint-1000/adapter_model.safetensors",
            ["my cat/adapter_model.safetensors", "cat/adapter_model.safetensors"],
            "cat/adapter_model.safetensors",
        ),
        # and of its nearest folder first
        ("wan/cat/high.safetensors", ["cat/high.safetensors", "wan/high.safetensors"], "cat/high.safetensors"),
        ("x/cat/high.safetensors", ["cat/high.safetensors", "high.safetensors"], "cat/high.safetensors"),
        ("loras/high.safetensors", ["cat/high.safetensors", "high.safetensors"], "high.safetensors"),
        # signs and numbers say something where there is no word
        ("x/🔥_high.safetensors", ["y/🔥_high.safetensors"], "y/🔥_high.safetensors"),
        ("a/22_HIGH.safetensors", ["b/22_HIGH.safetensors"], "b/22_HIGH.safetensors"),
    ],
)
def test_a_name_from_another_machine_finds_the_one_file_it_can_mean(wanted, available, found):
    assert names.resolve_name(wanted, available, "loras") == found


@pytest.mark.parametrize(
    "name",
    [
        "high_noise_model",
        "pytorch_lora_weights",
        "adapter_model",
        "diffusion_pytorch_model",
        "LOW_v2",
        "epoch40/adapter_model",
        "checkpoint-1000/pytorch_lora_weights",
        "transformer/diffusion_pytorch_model",
        "vae/diffusion_pytorch_model",
        "text_encoder/model",
        "high_noise_lora_rank64/high_noise_model",
    ],
)
@pytest.mark.parametrize(
    ("mine", "other"), [("cat", "dog"), ("🔥", "💧"), ("cat/output", "dog/output"), ("/home/wan/cat", "wan/dog")]
)
def test_a_name_that_tools_give_to_every_file_means_none_of_another_folder(name, mine, other):
    with pytest.raises(FileNotFoundError, match="it is only in other folders"):
        names.resolve_name(f"{mine}/{name}.safetensors", [f"{other}/{name}.safetensors"], "loras")


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("Wan2.2-I2V-A14B/vae/diffusion_pytorch_model", "flux/vae/diffusion_pytorch_model"),
        ("flux/vae/diffusion_pytorch_model", "flux/transformer/diffusion_pytorch_model"),
        ("cat/epoch40/adapter_model", "cat/epoch20/adapter_model"),
        ("cat_v1/model", "cat_v2/model"),
    ],
)
def test_nor_does_it_mean_another_part_or_step_of_its_own_subject(wanted, there):
    with pytest.raises(FileNotFoundError, match="it is only in other folders"):
        names.resolve_name(f"{wanted}.safetensors", [f"{there}.safetensors"], "loras")


def test_all_files_of_such_a_name_are_listed():
    available = ["dog/high_noise_model.safetensors", "bird/high_noise_model.safetensors", "cat/low_noise_model.pt"]
    with pytest.raises(FileNotFoundError) as caught:
        names.resolve_name("/home/me/cat/high_noise_model.safetensors", available, "loras")
    assert str(caught.value) == (
        "'high_noise_model.safetensors' is a name that many files have, and in 'loras' it is only in other folders "
        "than in the graph: 'bird/high_noise_model.safetensors', 'dog/high_noise_model.safetensors'. Choose one of "
        "them in the list, or download the graph's own into a folder of the graph's name, then refresh the page."
    )


@pytest.mark.parametrize(
    ("wanted", "available", "expert", "found"),
    [
        ("model.safetensors", ["low_noise/model.safetensors"], "low", "low_noise/model.safetensors"),
        ("model.safetensors", ["low_noise/model.safetensors"], "high", None),
        (
            "model.safetensors",
            ["low_noise/model.safetensors", "high/model.safetensors"],
            "high",
            "high/model.safetensors",
        ),
        # what a name says itself is what the user chose
        ("low_noise/model.safetensors", ["wan/low/model.safetensors"], "high", "wan/low/model.safetensors"),
    ],
)
def test_the_input_tells_the_expert_where_the_name_does_not(wanted, available, expert, found):
    if found:
        assert names.resolve_name(wanted, available, "diffusion_models", expert) == found
        return
    with pytest.raises(FileNotFoundError, match="Download it into that folder"):
        names.resolve_name(wanted, available, "diffusion_models", expert)


def test_a_name_in_the_other_form_of_unicode_is_found_by_its_letters():
    composed, apart = "caf\u00e9.safetensors", "cafe\u0301.safetensors"
    assert names.resolve_name(composed, [apart], "loras") == apart
    assert names.resolve_name("x/" + apart, [composed], "loras") == composed


def test_several_files_that_fit_are_listed():
    with pytest.raises(ValueError, match="times") as caught:
        names.resolve_name("/home/me/a.safetensors", ["y/a.safetensors", "x/a.safetensors", "b.safetensors"], "loras")
    assert str(caught.value) == (
        "'a.safetensors' is in 'loras' 2 times: 'x/a.safetensors', 'y/a.safetensors'. Choose one of them in the list."
    )


def test_a_missing_file_is_named_with_the_closest_ones():
    with pytest.raises(FileNotFoundError) as caught:
        names.resolve_name(
            "/home/me/wan_2.1_vea.safetensors", ["sub/wan_2.1_vae.safetensors", "ae.safetensors", "zzz.pth"], "vae"
        )
    assert str(caught.value) == (
        "'wan_2.1_vea.safetensors' is not in ComfyUI's folder 'vae'. "
        "The closest names there are 'sub/wan_2.1_vae.safetensors': choose one, then refresh the page."
    )


def test_close_names_in_several_folders_are_all_named():
    with pytest.raises(FileNotFoundError, match=r"'cat/ink_style_v2\.pt', 'dog/ink_style_v2\.pt': choose one"):
        names.resolve_name("ink_style_v3.pt", ["cat/ink_style_v2.pt", "dog/ink_style_v2.pt"], "loras")


def test_a_missing_file_with_no_like_is_to_be_downloaded():
    with pytest.raises(FileNotFoundError) as caught:
        names.resolve_name("a.safetensors", [], "vae")
    assert str(caught.value) == (
        "'a.safetensors' is not in ComfyUI's folder 'vae'. Download it into that folder, then refresh the page."
    )


@pytest.mark.parametrize(
    ("wanted", "other"),
    [
        ("i2v_high_noise.safetensors", "i2v_low_noise.safetensors"),
        ("high_noise/model.safetensors", "low_noise/model.safetensors"),
        ("low_noise\\model.safetensors", "high_noise/model.safetensors"),
    ],
)
def test_the_other_expert_is_neither_taken_nor_suggested(wanted, other):
    with pytest.raises(FileNotFoundError, match="Download it into that folder"):
        names.resolve_name(wanted, [other], "diffusion_models")


def test_a_name_is_split_into_lower_case_words_and_numbers():
    assert names.words("Wan2.2-HighNoise_LOWv3 naïve") == ["wan", "2", "2", "high", "noise", "low", "v", "3", "naïve"]


LONG = "a/" * 100_000 + "x.safetensors"  # which took 71 s, while the whole server waited


def test_a_name_that_no_file_can_have_is_refused_before_a_look_at_it():
    with pytest.raises(ValueError, match="at most") as caught:
        names.resolve_name(LONG, ["x.safetensors"], "loras")
    assert str(caught.value) == ("The name of a file has at most 400 characters, got 200013. Choose a file of 'loras'.")
    assert names.resolve_name(LONG, [LONG], "loras") == LONG  # unless ComfyUI lists it


def test_reading_a_name_is_linear_in_its_folders():
    deep = "a/" * 20_000 + "x.safetensors"
    assert names.expert_of("low_noise/" + deep) == "low"
    assert names.partner("high/" + deep, ["low/" + deep]) == "low/" + deep


def test_nothing_of_the_names_that_strangers_ask_for_is_kept():
    available = ["one_high_noise.safetensors", "two_low_noise.safetensors"]

    def ask(first):
        for number in range(first, first + 300):
            with pytest.raises(FileNotFoundError):
                names.resolve_name(f"{number}" * 50 + "/folder/name.safetensors", available, "loras")

    ask(0)  # what is made once is made
    tracemalloc.start()
    try:
        ask(300)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000


def test_a_missing_name_is_compared_with_the_few_that_share_its_words(monkeypatch):
    compared = []

    def note(name, names, n):
        compared.extend(names)
        return get_close_matches(name, names, n)

    monkeypatch.setattr(names, "get_close_matches", note)
    many = [f"wan_style_{number}_dance.safetensors" for number in range(3000)]
    with pytest.raises(FileNotFoundError, match=r"The closest names there are 'glow_of_dusk\.safetensors'"):
        names.resolve_name("glow_of_dusk_v2.safetensors", [*many, "glow_of_dusk.safetensors"], "loras")
    assert len(compared) <= 20


@pytest.mark.parametrize("wanted", ["a.safetensors", "dog/high_noise_model.safetensors"])
def test_a_sentence_lists_some_of_many_files_of_a_name(wanted):
    many = [f"cat {chr(97 + number)}/{wanted.rpartition('/')[2]}" for number in range(26)]
    with pytest.raises((ValueError, FileNotFoundError), match=r"'cat t/[^']+' and 6 more\. "):
        names.resolve_name(wanted, many, "loras")
