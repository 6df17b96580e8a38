"""A row's network as shapes alone: on the meta device, its weights never filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vidcost.papers.row import Row


def on_meta(row: Row) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network of ``row`` and its clips at batch 1, on the meta device.

    Names, shapes and types are those of ``row.model()`` and ``row.clips()``.
    Raises: ValueError as ``row.model`` does.
    """
    with torch.device("meta"), _Unfilled():
        model = row.model()
    # not row.clips(): torch.randn imports sympy there, a third of a second
    return model, tuple(torch.empty(1, *clip, device="meta") for clip in row.inputs)


class _Unfilled(TorchFunctionMode):
    """Leaves out what only fills a tensor, where that is on the meta device.

    There it has no values, and torch goes through Python to find that out.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLS:
            # torch.nn.init passes its tensor by name
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


_FILLS = {
    *(getattr(nn.init, name) for name in nn.init.__all__ if name.endswith("_")),
    *(Tensor.fill_, Tensor.zero_, Tensor.uniform_, Tensor.normal_),
}
