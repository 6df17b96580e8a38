"""The two ways to compute a block: as its paper writes it, or fast."""

from __future__ import annotations

from typing import Literal, get_args

Path = Literal["textbook", "fast"]
"""``textbook``: the operators of the paper's formulas, one after another. ``fast``: the same
function of the same parameters, with less memory, fewer MACs or fewer passes over memory."""

PATHS: tuple[Path, ...] = get_args(Path)


def checked(path: Path) -> Path:
    """``path`` as it is.  Raises: ValueError if it is none."""
    if path not in PATHS:
        raise ValueError(f"unknown path {path!r}: choose from {', '.join(PATHS)}")
    return path
