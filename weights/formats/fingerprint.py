"""What a model file is known by, whatever it is called: a hash that takes seconds, also of 14 GB."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

WHOLE = 2**30  # bytes; up to here all of the file is hashed, in a second or two
SAMPLE = 2**20  # bytes
SAMPLES = 32


def fingerprint(path: str | Path) -> str:
    """Hashes a file.

    Returns:
        "sha256:" and the digest of the whole file, by which LoRAs are looked up in public, if it has at most 1 GiB.
        A larger one gives "sampled-sha256:" and the digest of its size in bytes (8 bytes, little endian) and of 32
        samples of 1 MiB, evenly spaced, the first and the last MiB among them.

    Raises:
        OSError: The file cannot be read.
    """
    status = os.stat(path)
    return _hash(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _hash(path: str, size: int, _modified: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        if size <= WHOLE:
            while block := file.read(SAMPLE):
                digest.update(block)
            return f"sha256:{digest.hexdigest()}"
        digest.update(size.to_bytes(8, "little"))
        for sample in range(SAMPLES):
            file.seek((size - SAMPLE) * sample // (SAMPLES - 1))
            digest.update(file.read(SAMPLE))
    return f"sampled-sha256:{digest.hexdigest()}"
