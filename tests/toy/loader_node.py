"""Load Wan 2.2 I2V as a test runs it."""

from pack.nodes.loader import Loader
from pack.tests.toy import models as toy

FILES = {"high_noise": toy.HIGH, "low_noise": toy.LOW, "text_encoder": toy.TEXT_ENCODER, "vae": toy.VAE}


def load(**changes):
    return Loader.execute(**{**FILES, "weight_dtype": "default", **changes})
