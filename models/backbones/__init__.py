"""Backbones: one file each. They take blocks and positions and know no block by name."""
