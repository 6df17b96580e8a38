"""Tables of what was counted: rows, blocks alone, the modules of one network."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from vidcost.bench.count.references.asking import ALL
from vidcost.bench.count.rules import PRODUCTS
from vidcost.bench.inspection.counted import Counted
from vidcost.bench.report.table import Column, Table, checked, compact, integer, percent
from vidcost.bench.report.timing import STATUS, failures, present
from vidcost.bench.timing.build import row_of
from vidcost.bench.timing.cell import Cell
from vidcost.models.cost import Cost
from vidcost.papers.catalog import tables_of
from vidcost.papers.row import Row

_TITLES = {"params": "Params", "matmul": "attention"}
"""Columns whose title is not the name of the quantity."""
_QUANTITIES = (
    Column("params", "Params", compact, integer),
    Column("macs", "MACs", compact, integer),
    Column("attention_share", "Attention", percent),
    *(
        Column(each.name, _TITLES.get(each.name, each.name), integer, is_wide=True)
        for each in fields(Cost)
        if each.name != "params"
    ),
)
_UNITS = (
    "MACs: multiply-accumulates of convolutions, linear layers and matrix products. Attention: the "
    "share of products of two activations. `--wide` has exact numbers of every kind: conv, linear "
    "and attention in MACs; norm, softmax and activation in elements, pool in elements produced; "
    "closed forms met: modules whose `cost(shape)` equals the count."
)
_BACKWARD = (
    Column("backward_macs", "Backward MACs", compact, integer),
    Column("training_macs", "Sum", compact, integer),
    *(
        Column(f"backward_{kind}", f"Backward {_TITLES.get(kind, kind)}", integer, is_wide=True)
        for kind in PRODUCTS
    ),
)
_TRAINING = (
    "In training mode, gradients for all parameters and none for the input. The loss and the "
    "optimiser's step are not counted."
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
                "tables": ", ".join(map(str, tables_of(row.name))) or None,
                "classes": row.classes,
                "input": " + ".join("x".join(map(str, clip)) for clip in row.inputs) or None,
                "note": row.note or None,
            }
            for row in rows
        ],
    )


def counted_table(found: Sequence[Counted], views: int = 1) -> Table:
    """The counts of rows, users' networks or blocks; if several ``views``, of all these as well."""
    counters = dict.fromkeys(name for each in found for name in each.answers)
    heads = [_target(each.cell) for each in found]
    lines = [head | _figures(each, views) for head, each in zip(heads, found, strict=True)]
    cell = found[0].cell
    where = "Batch 1. " if cell.network is None else "At the inputs given. "
    title, legend = "Counts", [where + _UNITS]
    columns = [
        *_with_views(views),
        *(Column(name, ALL[name].title, compact, integer) for name in counters),
        Column("buffers", "Buffers", integer, is_wide=True),
        Column("closed_forms", "Closed forms met", checked, is_wide=True),
    ]
    if counters:
        legend.append("fvcore and thop: as they print, by their own conventions.")
    if any(each.count and each.count.backward for each in found):
        title, columns = "Training", [_QUANTITIES[1], *_BACKWARD]
        legend = [where + _UNITS, _TRAINING]
    if cell.shape is not None:
        channels, *clip = cell.shape
        title = f"Blocks on {channels} channels of {'x'.join(map(str, clip))}, batch 1"
    return Table(
        title=title,
        columns=(
            *(Column(key, key.capitalize()) for key in heads[0]),
            *columns,
            *present(lines, [STATUS]),
        ),
        lines=lines,
        footnotes=failures(lines),
        legend=(
            *legend,
            *(
                f"{each.cell.target}: {note}"
                for each in found
                for note in (each.count.notes if each.count else ())
            ),
        ),
    )


def _with_views(views: int) -> list[Column]:
    """The columns of quantities, with the MACs of all views behind those of one."""
    of_video = Column("video_macs", f"MACs of {views} views", compact, integer)
    return [*_QUANTITIES[:2], *[of_video] * (views > 1), *_QUANTITIES[2:]]


def _target(cell: Cell) -> dict[str, Any]:
    """The columns that name what was counted."""
    if cell.block is not None:
        return {"block": cell.block}
    if cell.network is None:
        return {"row": cell.target}
    return {"row": cell.target, "inputs": " + ".join(cell.inputs)}


def _quantities(cost: Cost, views: int) -> dict[str, Any]:
    share = cost.matmul / cost.macs if cost.macs else 0.0
    kinds = {each.name: getattr(cost, each.name) for each in fields(Cost)}
    of_video = {"video_macs": views * cost.macs} if views > 1 else {}
    return kinds | {"macs": cost.macs, **of_video, "attention_share": share}


def _figures(each: Counted, views: int) -> dict[str, Any]:
    # without a count there is nothing to compare a closed form with
    figures: dict[str, Any] = dict.fromkeys(("macs", "buffers", "closed_forms"))
    figures["classes"] = row_of(each.cell).classes if each.cell.row else None
    if count := each.count:
        figures |= _quantities(count.forward, views) | {"closed_forms": each.closed_forms}
        figures["buffers"] = count.buffers
        if backward := count.backward:
            figures |= {"backward_macs": backward.macs, "training_macs": count.total.macs}
            figures |= {f"backward_{kind}": getattr(backward, kind) for kind in PRODUCTS}
    return {
        **figures,
        **{name: answer.flops for name, answer in each.answers.items()},
        "status": each.status,
        "error": each.error or None,
    }


def modules_table(found: Counted, depth: int, views: int = 1) -> Table:
    """The modules of a row or network down to ``depth``, with the cost inside each."""
    cell = found.cell
    inputs = cell.inputs
    if cell.row is not None:
        inputs = tuple("x".join(map(str, clip)) for clip in row_of(cell).inputs)
    return Table(
        title=f"{cell.target}: {' + '.join(inputs)}",
        columns=(Column("module", "Module"), Column("kind", "Kind"), *_with_views(views)),
        lines=[
            {
                "module": each.module or cell.target,
                "kind": each.type,
                **_quantities(each.forward, views),
            }
            for each in (found.count.modules if found.count else ())
            if not each.module or each.module.count(".") < depth
        ],
        legend=(("Batch 1. " if cell.row else "At the inputs given. ") + _UNITS,),
    )
