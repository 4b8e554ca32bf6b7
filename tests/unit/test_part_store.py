"""Parts on the disk: whole or absent, told apart by their digests, and no more of them than the rule says."""

import errno
import os
import sys
import time

import pytest
import torch
from pack.media.part_store import Kept, PartStore
from safetensors.torch import save

LATENT = torch.arange(96, dtype=torch.float32).reshape(1, 16, 3, 1, 2)
KEPT = Kept("a story", "16x8")
HOUR = 3600


@pytest.fixture
def store(tmp_path):
    return PartStore(tmp_path / "made when it is needed")


def test_a_part_comes_back_as_it_was(store):
    assert not store.has("a")
    assert store.load("a") is None
    store.save("a", LATENT.to(torch.bfloat16), KEPT)
    assert store.has("a")
    assert torch.equal(store.load("a"), LATENT.to(torch.bfloat16))
    assert [path.name for path in store.folder.iterdir()] == ["a.safetensors"]


def test_of_two_processes_that_make_a_part_the_first_ones_counts_for_both(store):
    assert torch.equal(store.save("a", LATENT, KEPT), LATENT)
    assert torch.equal(store.save("a", LATENT + 1, KEPT), LATENT)
    assert torch.equal(store.load("a"), LATENT)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_part_is_none(store, content):
    store.save("a", LATENT, KEPT)
    (store.folder / "a.safetensors").write_bytes(content)
    assert store.load("a") is None
    assert store.of_story("a story") == set()
    store.save("a", LATENT, KEPT)
    assert torch.equal(store.load("a"), LATENT)


def test_what_the_parts_of_a_story_are_is_known_without_reading_them(store):
    store.save("a", LATENT, KEPT)
    store.save("b", LATENT, Kept("a story", "32x32", "torch 2"))
    store.save("c", LATENT, Kept("another", "64x64"))
    store.folder.joinpath("d.safetensors").write_bytes(save({"latent": LATENT}, {"story": "a story", "size": "8x8"}))
    assert store.of_story("a story") == {KEPT, Kept("a story", "32x32", "torch 2"), Kept("a story", "8x8", "")}


def aged(store, digest, hours):
    store.save(digest, LATENT, KEPT)
    then = time.time() - hours * HOUR
    os.utime(store.folder / f"{digest}.safetensors", (then, then))


def left(store):
    return sorted(path.stem for path in store.folder.iterdir())


def test_parts_that_nobody_used_for_long_go_and_those_of_this_clip_stay(store):
    for digest, hours in (("old", 49), ("older and needed", 99), ("young", 47)):
        aged(store, digest, hours)
    assert store.clean(["older and needed"], days=2) == 1
    assert left(store) == ["older and needed", "young"]
    aged(store, "used", 49)
    store.load("used")
    assert store.clean([], days=2) == 1
    assert left(store) == ["used", "young"]


def test_where_all_take_too_much_the_longest_unused_go_first(store):
    for digest, hours in (("a", 4), ("b", 3), ("c", 2), ("d", 1)):
        aged(store, digest, hours)
    size = (store.folder / "a.safetensors").stat().st_size
    assert store.clean(["a"], room=2 * size) == 1
    assert left(store) == ["a", "c", "d"]
    assert PartStore(store.folder / "absent").clean([]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_is_a_sentence_and_leaves_nothing_half_written(store):
    import resource

    store.save("a", LATENT, KEPT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match=r"could not be written: .*Make room on the disk") as failure:
            store.save("b", LATENT, KEPT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failure.value.errno == errno.EFBIG
    assert str(store.folder.parent) not in str(failure.value)
    assert left(store) == ["a"]
