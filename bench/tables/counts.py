"""Tables of what was counted: rows, blocks alone, the modules of one network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import torch

from vidcost.bench.count.closed_form import verify
from vidcost.bench.count.counter import Shape, count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.record import Record
from vidcost.bench.count.training import count_training
from vidcost.bench.tables.table import Column, Table, integer
from vidcost.models.backbones.positions import BlockFactory
from vidcost.models.rows import Row

_QUANTITIES = (
    Column("params", "Params", integer),
    Column("macs", "MACs", integer),
    Column("conv", "conv", integer),
    Column("linear", "linear", integer),
    Column("matmul", "attention", integer),
    Column("norm", "norm", integer),
    Column("pool", "pool", integer),
    Column("softmax", "softmax", integer),
    Column("activation", "activation", integer),
)
_PRODUCTS = {"conv": "conv", "linear": "linear", "matmul": "attention"}
_UNITS = (
    "Batch 1. conv, linear and attention (products of two activations) are multiply-accumulates, "
    "and MACs their sum; norm, softmax and activation are elements, pool elements produced."
)


def list_table(rows: Iterable[Row]) -> Table:
    """Rows: in which tables they stand, what goes in, what is assumed."""
    return Table(
        title="Rows",
        columns=(
            Column("row", "Row"),
            Column("tables", "Tables"),
            Column("classes", "Classes", integer),
            Column("input", "Input"),
            Column("note", "Note"),
        ),
        lines=[
            {
                "row": row.name,
                "tables": ", ".join(map(str, row.tables)) or None,
                "classes": row.classes,
                "input": " + ".join("x".join(map(str, clip)) for clip in row.inputs) or None,
                "note": row.note or None,
            }
            for row in rows
        ],
    )


def count_table(records: Sequence[Record]) -> Table:
    """Rows, and all that was counted of them; what the witnesses said, if they were asked."""
    witnesses = list(dict.fromkeys(name for record in records for name in record.witnesses))
    return Table(
        title="Counts",
        columns=(
            Column("row", "Row"),
            *_QUANTITIES,
            *(Column(name, name, integer) for name in witnesses),
            Column("buffers", "Buffers", integer),
            Column("closed_forms", "Closed forms met", integer),
        ),
        lines=[
            record.model_dump(exclude={"witnesses", "inputs"})
            | {"macs": record.macs, "closed_forms": record.closed_forms or None}
            | {name: answer.flops for name, answer in record.witnesses.items()}
            for record in records
        ],
        legend=(
            _UNITS,
            "Closed forms met: modules whose closed form the count equals.",
            *(["fvcore and thop: as they print, by their own conventions."] if witnesses else []),
        ),
    )


def training_table(rows: Iterable[Row]) -> Table:
    """Rows, and the MACs of a step of training at batch 1: forward, backward and their sum.

    Raises: ValueError if a row cannot be built; ClosedFormMismatch.
    """
    lines = []
    for row in rows:
        model, clips = on_meta(row)
        step = count_training(model, *clips)
        verify(row.name, model, step.forward)
        forward, backward = step.forward.total, step.backward.total
        lines.append(
            {
                "row": row.name,
                "forward_macs": forward.macs,
                "backward_macs": backward.macs,
                "training_macs": forward.macs + backward.macs,
                **{f"forward_{kind}": getattr(forward, kind) for kind in _PRODUCTS},
                **{f"backward_{kind}": getattr(backward, kind) for kind in _PRODUCTS},
            }
        )
    return Table(
        title="Training",
        columns=(
            Column("row", "Row"),
            Column("forward_macs", "Forward MACs", integer),
            Column("backward_macs", "Backward MACs", integer),
            Column("training_macs", "Sum", integer),
            *(
                Column(f"backward_{kind}", f"Backward {heading}", integer)
                for kind, heading in _PRODUCTS.items()
            ),
        ),
        lines=lines,
        legend=(
            "Batch 1, in training mode, gradients for all parameters and none for the clip. conv, "
            "linear and attention (products of two activations) are multiply-accumulates, and MACs "
            "their sum. The loss and the optimiser's step are not counted.",
        ),
    )


def block_table(blocks: Sequence[tuple[str, BlockFactory]], shape: Shape) -> Table:
    """Blocks alone at one input shape (B, C, T, H, W), each checked against its closed form.

    Raises: ValueError as the blocks do; ClosedFormMismatch.
    """
    lines = []
    for name, factory in blocks:
        with torch.device("meta"):
            block = factory(shape[1])
        counted = count(block, torch.empty(shape, device="meta"))
        verify(name, block, counted)
        lines.append({"block": name, **asdict(counted.total), "macs": counted.total.macs})
    batch, channels, frames, height, width = shape
    return Table(
        title=f"Blocks on {channels} channels of {frames}x{height}x{width}, batch {batch}",
        columns=(Column("block", "Block"), *_QUANTITIES),
        lines=lines,
        legend=(_UNITS.removeprefix("Batch 1. "), "Every count equals its closed form."),
    )


def tree_table(row: Row, depth: int) -> Table:
    """The modules of a row down to ``depth``, with what is inside each.

    Raises: ValueError if the row cannot be built.
    """
    model, clips = on_meta(row)
    counted = count(model, *clips)
    lines = []
    for name, module in model.named_modules():
        if name and name.count(".") >= depth:
            continue
        inside = counted.within(name, params=sum(p.numel() for p in module.parameters()))
        kind = type(module).__name__
        lines.append(
            {"module": name or row.name, "kind": kind, **asdict(inside), "macs": inside.macs}
        )
    return Table(
        title=f"{row.name}: {' + '.join('x'.join(map(str, clip)) for clip in row.inputs)}",
        columns=(Column("module", "Module"), Column("kind", "Kind"), *_QUANTITIES[:5]),
        lines=lines,
        legend=(_UNITS,),
    )
