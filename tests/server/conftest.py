"""Clients at work, the picture that they send, and a look at the server beside them."""

import numpy as np
import pytest
from pack.client import address
from pack.client.server import Server
from pack.tests.server.client_process import UPLOADED, Process
from PIL import Image


@pytest.fixture
def start():
    """Starts clients, and ends those that a failed test leaves."""
    started = []

    def one(arguments):
        started.append(Process(arguments))
        return started[-1]

    yield one
    for one_of_them in started:
        one_of_them.end(0 if one_of_them.process.poll() is None else 1)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """Narrow, so that a clip of 240p has a fifth of its pixels: the VAE takes most of a run."""
    path = tmp_path_factory.mktemp("mine") / UPLOADED
    noise = np.random.default_rng(5).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((256, 34)).save(path)
    return path


@pytest.fixture
def connection(server):
    """The client's own connection to the server."""
    made = Server(address.parse(server.address), patience=5.0)
    yield made
    made.close()
