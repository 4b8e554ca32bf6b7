"""What the rooms of the pack share and none of them owns. Without ComfyUI, and without any of them."""
