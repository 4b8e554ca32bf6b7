"""All courses of the tiny models, two steps each, from nothing to files that ComfyUI loads."""

import comfy.lora
import pytest
import torch
from comfy.utils import load_torch_file
from pack.tests.toy.loaded import load_expert
from pack.tiny import distil, experts, files, lora, style, vae_training
from pack.tiny.course import read_log
from pack.tiny.latents import SMALL, Size
from pack.tiny.train import STEPS, Training
from pack.weights.formats.model_file import open_model
from pack.weights.loading import load_text_encoder, load_vae

pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype")  # half precision beside norms in full: torch's own


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a whole training, on pictures of a few pixels."""
    folder = tmp_path_factory.mktemp("tiny")
    small, full = Size(32, 32, 5), Size(64, 32, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pack.tiny.latents.SHARD", 4)
        patch.setattr(files, "MEASURED", 2)
        patch.setattr(vae_training, "PHASES", ((0, ((1, 2, 32), (5, 1, 32))),))
        patch.setattr(vae_training, "judged", lambda model: {})
        for module in (experts, distil, style):
            patch.setattr(module, "BATCH", {small: 2, full: 2})
        for name, value in {"SMALL": small, "FULL": full, "SCENES": {small: 8, full: 8}, "HELD_OUT": 4}.items():
            patch.setattr(experts, name, value)
        patch.setattr(style, "SCENES", {small: 8, full: 8})
        training = Training(folder, 1, dict.fromkeys(STEPS, 2), 8)
        for course in STEPS:
            getattr(training, course)()
    return folder


def test_every_file_is_there_loads_and_all_of_them_are_below_16_mb(trained):
    models = trained / "models"
    assert {path.relative_to(models).as_posix() for path in models.rglob("*.safetensors")} == set(files.NAMES.values())
    assert files.megabytes(models) < 16
    for high in ("high", "low"):
        loaded = load_expert(models / files.NAMES[f"expert_{high}"]).model
        assert loaded.diffusion_model.patch_embedding.weight.shape[1] == 36
    assert load_vae(open_model(models / files.NAMES["vae"])).latent_channels == 16
    load_text_encoder(open_model(models / files.NAMES["text"]))


@pytest.mark.parametrize("name", [name for name in files.NAMES if files.NAMES[name].startswith("loras/")])
def test_every_key_of_a_lora_finds_its_weight_in_the_expert(trained, name):
    models = trained / "models"
    expert = load_expert(models / files.NAMES["expert_high"])
    state = load_torch_file(str(models / files.NAMES[name]))
    keys = comfy.lora.model_lora_keys_unet(expert.model, {})
    assert len(comfy.lora.load_lora(state, keys)) == len(state) // 3 == 10 * experts.LAYERS


def test_a_lora_is_read_as_it_was_written(trained):
    models = trained / "models"
    one = files.adapted(files.read_expert(models, True), models, "rcm_high")
    written = load_torch_file(str(models / files.NAMES["rcm_high"]))
    for name, value in lora.file_state(one).items():
        assert torch.equal(value, written[name])


def test_every_course_left_a_log_to_its_last_step(trained):
    logs = {path.stem: read_log(path) for path in trained.glob("*.jsonl")}
    assert set(logs) == {"vae8", *(name for name in files.NAMES if name not in ("vae", "text"))}
    assert all(rows[-1]["step"] == 2 for rows in logs.values())


def test_a_pair_is_the_same_scenes_under_the_same_noise_and_words_alone_are_left_out(trained, monkeypatch):
    monkeypatch.setattr("pack.tiny.latents.SHARD", 4)
    monkeypatch.setattr(experts, "HELD_OUT", 4)
    latents = Training(trained, 1, dict.fromkeys(STEPS, 2), 8)._latents()
    painted, plain = (
        experts.drawn({SMALL: latents(Size(32, 32, 5), name)}, 0, 2, 1, dropped, {SMALL: 8}, {SMALL: 4})
        for name, dropped in (("striped", 0.0), ("plain", 1.0))
    )
    for one, other in zip(
        (painted.noise, painted.spread, painted.sample.known),
        (plain.noise, plain.spread, plain.sample.known),
        strict=True,
    ):
        assert torch.equal(one, other)
    assert not torch.equal(painted.sample.latent, plain.sample.latent)
    words, none = ((draw.sample.context != 0).any(-1).sum(1) for draw in (painted, plain))
    assert (words > 4).all()
    assert (none == 1).all()


def test_a_course_that_lacks_the_files_of_an_earlier_one_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="Run the courses in their order"):
        Training(tmp_path, 1, {"rcm_low": 2}, 8).rcm_low()


def test_the_teachers_step_becomes_smaller_and_ends_at_no_noise():
    sigma = torch.tensor([1.0, 0.9, 0.2])
    first, last = distil.lower(sigma, 0.0), distil.lower(sigma, 1.0)
    assert (first < last).all()
    assert (last < sigma).all()
    assert distil.lower(torch.tensor([0.01]), 0.0).item() == 0


def test_the_loss_of_consistency_is_zero_where_the_student_leads_to_the_wanted_end():
    def student(x, time, context, **_):
        return 2 * x[:, :16]

    given = experts.Sample(torch.zeros(2, 16, 1, 2, 2), torch.zeros(2, 20, 1, 2, 2), torch.zeros(2, 512, 4096))
    x, sigma = torch.randn(2, 16, 1, 2, 2, generator=torch.Generator().manual_seed(1)), torch.tensor([0.5, 0.9])
    end = distil.end_of(student, x, sigma, given)
    assert distil.consistency_loss(student, x, sigma, given, end).item() < 1e-10
    assert distil.consistency_loss(student, x, sigma, given, end + 0.1).item() > 1e-3
