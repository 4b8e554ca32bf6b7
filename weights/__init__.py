"""Model and LoRA files: what a file is, and how to read it."""
