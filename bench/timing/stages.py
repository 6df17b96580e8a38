"""The stages of a campaign by name, which the command line offers without importing torch."""

from __future__ import annotations

FULL = "full"
"""The campaign of all stages."""

STAGES = ("rows", "blocks", "shares", "sweep", "training", "modes", "large")
"""What a full campaign measures, in order of value."""
