"""A course of training is resumed to the bit, and its optimiser does what it says."""

import pytest
import torch
from pack.tiny.course import Course, read_log
from pack.tiny.curves import draw_curves
from pack.tiny.optimiser import Learner, orthogonal, rate_at, swapped_in

STEPS = 12


def course_of(folder, stop=None):
    """A small course; `stop` breaks it off before that step."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.SiLU(), torch.nn.Linear(8, 2))
    learner = Learner(model, 0.02, 0.01, STEPS)

    def step(number):
        if number == stop:
            raise KeyboardInterrupt
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(number))
        loss = (model(x) - x[:, :2] * x[:, 2:]).square().mean()
        learner.learn(loss, number)
        return {"loss": loss.item()}

    made = Course("small", folder, STEPS, {"model": model, "learner": learner}, step, lambda: {"seen": 1.0}, every=0)
    return made, model, learner


def test_a_course_that_was_broken_off_ends_as_if_it_had_not_been(tmp_path):
    whole, model, learner = course_of(tmp_path / "whole")
    whole.run()
    broken, _, _ = course_of(tmp_path / "broken", stop=7)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    again, resumed, other = course_of(tmp_path / "broken")
    again.run()
    for one, two in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)
    for name, value in learner.mean.items():
        assert torch.equal(value, other.mean[name])
    losses = [[row["loss"] for row in read_log(course.log)] for course in (whole, again)]
    assert losses[0] == losses[1]
    assert again.log.with_suffix(".svg").read_text().startswith("<svg")


def test_a_log_that_is_ahead_of_its_checkpoint_is_taken_back_to_it(tmp_path):
    course, _, _ = course_of(tmp_path, stop=7)
    with pytest.raises(KeyboardInterrupt):
        course.run()
    with course.log.open("a") as file:
        file.write('{"step": 9, "processor_hours": 0}\n')
    course_of(tmp_path)[0].run()
    assert [row["step"] for row in read_log(course.log)] == list(range(1, STEPS + 1))


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (8, 8)])
def test_muon_moves_every_direction_nearly_alike(shape):
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(1))))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_the_rate_rises_stays_and_falls():
    rates = [rate_at(step, 900) for step in (0, 79, 159, 600, 750, 899)]
    assert rates == pytest.approx([1 / 160, 0.5, 1, 1, 0.5, 1 / 300])


def test_the_mean_of_the_weights_is_swapped_in_and_out(tmp_path):
    course, model, learner = course_of(tmp_path)
    course.run()
    before = model[0].weight.detach().clone()
    mean = learner.mean["0.weight"].clone()
    with swapped_in(learner):
        assert torch.equal(model[0].weight, mean)
    assert torch.equal(model[0].weight, before)
    assert torch.equal(learner.mean["0.weight"], mean)


def test_curves_of_one_point_and_of_none_can_be_drawn():
    assert draw_curves("none", []).endswith("</svg>\n")
    assert "db" in draw_curves("one", [{"step": 1, "processor_hours": 0.1, "db": 20.0}])
