"""What can be chosen of a timing, by name: the command line offers it without importing more."""

from __future__ import annotations

from typing import Literal

Dtype = Literal["fp32", "tf32", "bf16", "bf16-autocast", "fp16"]
MemoryFormat = Literal["contiguous", "channels_last_3d"]
Mode = Literal["eager", "cuda-graph", "compile"]
Phase = Literal["inference", "training"]

FULL = "full"
"""The campaign of all stages."""

STAGES = ("rows", "blocks", "contributions", "sweep", "training", "modes", "large")
"""What a full campaign measures, in order of value."""
