"""Tables of what was counted: rows, blocks alone, the modules of one network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from vidcost.bench.count.counter import count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.modules import Module, modules, verify
from vidcost.bench.count.record import Record
from vidcost.bench.count.training import count_training
from vidcost.bench.inspection.counted import Counted
from vidcost.bench.report.table import Column, Table, integer
from vidcost.models.cost import Cost
from vidcost.papers.catalog import tables_of
from vidcost.papers.row import Row

_TITLES = {"params": "Params", "matmul": "attention"}
"""Columns whose title is not the name of the quantity."""
_COST = [Column(each.name, _TITLES.get(each.name, each.name), integer) for each in fields(Cost)]
_QUANTITIES = (_COST[0], Column("macs", "MACs", integer), *_COST[1:])
_PRODUCTS = {kind: _TITLES.get(kind, kind) for kind in ("conv", "linear", "matmul")}
_UNITS = (
    "conv, linear and attention (products of two activations) are multiply-accumulates, and MACs "
    "their sum; norm, softmax and activation are elements, pool elements produced."
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
    """The number of modules with a closed form, in words if there are none."""
    return integer(value) if value else "not checked"


def count_table(records: Sequence[Record]) -> Table:
    """The counts of rows, with other counters' FLOPs if they were asked."""
    counters = dict.fromkeys(name for each in records for name in each.reference_counters)
    return Table(
        title="Counts",
        columns=(Column("row", "Row"), *_columns(counters)),
        lines=[
            {"row": each.row}
            | each.model_dump(exclude={"reference_counters", "inputs"})
            | {"macs": each.macs}
            | {name: answer.flops for name, answer in each.reference_counters.items()}
            for each in records
        ],
        legend=_legend("Batch 1. ", counters),
    )


def counted_table(found: Sequence[Counted], shape: Sequence[int] = ()) -> Table:
    """The counts of users' networks; of blocks alone if there is a ``shape`` (C, T, H, W)."""
    counters = dict.fromkeys(name for each in found for name in each.answers or ())
    failed = {
        (index, "shown_status"): f"{each.status}: {each.error}"
        for index, each in enumerate(found)
        if each.error
    }
    head: tuple[Column, ...]
    lines: list[dict[str, Any]]
    if shape:
        channels, *clip = shape
        title = f"Blocks on {channels} channels of {'x'.join(map(str, clip))}, batch 1"
        head, where = (Column("block", "Block"),), "Batch 1. "
        lines = [{"block": each.cell.block} for each in found]
    else:
        title, where = "Counts", "At the inputs given. "
        head = (Column("row", "Network"), Column("inputs", "Inputs"))
        lines = [{"row": x.cell.target, "inputs": " + ".join(x.cell.inputs)} for x in found]
    backward = _BACKWARD if any(each.backward for each in found) else ()
    return Table(
        title=title,
        columns=(
            *head,
            *_columns(counters, backward),
            *((Column("shown_status", "Status"),) if failed else ()),
        ),
        lines=[line | _figures(each) for line, each in zip(lines, found, strict=True)],
        footnotes=failed,
        legend=_legend(where, counters),
    )


_BACKWARD = (
    Column("backward_macs", "Backward MACs", integer),
    Column("training_macs", "Sum", integer),
)


def _columns(counters: Iterable[str], backward: Sequence[Column] = ()) -> tuple[Column, ...]:
    return (
        *_QUANTITIES,
        *backward,
        *(Column(name, name, integer) for name in counters),
        Column("buffers", "Buffers", integer),
        Column("closed_forms", "Closed forms met", checked),
    )


def _legend(where: str, counters: Iterable[str]) -> tuple[str, ...]:
    return (where + _UNITS, _CLOSED_FORMS, *([_REFERENCE_COUNTERS] if [*counters] else []))


def _figures(each: Counted) -> dict[str, Any]:
    # without a count there is nothing to compare a closed form with
    total, backward = each.total, each.backward
    figures: dict[str, Any] = {"macs": None, "buffers": each.buffers, "closed_forms": None}
    if total is not None:
        figures |= asdict(total) | {"macs": total.macs, "closed_forms": each.closed_forms}
        if backward is not None:
            figures["backward_macs"] = backward.macs
            figures["training_macs"] = total.macs + backward.macs
    return {
        **figures,
        **{name: answer.flops for name, answer in (each.answers or {}).items()},
        "status": each.status,
        "shown_status": None if each.status == "ok" else each.status,
        "error": each.error or None,
    }


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
                Column(f"backward_{kind}", f"Backward {title}", integer)
                for kind, title in _PRODUCTS.items()
            ),
        ),
        lines=lines,
        legend=(
            "Batch 1, in training mode, gradients for all parameters and none for the clip. conv, "
            "linear and attention (products of two activations) are multiply-accumulates, and MACs "
            "their sum. The loss and the optimiser's step are not counted.",
        ),
    )


def modules_table(row: Row, depth: int) -> Table:
    """The modules of a row down to ``depth``, with the cost inside each.

    Raises: ValueError if the row cannot be built.
    """
    model, clips = on_meta(row)
    inputs = ["x".join(map(str, clip)) for clip in row.inputs]
    return _modules(row.name, inputs, modules(model, count(model, *clips)), depth, "Batch 1. ")


def network_modules_table(network: Counted, depth: int) -> Table:
    """The same of a user's network."""
    cell = network.cell
    return _modules(cell.target, cell.inputs, network.modules, depth, "At the inputs given. ")


def _modules(
    name: str, inputs: Iterable[str], inside: Iterable[Module], depth: int, where: str
) -> Table:
    return Table(
        title=f"{name}: {' + '.join(inputs)}",
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
        legend=(where + _UNITS,),
    )
