"""Sparse attention: the order of tokens, which blocks are exact, kernels, and the probe that measures the error."""
