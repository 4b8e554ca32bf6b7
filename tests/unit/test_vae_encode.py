"""What may be skipped, on causal encoders whose memory is plain to see. The real VAE's turn is in tests/comfy."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.media.vae_encode import TOLERANCE, skip_settled

PICTURE = torch.full((1, 1, 1, 2, 2), 0.8)


class Causal(torch.nn.Module):
    """Encodes 1 + 4 + 4... frames. What it remembers is in the caches, as in Wan's encoder."""

    calls = 0
    caches = 1

    def encode(self, clip):
        """Tensor[B, C, F, H, W] -> Tensor[B, C, T, H, W]."""
        caches = [None] * self.caches
        chunks = [clip[:, :, :1], *clip[:, :, 1:].split(4, dim=2)]
        return torch.cat([self(chunk, feat_cache=caches, feat_idx=[0]) for chunk in chunks], dim=2)

    def forward(self, x, feat_cache=None, feat_idx=None):
        self.calls += 1
        return self.remember(x[:, :, -1:], feat_cache)


class Echo(Causal):
    """Gives what it was shown `delay` chunks ago, and zeros until then."""

    def __init__(self, delay):
        super().__init__()
        self.caches = delay

    def remember(self, frame, caches):
        heard = caches[0]
        caches[:] = [*caches[1:], frame]
        return torch.zeros_like(frame) if heard is None else heard


class Fading(Causal):
    """Keeps a share of what it remembers with every chunk."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def remember(self, frame, caches):
        caches[0] = frame + (0 if caches[0] is None else self.share * caches[0])
        return caches[0]


class Paired(Causal):
    """Answers every other chunk, with two latent frames, and the last one in any case, as ComfyUI 0.30 does."""

    caches = 2

    def encode(self, clip):
        caches = [None, None]
        chunks = [clip[:, :, :1], *clip[:, :, 1:].split(4, dim=2)]
        given = [
            self(chunk, feat_cache=caches, feat_idx=[0], final=index == len(chunks) - 1)
            for index, chunk in enumerate(chunks)
        ]
        return torch.cat([latents for latents in given if latents is not None], dim=2)

    def forward(self, x, feat_cache=None, feat_idx=None, final=False):
        self.calls += 1
        last, waiting = feat_cache
        frame = x[:, :, -1:]
        mixed = frame if last is None else (frame + last) / 2
        feat_cache[0] = frame
        if last is not None and waiting is None and not final:
            feat_cache[1] = mixed
            return None
        feat_cache[1] = None
        return mixed if waiting is None else torch.cat([waiting, mixed], dim=2)


def clip(frames, *others):
    """The picture, then grey; `others` are (frame, value)."""
    grey = torch.full((1, 1, frames, 2, 2), 0.5)
    grey[:, :, :1] = PICTURE
    for frame, value in others:
        grey[:, :, frame] = value
    return grey


def both_ways(encoder, frames):
    """Returns the latents encoded in full and with skipping, how often the encoder ran then, and what was skipped."""
    plain = encoder.encode(frames)
    encoder.calls = 0
    vae = SimpleNamespace(first_stage_model=SimpleNamespace(encoder=encoder))
    with skip_settled(vae, frames.shape[2], lambda: None) as watch:
        skipping = encoder.encode(frames)
    assert "forward" not in vars(encoder)
    return plain, skipping, encoder.calls, watch.skipped


@pytest.mark.parametrize(("delay", "runs"), [(1, 4), (2, 5), (5, 8), (15, 18), (40, 21)])
def test_an_answer_that_repeats_while_the_memory_still_moves_has_not_settled(delay, runs):
    plain, skipping, calls, skipped = both_ways(Echo(delay), clip(81))
    assert skipping.equal(plain)
    assert calls == runs  # the picture is heard after `delay` grey chunks, then two answers must agree
    assert skipped == 4 * (21 - runs)


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 0.99), st.integers(2, 40))
def test_what_still_fades_is_left_out_only_within_the_tolerance(share, chunks):
    plain, skipping, _, _ = both_ways(Fading(share), clip(4 * chunks + 1))
    assert (plain - skipping).abs().max() <= TOLERANCE * plain.abs().max()


def test_the_faster_it_fades_the_sooner_it_is_skipped():
    skipped = [both_ways(Fading(share), clip(81))[3] for share in (0.1, 0.3, 0.5, 0.9)]
    assert skipped == sorted(skipped, reverse=True)
    assert skipped[0] > 50
    assert skipped[-1] == 0


def test_a_memory_that_grows_is_never_skipped():
    plain, skipping, calls, skipped = both_ways(Fading(1.1), clip(81))
    assert skipping.equal(plain)
    assert (calls, skipped) == (21, 0)


@pytest.mark.parametrize("frames", [5, 9, 13, 37, 41, 81])
def test_an_encoder_that_answers_every_other_chunk_keeps_its_rhythm(frames):
    plain, skipping, _, _ = both_ways(Paired(), clip(frames))
    assert skipping.equal(plain)


@pytest.mark.parametrize("encoder", [Echo(2), Fading(0.01), Paired()], ids=["echo", "fading", "paired"])
@pytest.mark.parametrize("others", [[(80, 0.1)], [(77, 0.1)], [(40, 0.1)], [(33, 0.1), (80, 0.9)], [(45, 0.7)]])
def test_a_picture_after_the_grey_meets_the_memory_that_it_would_have_met(encoder, others):
    plain, skipping, _, skipped = both_ways(encoder, clip(81, *others))
    torch.testing.assert_close(skipping, plain, rtol=0, atol=TOLERANCE)
    assert skipped


def test_two_frames_that_alternate_are_not_taken_for_one():
    plain, skipping, _, skipped = both_ways(Echo(1), clip(81, *((frame, frame // 4 % 2) for frame in range(1, 81))))
    assert skipping.equal(plain)
    assert not skipped


def test_a_pair_of_chunks_that_repeats_is_not_taken_for_one_chunk_that_does():
    others = [(frame, 0.9) for chunk in (1, 3, 5, 7, 8, 9, 10) for frame in range(4 * chunk + 1, 4 * chunk + 5)]
    plain, skipping, _, _ = both_ways(Paired(), clip(45, *others))
    assert skipping.equal(plain)


def test_one_value_that_is_not_a_number_is_not_settled():
    plain, skipping, _, skipped = both_ways(Fading(0.0), clip(41) * torch.nan)
    assert skipping.isnan().equal(plain.isnan())
    assert not skipped


def test_an_encoder_that_does_not_take_chunks_is_left_alone():
    for encoder in (torch.nn.Identity(), None):
        vae = SimpleNamespace(first_stage_model=SimpleNamespace(encoder=encoder))
        with skip_settled(vae, 81, lambda: None) as watch:
            assert "forward" not in vars(encoder or torch.nn.Identity())
        assert watch.skipped == 0
    with skip_settled(SimpleNamespace(), 81, lambda: None) as watch:
        assert watch.skipped == 0


@pytest.mark.slow  # imports torch's compiler
def test_a_compiled_encoder_is_left_alone():
    encoder = Echo(1)
    encoder.compile(backend="eager")
    with skip_settled(SimpleNamespace(first_stage_model=SimpleNamespace(encoder=encoder)), 81, lambda: None):
        assert "forward" not in vars(encoder)


def test_what_another_pack_put_in_front_of_the_encoder_stays_and_is_used():
    encoder, calls = Echo(1), []
    own = encoder.forward

    def others(x, feat_cache=None, feat_idx=None):
        calls.append(x.shape[2])
        return own(x, feat_cache, feat_idx)

    encoder.forward = others
    vae = SimpleNamespace(first_stage_model=SimpleNamespace(encoder=encoder))
    with skip_settled(vae, 41, lambda: None):
        encoder.encode(clip(41))
    assert encoder.forward is others
    assert calls == [1, 4, 4, 4]


def test_what_ends_the_encoding_leaves_the_encoder_as_it_was():
    encoder = Echo(1)

    def cancel():
        raise KeyboardInterrupt

    vae = SimpleNamespace(first_stage_model=SimpleNamespace(encoder=encoder))
    with pytest.raises(KeyboardInterrupt), skip_settled(vae, 41, cancel):
        encoder.encode(clip(41))
    assert "forward" not in vars(encoder)
    assert encoder.calls == 0


def test_without_caches_every_picture_goes_through():
    encoder = Fading(0.5)
    encoder.remember = lambda frame, caches: frame
    vae = SimpleNamespace(first_stage_model=SimpleNamespace(encoder=encoder))
    with skip_settled(vae, 1, lambda: None) as watch:
        assert encoder(PICTURE).equal(PICTURE)
        assert encoder(PICTURE, None, [0]).equal(PICTURE)
    assert watch.skipped == 0
