"""torch's flex_attention while it is counted: on the meta device, and what its mask discards."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

_MODULE = "torch.nn.attention.flex_attention"
_POSITIONS = 2**26
"""A mask over more pairs of positions is not evaluated."""


@contextmanager
def uncompiled() -> Iterator[None]:
    """Leave out torch.compile, whose compiler does not trace the modes that count.

    What compiles itself, such as flex_attention, runs as it stands, and this also on the meta
    device.
    """
    flex = sys.modules.get(_MODULE)
    if flex is None and "torch._dynamo" not in sys.modules:
        # which takes a second to import
        yield
        return
    from unittest.mock import patch

    anywhere = patch.object(flex, "_validate_device", lambda *_: None) if flex else nullcontext()
    with torch.compiler.set_stance("force_eager"), anywhere:
        yield


def discarded(query: Tensor, key: Tensor, block_mask: Sequence[Any]) -> int | None:
    """How many scores the function of ``block_mask`` discards; None if that is not known."""
    heads = next(each.shape[:2] for each in block_mask if isinstance(each, Tensor))
    shape = *heads, query.shape[-2], key.shape[-2]
    if math.prod(shape) > _POSITIONS:
        return None
    try:
        # what the function reads may be on the meta device
        with _disable_current_modes():
            mask = sys.modules[_MODULE].create_mask(block_mask[-1], *shape, device="cpu")
            lost = int((~mask).sum())
    except Exception:
        return None
    return lost * math.prod(query.shape[:-2]) // math.prod(heads)
