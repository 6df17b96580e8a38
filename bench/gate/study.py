"""The gate judged by itself: the same code on both sides, and slow-downs of known size."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from vidcost.bench.engine.calls import Call, Engine, Lost, Unfit
from vidcost.bench.gate.campaign import Campaign, Progress
from vidcost.bench.gate.comparison import launches, new_run
from vidcost.bench.gate.record import Rule
from vidcost.bench.gate.trial import Trial, append, read
from vidcost.bench.gate.versions import Prepared, cache_folder, installed
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import machine_of
from vidcost.bench.timing.sweep import needs_of

FACTORS = (1.02, 1.03, 1.05, 1.10, 1.20)
"""Slow-downs that are injected."""

BLOCKS = ("nl", "cgnl", "pnl:n=2", "pnl:n=3", "pnl:n=4")
"""Not CGD: alone it takes 0.1 ms, and a file of its samples would be megabytes that say little."""

SHAPES = ((384, 2, 8, 8), (96, 4, 14, 14), (192, 8, 8, 8))
ROWS = ("mfnet", "mfnet-nl", "r50-ucf101", "r50-nl-ucf101", "r50-cgnl-ucf101")


def study_cells(device: str, threads: int) -> list[Cell]:
    """Blocks alone at small shapes and networks on small clips: milliseconds each on one core."""
    alone = [
        Cell(block=spec, shape=shape, device=device, threads=threads)
        for shape in SHAPES
        for spec in BLOCKS
    ]
    networks = [Cell(row=row, frames=8, size=32, device=device, threads=threads) for row in ROWS]
    return alone + networks


def planned(comparisons: int, per_factor: int, cells: int) -> Iterator[tuple[float, int]]:
    """Factors and numbers of the trials: first those of equal code, then rounds of slow-downs."""
    yield from ((1.0, number) for number in range(-(-comparisons // cells)))
    for number in range(-(-per_factor // cells)):
        yield from ((factor, number) for factor in FACTORS)


def missing(
    path: Path, cells: Sequence[Cell], *, comparisons: int, per_factor: int
) -> list[tuple[float, int]]:
    """Planned trials that ``path`` does not hold yet.

    Raises: ValueError if it holds trials of other cells.
    """
    trials = read(path)
    for trial in trials:
        if trial.run.cells != tuple(cells):
            raise ValueError(
                f"{path} holds a study of other cells: name another folder with --results"
            )
    known = {(trial.factor, trial.number) for trial in trials}
    return [each for each in planned(comparisons, per_factor, len(cells)) if each not in known]


def carry_out(
    prepared: tuple[Prepared, Prepared],
    path: Path,
    cells: Sequence[Cell],
    trials: Sequence[tuple[float, int]],
    *,
    visit_s: float,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> None:
    """Measure ``trials`` one after another and append each to ``path`` as soon as it is complete.

    In the others than of equal code every pass of head takes longer by the trial's factor.
    Raises: ValueError if the device is not there or the file cannot be written.
    """
    for factor, number in trials:
        trial = _measured(prepared, cells, factor, number, visit_s, on_progress)
        append(path, trial)
        on_trial(trial)


def carry_out_on(
    engine: Engine,
    prepared: tuple[Prepared, Prepared],
    path: Path,
    cells: Sequence[Cell],
    trials: Sequence[tuple[float, int]],
    *,
    visit_s: float,
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> list[str]:
    """Measure ``trials`` wherever ``engine`` has room, each with both sides on one machine.

    Each is appended to ``path`` as soon as it is there.
    Returns: a line on each trial that was lost wherever it was tried.
    Raises: ValueError if the file cannot be written.
    """
    side, _ = prepared
    common = (side.checkout.ref, side.checkout.commit, side.code, tuple(cells), visit_s)
    calls = (
        Call(
            f"trial {number} of x{factor:g}",
            _measured_there,
            (*common, factor, number),
            needs_of(cells[0].device),
        )
        for factor, number in trials
    )
    lost = []
    with contextlib.closing(engine.run(calls)) as outcomes:
        for outcome in outcomes:
            try:
                trial = _placed(outcome.get(), outcome.host, outcome.node)
            except Lost as error:
                lost.append(f"{outcome.name}: {error}")
                continue
            append(path, trial)
            on_trial(trial)
    return lost


def _measured(
    prepared: tuple[Prepared, Prepared],
    cells: Sequence[Cell],
    factor: float,
    number: int,
    visit_s: float,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Trial:
    run = new_run(prepared, cells, rule=Rule(), seed=_seed(factor, number), visit_s=visit_s)
    campaign = Campaign(
        run,
        launches(prepared),
        stages=("screen", "confirm"),
        on_progress=on_progress,
        slowdown=factor - 1,
    )
    load, _, _ = os.getloadavg()
    kind: Literal["A/A", "delay"] = "delay" if factor > 1 else "A/A"
    return Trial(kind=kind, factor=factor, number=number, load=load, run=campaign.finish())


def _measured_there(
    ref: str,
    commit: str,
    code: str,
    cells: Sequence[Cell],
    visit_s: float,
    factor: float,
    number: int,
) -> Trial:
    """A trial of what is installed on a node, whose models have to be those that are studied.

    Raises: Unfit if they are not, or the device is not there.
    """
    prepared = installed(ref, commit, cache=cache_folder())
    if prepared[0].code != code:
        raise Unfit(f"other models than the {ref}'s are installed there")
    try:
        machine_of(cells[0].device)
    except ValueError as error:
        raise Unfit(str(error)) from None
    return _measured(prepared, cells, factor, number, visit_s)


def _placed(trial: Trial, host: str, node: str) -> Trial:
    """With where it ran."""
    where = {"host": host, "node": node}
    sides = {}
    for name, side in (("base", trial.run.base), ("head", trial.run.head)):
        machine = side.machine and side.machine.model_copy(update=where)
        sides[name] = side.model_copy(update={"machine": machine})
    return trial.model_copy(update={"run": trial.run.model_copy(update=sides)})


def _seed(factor: float, number: int) -> int:
    """Another one for every trial, the same one whenever that trial is repeated."""
    return round(1000 * factor) * 1000 + number
