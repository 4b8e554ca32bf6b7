"""The models of Wan."""
