"""Tables of what was counted: rows, blocks alone, the modules of one network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from vidcost.bench.count.counter import Shape, count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.modules import Module, modules, verify
from vidcost.bench.count.record import Record
from vidcost.bench.count.training import count_training
from vidcost.bench.inspection.counted import Counted
from vidcost.bench.report.table import Cell as Position
from vidcost.bench.report.table import Column, Table, integer
from vidcost.papers.catalog import tables_of
from vidcost.papers.row import Row

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
_CLOSED_FORMS = (
    "Closed forms met: modules whose closed form, `cost(shape)`, the count equals; not checked: "
    "no module has one."
)
_REFERENCE_COUNTERS = "fvcore and thop: as they print, by their own conventions."


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
                "tables": ", ".join(map(str, tables_of(row.name))) or None,
                "classes": row.classes,
                "input": " + ".join("x".join(map(str, clip)) for clip in row.inputs) or None,
                "note": row.note or None,
            }
            for row in rows
        ],
    )


def checked(value: int) -> str:
    """How many modules were held against a closed form, in words where there was none."""
    return integer(value) if value else "not checked"


def network_table(networks: Sequence[Counted]) -> Table:
    """Users' networks at their own inputs, and all that was counted of them."""
    reference_counters = list(
        dict.fromkeys(name for each in networks for name in each.answers or ())
    )
    failed = _failures(networks)
    return Table(
        title="Counts",
        columns=(
            Column("row", "Network"),
            Column("inputs", "Inputs"),
            *_QUANTITIES,
            *(_BACKWARD if any(each.backward for each in networks) else ()),
            *(Column(name, name, integer) for name in reference_counters),
            Column("buffers", "Buffers", integer),
            Column("closed_forms", "Closed forms met", checked),
            *((Column("shown_status", "Status"),) if failed else ()),
        ),
        lines=[
            {"row": each.cell.target, "inputs": " + ".join(each.cell.inputs), **_figures(each)}
            for each in networks
        ],
        footnotes=failed,
        legend=(
            f"At the inputs given. {_UNITS.removeprefix('Batch 1. ')}",
            _CLOSED_FORMS,
            *([_REFERENCE_COUNTERS] if reference_counters else []),
        ),
    )


def _failures(counted: Sequence[Counted]) -> dict[Position, str]:
    return {
        (index, "shown_status"): f"{each.status}: {each.error}"
        for index, each in enumerate(counted)
        if each.error
    }


_BACKWARD = (
    Column("backward_macs", "Backward MACs", integer),
    Column("training_macs", "Sum", integer),
)


def _backward(each: Counted) -> dict[str, int]:
    if each.total is None or each.backward is None:
        return {}
    backward = each.backward.macs
    return {"backward_macs": backward, "training_macs": each.total.macs + backward}


def _figures(each: Counted) -> dict[str, Any]:
    # without a count there is nothing that a closed form could have been held against
    total, forms = ({}, None) if each.total is None else (asdict(each.total), each.closed_forms)
    return {
        **total,
        "macs": None if each.total is None else each.total.macs,
        **_backward(each),
        "buffers": each.buffers,
        "closed_forms": forms,
        **{name: answer.flops for name, answer in (each.answers or {}).items()},
        "status": each.status,
        "shown_status": None if each.status == "ok" else each.status,
        "error": each.error or None,
    }


def count_table(records: Sequence[Record]) -> Table:
    """Rows, and all that was counted of them; what the counters said, if they were asked."""
    reference_counters = list(
        dict.fromkeys(name for record in records for name in record.reference_counters)
    )
    return Table(
        title="Counts",
        columns=(
            Column("row", "Row"),
            *_QUANTITIES,
            *(Column(name, name, integer) for name in reference_counters),
            Column("buffers", "Buffers", integer),
            Column("closed_forms", "Closed forms met", checked),
        ),
        lines=[
            {"row": record.row}
            | record.model_dump(exclude={"reference_counters", "inputs"})
            | {"macs": record.macs}
            | {name: answer.flops for name, answer in record.reference_counters.items()}
            for record in records
        ],
        legend=(
            _UNITS,
            _CLOSED_FORMS,
            *([_REFERENCE_COUNTERS] if reference_counters else []),
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


def block_table(blocks: Sequence[Counted], shape: Shape) -> Table:
    """Blocks alone at one input shape (B, C, T, H, W), and whether closed forms were met."""
    batch, channels, frames, height, width = shape
    failed = _failures(blocks)
    return Table(
        title=f"Blocks on {channels} channels of {frames}x{height}x{width}, batch {batch}",
        columns=(
            Column("block", "Block"),
            *_QUANTITIES,
            Column("closed_forms", "Closed forms met", checked),
            *((Column("shown_status", "Status"),) if failed else ()),
        ),
        lines=[{"block": each.cell.block, **_figures(each)} for each in blocks],
        footnotes=failed,
        legend=(_UNITS.removeprefix("Batch 1. "), _CLOSED_FORMS),
    )


def tree_table(row: Row, depth: int) -> Table:
    """The modules of a row down to ``depth``, with what is inside each.

    Raises: ValueError if the row cannot be built.
    """
    model, clips = on_meta(row)
    found = count(model, *clips)
    inputs = " + ".join("x".join(map(str, clip)) for clip in row.inputs)
    return _tree(row.name, inputs, modules(model, found), depth, _UNITS)


def network_tree_table(network: Counted, depth: int) -> Table:
    """The same of a user's network."""
    inputs = " + ".join(network.cell.inputs)
    units = f"At the inputs given. {_UNITS.removeprefix('Batch 1. ')}"
    return _tree(network.cell.target, inputs, network.modules, depth, units)


def _tree(name: str, inputs: str, inside: Iterable[Module], depth: int, units: str) -> Table:
    return Table(
        title=f"{name}: {inputs}",
        columns=(Column("module", "Module"), Column("kind", "Kind"), *_QUANTITIES[:5]),
        lines=[
            {
                "module": module.name or name,
                "kind": module.kind,
                **asdict(module.inside),
                "macs": module.inside.macs,
            }
            for module in inside
            if not module.name or module.name.count(".") < depth
        ],
        legend=(units,),
    )
