"""Which cells are timed: rows, blocks and networks under conditions."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from vidcost.bench.block_spec import block_factory, reference_of, with_impl
from vidcost.bench.timing.cell import Cell, checked_cell, combinations
from vidcost.bench.user.network import is_made, parse_all
from vidcost.bench.user.reference import digest
from vidcost.models.blocks.impl import IMPLS, checked
from vidcost.models.registry import specs
from vidcost.papers.catalog import select
from vidcost.papers.row import Row

ALL = "all"
"""The word for all blocks of the registry."""

Shape = tuple[int, int, int, int]
"""C, T, H, W."""

SHAPES: tuple[Shape, ...] = (384, 8, 14, 14), (1024, 4, 14, 14)
"""Where MFNet's and ResNet-50's rows put different blocks: conv4 and res4."""


def cells_for(
    rows: Iterable[Row],
    conditions: Mapping[str, Any] | None = None,
    *,
    contribution: bool = False,
    blocks: Iterable[tuple[str, Shape]] = (),
    both_impls: bool = False,
    networks: Iterable[tuple[str, Sequence[str]]] = (),
) -> list[Cell]:
    """The cells of ``rows``, ``blocks`` and ``networks`` under all combinations of ``conditions``.

    With ``contribution`` a row is timed interleaved with the same network without its blocks;
    rows that have none are left out. ``blocks`` are specs and shapes (C, T, H, W) of blocks alone;
    with ``both_impls`` the optimized one is interleaved with the reference. ``networks`` are
    references to a user's, with their inputs in words, which have a batch of their own.
    Raises: ValueError for conditions that contradict each other, rows that cannot be built, or if
            ``contribution`` is asked of rows without blocks alone.
    """
    chosen = list(rows)
    for row in chosen:
        if row.build is None:
            raise ValueError(f"{row.name} cannot be built: {row.note}")
    if contribution and chosen:
        chosen = [row for row in chosen if row.has_blocks]
        if not chosen:
            raise ValueError("none of these rows has a block, so none contributes: choose others")
    targets = [row_fields(row) for row in chosen]
    targets += [{"block": spec, "shape": at, "code": code_of([spec])} for spec, at in blocks]
    targets += [network_fields(reference, inputs) for reference, inputs in networks]
    cells = []
    for combination in combinations(conditions or {}):
        for target in targets:
            fields = at(combination, target)
            if contribution and "row" in target:
                fields["against"] = checked_cell(fields | {"blocks": ()})
            elif both_impls and "block" in target:
                fields["against"] = checked_cell(fields)
                fields["block"] = with_impl(target["block"], "optimized")
            cells.append(checked_cell(fields))
    return list(dict.fromkeys(cells))


def at(combination: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ``target`` under conditions; a network's inputs have the batch asked for.

    Raises: ValueError if a batch is asked for of inputs that a function makes.
    """
    inputs, batch = target.get("inputs"), combination.get("batch")
    if not inputs or batch is None:
        return {**combination, **target}
    if is_made(inputs):
        raise ValueError(f"{inputs[0]} makes the inputs, of one batch: leave out --batch")
    own = parse_all(inputs)[0].shape[0]
    # an input may come without a batch
    first = re.compile(rf"(^|=){own}(?=x|:|<|$)")
    changed = tuple(first.sub(rf"\g<1>{batch}", text) for text in inputs)
    return {**combination, **target, "inputs": changed, "batch": batch}


def row_fields(row: Row) -> dict[str, Any]:
    """The row as fields of a cell: classes, frames and size only where they are not its own."""
    (own,) = select([row.name])
    asked = {"classes": row.classes, "frames": row.frames, "size": row.size}
    return {"row": row.name} | {
        name: value for name, value in asked.items() if value != getattr(own, name)
    }


def network_fields(reference: str, inputs: Sequence[str]) -> dict[str, Any]:
    """A user's network as fields of a cell.

    Raises: ValueError if there is no such file or module, or an input is none.
    """
    fields: dict[str, Any] = {"network": reference, "inputs": tuple(inputs)}
    if not is_made(inputs):
        fields["batch"] = parse_all(inputs)[0].shape[0]
    return fields | {"code": code_of((), reference, inputs)}


def code_of(specs: Iterable[str], network: str = "", inputs: Sequence[str] = ()) -> str:
    """A digest of the user's code behind ``specs``, a ``network`` and its ``inputs``; "" for none.

    Raises: ValueError for an unknown block, or if there is no such file or module.
    """
    references = [network] if network else []
    # functions of the network's own file are part of its digest
    file = network.partition(":")[0]
    references += [x for x in inputs if is_made([x]) and x.partition(":")[0] != file]
    references += [reference for spec in specs if (reference := reference_of(spec))]
    return "+".join(map(digest, references))


# blocks alone


def blocks_alone(
    words: Sequence[str], shapes: Sequence[str], *, impl: str | None = None
) -> tuple[list[tuple[str, Shape]], list[str]]:
    """Blocks at ``shapes``, or at :data:`SHAPES`; and why others were left out.

    A word is specs of blocks, or :data:`ALL`. ``impl`` names implementations, with commas between
    them; with both, all includes blocks that compute other functions.
    Raises: ValueError for an unknown block or implementation, a text that is no shape, or if
            nothing fits.
    """
    wanted = impl.split(",") if impl else []
    every = specs(functions=len(wanted) > 1)
    named = [spec for text in words for spec in text.split()]
    found, reasons = [], []
    for shape in [shape_of(text) for text in shapes] or SHAPES:
        for spec in (each for name in named for each in (every if name == ALL else (name,))):
            factory = _factory(spec)
            try:
                names = [with_impl(spec, checked(each)) for each in wanted]  # type: ignore[arg-type]
            except ValueError as error:
                if ALL not in named or not set(wanted) <= set(IMPLS):
                    raise
                reasons.append(f"{spec} left out: {error}")
                continue
            try:
                if factory is not None:
                    with torch.device("meta"):
                        factory(shape[0])(torch.empty(1, *shape))
            except ValueError as error:
                reasons.append(f"{spec} at {'x'.join(map(str, shape))} left out: {error}")
            else:
                found.append((names[0] if len(names) == 1 else spec, shape))
    if reasons and not found:
        raise ValueError(reasons[0])
    return found, list(dict.fromkeys(reasons))


def _factory(spec: str) -> Callable[..., nn.Module] | None:
    # a user's code is run by the worker alone, which reports its failures
    return None if reference_of(spec) else block_factory(spec)


# words and budgets


def shape_of(text: str) -> Shape:
    """``384x8x14x14`` as (C, T, H, W).  Raises: ValueError if it is none."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){3}", text, re.ASCII):
        raise ValueError(f"{text!r} is no shape CxTxHxW such as 384x8x14x14")
    channels, frames, height, width = map(int, text.split("x"))
    return channels, frames, height, width
