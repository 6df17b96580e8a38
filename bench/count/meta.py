"""Networks and operators as shapes alone, on the meta device: nothing is filled or computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from vidcost.bench.count import shapes

if TYPE_CHECKING:
    from vidcost.papers.row import Row


def on_meta(row: Row, batch: int = 1) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network of ``row`` and its clips, on the meta device.

    Names, shapes and types are those of ``row.model()`` and ``row.clips()``.
    Raises: ValueError as ``row.model`` does.
    """
    with torch.device("meta"):
        model = row.model()
    # not row.clips(): torch.randn imports sympy there, a third of a second
    return model, tuple(torch.empty(batch, *clip, device="meta") for clip in row.inputs)


def call_with_integers(func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What the operator ``func`` returns: floating tensors on the meta device, integers on the CPU.

    Masks, positions and lengths then decide what a network does as they would on a device; what is
    computed from a floating tensor has no values.
    Raises: RuntimeError if a tensor with values is overwritten by one without.
    """
    operands = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    # a tensor of another's shape needs none of its values
    shaped = name.endswith("_like") or name.startswith("new_")
    if not shaped and any(x.is_meta for x in operands):
        if func._schema.is_mutable and not args[0].is_meta:
            raise RuntimeError(
                f"{name} writes values that are not computed to a tensor with values"
            )
        if name in ("index", "index_put", "_index_put_impl"):
            args = (args[0], _positions(args[1]), *args[2:])
        return shapes.call(func, tree_map(_outlined, args), tree_map(_outlined, kwargs))
    if kwargs.get("device") is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    result = func(*(_anything(x) for x in args) if shaped else args, **kwargs)
    # a mutated argument stays what it is
    return result if func._schema.is_mutable else tree_map(_floats_outlined, result)


def _outlined(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("meta")
    return value.to("meta") if isinstance(value, Tensor) and not value.is_meta else value


def _floats_outlined(value: Any) -> Any:
    # a number may be read
    is_tensor = isinstance(value, Tensor) and value.dim() > 0
    return value.to("meta") if is_tensor and value.is_floating_point() else value


def _anything(value: Any) -> Any:
    """A tensor on the CPU of the same shape, which takes no memory."""
    if isinstance(value, Tensor) and value.is_meta:
        return torch.empty((), dtype=value.dtype, device="cpu").expand(value.shape)
    return value


def _positions(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Masks with values as the positions that they select, whose number is part of the shape."""
    found: list[Tensor | None] = []
    for each in indices:
        is_mask = each is not None and each.dtype == torch.bool and not each.is_meta
        found += each.nonzero(as_tuple=True) if each is not None and is_mask else [each]
    return found
