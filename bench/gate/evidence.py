"""What a run holds on each cell: medians of processes, in pairs."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from vidcost.bench.gate.record import Run, Side, Stage, Visit


@dataclass(frozen=True)
class Evidence:
    """Medians of the processes of one cell at one stage, in pairs; seconds."""

    base: tuple[float, ...] = ()
    head: tuple[float, ...] = ()

    @property
    def log_ratios(self) -> list[float]:
        """Of each pair: positive where head was slower."""
        return [math.log(head / base) for base, head in zip(self.base, self.head, strict=True)]


def evidence(run: Run, stage: Stage) -> list[Evidence]:
    """What was measured of each cell at ``stage``; pairs with a failure are left out."""
    visits: dict[int, dict[int, dict[Side, Visit]]] = defaultdict(lambda: defaultdict(dict))
    for visit in run.visits:
        if visit.stage == stage:
            visits[visit.cell][visit.pair][visit.side] = visit
    return [_paired(visits[cell]) for cell in range(len(run.cells))]


def _paired(pairs: Mapping[int, Mapping[Side, Visit]]) -> Evidence:
    good = [
        (pair["base"], pair["head"])
        for pair in pairs.values()
        if len(pair) == 2
        and all(visit.status == "ok" and visit.samples_ns for visit in pair.values())
    ]
    return Evidence(
        base=tuple(statistics.median(base.samples_ns) / 1e9 for base, _ in good),
        head=tuple(statistics.median(head.samples_ns) / 1e9 for _, head in good),
    )
