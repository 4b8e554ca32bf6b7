"""Model files of any kind: what they list, and how their tensors are read."""
