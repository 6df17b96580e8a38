"""Blocks and networks that a user wrote: found by name, built, their failures told from ours."""
