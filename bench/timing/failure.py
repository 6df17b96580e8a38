"""Classifies errors of a cell: not enough memory, not possible here, or a bug."""

import torch

from vidcost.bench.timing.record import Status

_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "bad_alloc",
    "status_alloc_failed",  # cuDNN's and cuBLAS's
)


class Unsupported(RuntimeError):
    """The device or torch cannot do what the cell asks for."""


def status_of(error: BaseException) -> Status | None:
    """``oom`` or ``unsupported``; None for any other error."""
    if is_out_of_memory(error):
        return "oom"
    if isinstance(error, Unsupported | NotImplementedError) or "not implemented for" in str(error):
        return "unsupported"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory, on the device or on the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _OUT_OF_MEMORY)


def one_line(error: BaseException) -> str:
    """The message in one line, or the error's name if it has none."""
    return " ".join(str(error).split())[:500] or type(error).__name__
