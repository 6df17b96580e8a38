"""What a run holds on each cell: pairs of processes that took turns."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vidcost.bench.gate.record import Run, Side, Stage, Visit


@dataclass(frozen=True)
class Evidence:
    """The pairs of one cell at one stage.

    ``base`` and ``head`` are medians of their processes in seconds. ``log_ratios`` are by pair:
    the median over its turns of the logarithm of head over base, positive where head was slower.
    """

    base: tuple[float, ...] = ()
    head: tuple[float, ...] = ()
    log_ratios: tuple[float, ...] = ()


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
        log_ratios=tuple(_log_ratio(base, head) for base, head in good),
    )


def _log_ratio(base: Visit, head: Visit) -> float:
    """Turn by turn, since what slows a machine down lasts longer than a turn and hits both."""
    turns = zip(_turns(base), _turns(head), strict=False)
    return statistics.median(math.log(theirs / ours) for ours, theirs in turns)


def _turns(visit: Visit) -> list[float]:
    return [statistics.median(turn) for turn in _batched(visit.samples_ns, visit.turn_samples)]


def _batched(samples: Sequence[int], size: int) -> list[Sequence[int]]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]
