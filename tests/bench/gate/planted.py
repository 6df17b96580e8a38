"""Runs whose samples were planted, so that the right verdict is known beforehand."""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidcost.bench.gate.judge import Plan, is_settled, logs_of, pairs_of, planned
from vidcost.bench.gate.record import SIDES, Rule, Run, Side, Stage, Version, Visit
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine

PASS_NS = 100_000_000
NAMES = dict.fromkeys("device cpu platform python torch vidcost".split(), "Abacus 9")
MACHINE = Machine(**NAMES, cores=3, memory_bytes=5 * 2**30)
MIB = 1 << 20


def planted(
    *,
    cells: int = 1,
    noise: float = 0.01,
    slower: float | Mapping[int, float] = 1.0,
    disturbed: Callable[[Visit], float] = lambda place: 1.0,
    samples: int = 1,
    peaks: tuple[int | None, int | None] = (31 * MIB, 31 * MIB),
    rule: Rule | None = None,
    seed: int = 0,
) -> Run:
    """A complete run: all pairs of the screen, and those that it asks for to confirm.

    Each process is off by ``noise``, a standard deviation of the logarithm; head takes ``slower``
    times as long, in all cells or in those given. ``disturbed`` is a factor of its own for every
    sample. ``peaks`` are the bytes of base and head.
    """
    generator = np.random.default_rng(seed)
    factors = slower if isinstance(slower, Mapping) else dict.fromkeys(range(cells), slower)

    def measured(place: Visit) -> Visit:
        factor = factors.get(place.cell, 1.0) if place.side == "head" else 1.0
        mean_ns = PASS_NS * factor * math.exp(noise * generator.standard_normal())
        taken = tuple(round(mean_ns * disturbed(place)) for _ in range(samples))
        return place.model_copy(update={"samples_ns": taken})

    def pairs(stage: Stage, cell: int, count: int) -> list[Visit]:
        return [
            measured(Visit(stage=stage, pair=pair, side=side, second=bool(second), cell=cell))
            for pair in range(count)
            for second, side in enumerate(SIDES if pair % 2 else SIDES[::-1])
        ]

    rule = rule or Rule()
    memory = [
        Visit(stage="memory", pair=0, side=side, second=False, cell=cell, peak_bytes=peak)
        for cell in range(cells)
        for side, peak in zip(SIDES, peaks, strict=True)
    ]
    screen = [v for cell in range(cells) for v in pairs("screen", cell, rule.screen_pairs)]
    named = [Cell(row=f"row-{cell}") for cell in range(cells)]
    run = run_of(named, rule=rule, complete=True, visits=(*memory, *screen))
    confirm = [v for cell, count in to_confirm(run).items() for v in pairs("confirm", cell, count)]
    return run.model_copy(update={"visits": (*run.visits, *confirm)})


def run_of(cells: Sequence[Cell], **known: Any) -> Run:
    """A run of ``cells``, with further fields of it."""
    return Run(
        vidcost="0",
        started="2026-01-01T00:00:00+00:00",
        machine=MACHINE,
        base=Version(ref="main", commit="a" * 40, code="b" * 64),
        head=Version(ref="HEAD", commit="c" * 40, code="d" * 64),
        cells=tuple(cells),
        **known,
    )


def to_confirm(run: Run) -> dict[int, int]:
    """How many pairs are to confirm each cell that the screen does not clear."""
    return {cell: plan.pairs for cell, plan in plans_of(run).items()}


def plans_of(run: Run) -> dict[int, Plan]:
    """The plans to confirm the cells that the screen does not clear."""
    return planned([cell.target for cell in run.cells], pairs_of(run, "screen"), run.rule)


def is_confirmed(run: Run) -> bool:
    """Whether the only cell needs no further pair."""
    (plan,) = plans_of(run).values()
    return is_settled(logs_of(pairs_of(run, "confirm")[0]), plan, run.rule)


def without(run: Run, where: Callable[[Visit], bool]) -> Run:
    """``run`` less some visits."""
    return run.model_copy(update={"visits": tuple(v for v in run.visits if not where(v))})


FAKE = (sys.executable, str(Path(__file__).with_name("fake_side.py")))
"""The command of a fake worker."""


def variables(base: object, head: object, log: Path) -> dict[Side, dict[str, str]]:
    """The environments of fake workers of both sides, by their plans."""
    return {
        side: {"PLAN": json.dumps(plan), "SIDE": side, "LOG": str(log)}
        for side, plan in zip(SIDES, (base, head), strict=True)
    }
