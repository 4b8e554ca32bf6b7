"""LoRA files."""
