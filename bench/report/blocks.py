"""Both implementations of blocks side by side: the table, and results/blocks.md."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from vidcost.bench.report.table import Column, Table, billions, integer
from vidcost.bench.report.timing import (
    STATUS,
    conditions_in_words,
    failures,
    intervals_of,
    machine_in_words,
    megabytes,
    milliseconds,
    present,
    ratio_in_words,
)
from vidcost.bench.timing.axes import AXES
from vidcost.bench.timing.figures import pair_figures
from vidcost.bench.timing.record import Timing

COLUMNS = (
    Column("reference_s", "Reference, ms", milliseconds),
    Column("target_s", "Optimized, ms", milliseconds),
    Column("shown_ratio", "Ratio"),
    Column("shown_pairs", "Pairs"),
    Column("reference_peak_bytes", "Peak reference, MB", megabytes),
    Column("peak_bytes", "optimized", megabytes),
    Column("reference_macs_total", "MACs reference", billions),
    Column("macs_total", "optimized", billions),
    STATUS,
)


def is_pair_of_implementations(timing: Timing) -> bool:
    """Whether it is an optimized block that was timed interleaved with the reference."""
    other = timing.cell.against
    return timing.cell.block is not None and other is not None and other.block is not None


def impl_table(timings: Iterable[Timing]) -> Table:
    """Latency, memory and MACs of both implementations, block by block.

    Raises: ValueError if the records are of more than one kind of machine.
    """
    chosen = sorted(
        filter(is_pair_of_implementations, timings),
        key=lambda each: (each.cell.phase, math.prod((each.cell.shape or ())[1:])),
    )
    lines = list(map(_line, chosen))
    phase = (Column("phase", "Phase"),) if len({line["phase"] for line in lines}) > 1 else ()
    shape = (Column("shape", "Input"), Column("positions", "N", integer))
    return Table(
        title="Implementations of blocks",
        columns=(Column("block", "Block"), *shape, *phase, *present(lines, COLUMNS)),
        lines=lines,
        footnotes=failures(lines),
        legend=(
            f"Both implementations interleaved; {conditions_in_words(chosen)}. Ratio: the time of "
            "the optimized one over the reference's, below 1 if it is faster; the median over "
            f"pairs with its 95% confidence interval, {intervals_of(chosen)}. ~: the warm-up had "
            "not settled. "
            "Peak: most that was allocated at once above the weights, input included. MACs of all "
            "that was timed.",
            machine_in_words(chosen),
        ),
    )


def _line(timing: Timing) -> dict[str, Any]:
    cell, figures = timing.cell, pair_figures(timing)
    assert cell.against is not None, cell
    assert cell.shape is not None, cell
    settled = timing.protocol is None or timing.protocol.settled
    return {
        **figures,
        "block": cell.against.block,
        "shape": "x".join(map(str, cell.shape)),
        "positions": math.prod(cell.shape[1:]),
        "phase": cell.phase,
        "shown_ratio": ratio_in_words(figures, "ratio"),
        "shown_pairs": figures["n"] and f"{figures['n']:,}{'' if settled else ' ~'}",
    }


INTRODUCTION = """\
# Two implementations of each block

[docs/implementations.md](../docs/implementations.md) says what each block optimizes.

The records below are of an earlier optimized implementation, which on a CPU also replaced 1x1x1
convolutions by matrix products and max-pooling by maxima of rows and columns, and materialized
small matrices. `vidcost time --blocks all --impl reference,optimized` measures again.
"""


def blocks_markdown(timings: Sequence[Timing]) -> str:
    """The document: a table for each device and conditions."""
    parts = [INTRODUCTION]
    alike: dict[tuple[str, str], list[Timing]] = {}
    for timing in filter(is_pair_of_implementations, timings):
        device = timing.machine.device if timing.machine else ""
        conditions = timing.cell.model_dump_json(include=set(AXES) - {"phase"})
        alike.setdefault((device, conditions), []).append(timing)
    for (device, _), taken in alike.items():
        parts += [f"## {device}, {conditions_in_words(taken)}\n", impl_table(taken).markdown()]
    return "\n".join(parts)
