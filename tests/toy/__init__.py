"""Tiny stand-ins for the 14B files, made on the spot."""
