"""Long Clip killed at random moments: the same comes out in the end, and nothing is made twice but what was cut.

Each victim is a fork, which kills itself at an event with a number: an evaluation of a model, a decoded piece of a
part, a frame for the file, a part on its way to the disk. WAN22_TURBO_TEST_RACES says how many there are of each way to
continue.
"""

import os
import random
import signal
import sys

import pytest
import torch
from pack.media.mp4 import Mp4Writer
from pack.media.part_store import PartStore
from pack.nodes.long_plan import WAYS
from pack.samplers.guider import TwoExpertGuider
from pack.tests.comfy.long_clip.clips import clips, file_of, parts_there

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="victims are forks"),
    pytest.mark.filterwarnings("ignore:.*fork"),
]

MOMENTS = int(os.environ.get("WAN22_TURBO_TEST_RACES", "2"))  # 20 by hand: two minutes
SETTING = {"seconds": 0.6, "motion_latents": 1}


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


def forked(work):
    """Returns a process that does some work and ends."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child


@pytest.mark.parametrize("way", WAYS)
def test_a_killed_run_goes_on_and_gives_the_same_clip_bit_for_bit(make, made, wan, way):
    torch.set_num_threads(1)  # as in the victims
    with Events(wan) as events:
        wanted = file_of(make(continue_by=way, **SETTING)).read_bytes()

    def die():
        with Events(wan, moment):
            make(continue_by=way, **SETTING)

    for moment in random.Random(11).sample(range(1, events.count + 1), MOMENTS):
        for path in parts_there():
            path.unlink()
        _, status = os.waitpid(forked(die), 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL  # noqa: PT018  # it lived to the moment
        kept = [path for path in parts_there() if path.suffix == ".safetensors"]  # beside one half-written, perhaps
        made.clear()
        output = make(continue_by=way, **SETTING)
        assert file_of(output).read_bytes() == wanted, moment
        assert len(made) == 3 - len(kept), moment
        assert len(parts_there()) == 3
        assert not [path for path in file_of(output).parent.iterdir() if path.suffix != ".mp4"]


def test_two_at_once_with_the_same_inputs_and_prefix_give_two_whole_clips(make, request):
    torch.set_num_threads(1)
    other = forked(make)
    own = file_of(make())
    assert os.waitpid(other, 0)[1] == 0
    names = clips(request.node.name)
    assert names == ["clip_00001_.mp4", "clip_00002_.mp4"]
    assert {own.with_name(name).read_bytes() for name in names} == {own.read_bytes()}
    assert len(parts_there()) == 3
