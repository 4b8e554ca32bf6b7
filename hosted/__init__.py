"""Wan 2.2 on other people's GPUs: one request, one client, a table per provider. Without ComfyUI."""
