"""Hashes of model files: the public one for small files, a quick one for large ones."""

import hashlib
import os
import re

import pytest
from pack.weights.formats import model_file
from pack.weights.formats.model_file import fingerprint


def test_a_lora_is_known_by_the_hash_that_everybody_uses(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(os.urandom(3_000_000))
    assert fingerprint(path) == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def large(tmp_path):
    """A sparse file of 20 GiB, which takes no room."""
    path = tmp_path / "expert.safetensors"
    with path.open("wb") as file:
        file.truncate(20 * 2**30)
    return path


def test_a_large_file_is_sampled_from_its_first_to_its_last_byte(large):
    before = fingerprint(large)
    assert re.fullmatch(r"sampled-sha256:[0-9a-f]{64}", before)
    for place in (0, large.stat().st_size - 1):
        with large.open("rb+") as file:
            file.seek(place)
            file.write(b"x")
        os.utime(large, ns=(1, place))  # clocks of some file systems are coarse
        assert fingerprint(large) != before
        before = fingerprint(large)


def test_the_size_counts(large, tmp_path):
    other = tmp_path / "other.safetensors"
    with other.open("wb") as file:
        file.truncate(large.stat().st_size + 1)
    assert fingerprint(large) != fingerprint(other)


def test_an_unchanged_file_is_read_once(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"1")
    fingerprint(path)
    hits = model_file._hash.cache_info().hits
    fingerprint(path)
    assert model_file._hash.cache_info().hits == hits + 1
