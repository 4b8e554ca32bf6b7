"""Long Clip killed at random moments: the same comes out in the end, and nothing is made twice but what was cut.

Each victim is a fork, which kills itself at an event with a number: an evaluation of a model, a decoded piece of a
part, a frame for the file, a part on its way to the disk.
"""

import os
import random
import signal
import sys

import pytest
import torch
from pack.media.mp4 import Mp4Writer
from pack.media.part_store import PartStore
from pack.samplers.guider import TwoExpertGuider
from pack.tests.comfy.long_clip.clips import file_of, parts_there

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="victims are forks"),
    pytest.mark.filterwarnings("ignore:.*fork"),
]

MOMENTS = 5


class Events:
    """Counts what happens in a run, and dies at the event with a number.

    Args:
        deadly: That number, from 1; 0 for none.
    """

    def __init__(self, decoder, deadly=0):
        self.decoder, self.deadly, self.count = decoder, deadly, 0

    def happen(self):
        self.count += 1
        if self.count == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def __enter__(self):
        self.context = pytest.MonkeyPatch.context()
        patch = self.context.__enter__()
        for owner, name in ((TwoExpertGuider, "outer_predict_noise"), (Mp4Writer, "write"), (PartStore, "save")):
            patch.setattr(owner, name, self.told(getattr(owner, name)))
        self.hook = self.decoder.first_stage_model.decoder.head[-1].register_forward_hook(lambda *_: self.happen())
        return self

    def told(self, work):
        def working(*arguments, **given):
            self.happen()
            result = work(*arguments, **given)
            self.happen()
            return result

        return working

    def __exit__(self, *error):
        self.hook.remove()
        return self.context.__exit__(*error)


def killed(make, wan, moment):
    """Runs in a fork that dies."""
    sys.stdout.flush()
    victim = os.fork()
    if not victim:
        try:
            torch.set_num_threads(1)
            with Events(wan, moment):
                make()
        finally:
            os._exit(1)
    _, status = os.waitpid(victim, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL  # noqa: PT018  # it lived to the moment


def test_a_killed_run_goes_on_and_gives_the_same_clip_bit_for_bit(make, made, wan):
    torch.set_num_threads(1)  # as in the victims
    with Events(wan) as events:
        wanted = file_of(make()).read_bytes()
    for moment in random.Random(11).sample(range(1, events.count + 1), MOMENTS):
        for path in parts_there():
            path.unlink()
        killed(make, wan, moment)
        kept = [path for path in parts_there() if path.suffix == ".safetensors"]  # beside one half-written, perhaps
        made.clear()
        output = make()
        assert file_of(output).read_bytes() == wanted, moment
        assert len(made) == 3 - len(kept), moment
        assert len(parts_there()) == 3
        assert not [path for path in file_of(output).parent.iterdir() if path.suffix != ".mp4"]
