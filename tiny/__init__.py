"""Scenes whose truth is known, to train a Wan 2.2 of a few megabytes on and to judge it by. Not part of the pack."""
