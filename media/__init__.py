"""Pictures in, clips out: sizes, resizing, colour, MP4."""
