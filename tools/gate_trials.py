"""Trials of the gate with a known answer: measured, by pytest-benchmark too, or simulated."""

import contextlib
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt
from scipy import stats

from vidcost.bench import files
from vidcost.bench.gate import interleave, side
from vidcost.bench.gate.judge import Pair, is_settled, judge_pairs, logs_of, pairs_of, planned
from vidcost.bench.gate.record import SIDES, Rule, Verdict
from vidcost.bench.gate.statistics import CONFIDENCE
from vidcost.bench.gate.versions import git, prepare
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine

SAME = 1.0
"""The factor of an A/A trial."""

FAIL_RULES = ("mean:10%", "min:5%", "median:5%")
"""Of --benchmark-compare-fail."""

BENCHMARKS = Path(__file__).with_name("gate_study_benchmarks.py")

PASSES = Path(__file__).with_name("gate_study_passes.py")
"""Tests that use time_gate."""

DELAYED = (sys.executable, str(Path(__file__).with_name("delayed.py")))


class Trial(BaseModel):
    """One run of the gate with equal code on both sides, reduced to its pairs.

    Every pass of head was delayed so that head is slower by ``factor``; 1 in an A/A trial.
    ``number`` counts the trials of a factor. ``screen`` and ``confirm`` are by cell. ``alarms``: by
    rule of pytest-benchmark, which cells it called slower on the same code, base then head.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: float = Field(ge=1, allow_inf_nan=False)
    number: NonNegativeInt
    started: str
    took_s: float
    vidcost: str
    commit: str
    machine: Machine
    rule: Rule
    visit_s: float
    cells: tuple[Cell, ...]
    screen: tuple[tuple[Pair, ...], ...]
    confirm: tuple[tuple[Pair, ...], ...]
    alarms: dict[str, tuple[int, ...]]

    def verdicts(self) -> list[Verdict]:
        """The gate's verdicts on latency."""
        targets = [cell.target for cell in self.cells]
        return judge_pairs(targets, self.screen, self.confirm, self.rule)


def measured(cells: Sequence[Cell], factor: float, number: int, *, visit_s: float) -> Trial:
    """Measure one trial: the working tree on both sides, every pass of head delayed by ``factor``.

    Raises: ValueError if there is no git repository or no such device, or pytest-benchmark fails.
    """
    begun = time.monotonic()
    # another seed for each trial, the same one if it is repeated
    seed = round(1000 * factor) * 1000 + number
    with tempfile.TemporaryDirectory() as folder:
        prepare_sides = _sides_of_tests if cells[0].test else _sides_of_rows
        prepared, variables, command = prepare_sides(Path(folder), factor - 1)
        versions = prepared[0].version, prepared[1].version
        run = interleave.Campaign(
            interleave.new_run(versions, cells, seed=seed, visit_s=visit_s),
            variables,
            stages=("screen", "confirm"),
            command=command,
        ).finish()
    screen, confirm = (tuple(map(tuple, pairs_of(run, stage))) for stage in ("screen", "confirm"))
    return Trial(
        factor=factor,
        number=number,
        started=run.started,
        took_s=round(time.monotonic() - begun, 1),
        vidcost=run.vidcost,
        commit=run.head.commit,
        machine=run.machine,
        rule=run.rule,
        visit_s=visit_s,
        cells=run.cells,
        screen=screen,
        confirm=confirm,
        # pytest-benchmark is compared on rows
        alarms={} if cells[0].test else pytest_benchmark(cells, factor - 1),
    )


def _sides_of_rows(folder: Path, slowdown: float) -> tuple[Any, Any, Any]:
    """The working tree twice, its variables, and the commands of both sides."""
    sides = dict(zip(SIDES, prepare(Path(), None, None, folder), strict=True))
    commands = {"base": sides["base"].command(()), "head": (*DELAYED, str(slowdown))}
    variables = {name: side.variables for name, side in sides.items()}
    return [*sides.values()], variables, lambda name, cells: commands[name]


def _sides_of_tests(folder: Path, slowdown: float) -> tuple[Any, Any, Any]:
    """The same of a repository that consists of the tests :data:`PASSES`."""
    repository, as_me = folder / "repository", ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    (repository / "tests").mkdir(parents=True)
    shutil.copy(PASSES, repository / "tests" / "test_passes.py")
    for words in (["init", "-q"], ["add", "-A"], [*as_me, "commit", "-q", "-m", "passes"]):
        git(repository, *words)
    with contextlib.chdir(repository):
        sides = dict(zip(SIDES, side.prepare("HEAD", ["tests"], folder), strict=True))
    known = {"GATE_STUDY_PRODUCTS": str(_products_of_a_millisecond()), "OMP_NUM_THREADS": "1"}
    delays = {"base": "0", "head": str(slowdown)}
    variables = {
        name: {**tree.variables, **known, "GATE_STUDY_SLOWDOWN": delays[name]}
        for name, tree in sides.items()
    }
    return [*sides.values()], variables, lambda name, cells: sides[name].command(cells)


@cache
def _products_of_a_millisecond() -> float:
    """How many products of :data:`PASSES` take a millisecond here, the same on both sides."""
    matrix, taken = torch.eye(128) / 2, []
    for _ in range(200):
        started = time.perf_counter()
        matrix @ matrix
        taken.append(time.perf_counter() - started)
    return 0.001 / statistics.median(taken)


def pytest_benchmark(cells: Sequence[Cell], slowdown: float) -> dict[str, tuple[int, ...]]:
    """By rule the cells that pytest-benchmark calls slower: base is run, then head, as users do.

    Raises: ValueError if it fails otherwise.
    """
    sides = (
        (0.0, ["--benchmark-autosave"]),
        (slowdown, ["--benchmark-compare", "--benchmark-compare-fail", *FAIL_RULES]),
    )
    with tempfile.TemporaryDirectory() as folder:
        for delay, told in sides:
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            command += ["-c", os.devnull, "--rootdir", folder, f"--benchmark-storage={folder}"]
            known = {
                "GATE_STUDY_CELLS": json.dumps([cell.model_dump(mode="json") for cell in cells]),
                "GATE_STUDY_SLOWDOWN": str(delay),
                "OMP_NUM_THREADS": str(cells[0].threads),
            }
            ran = subprocess.run(
                [*command, str(BENCHMARKS), *told],
                env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | known,
                capture_output=True,
                text=True,
                check=False,
            )
            said = ran.stdout + ran.stderr
            if ran.returncode and "Performance has regressed" not in said:
                raise ValueError(f"pytest-benchmark failed: {' '.join(said.split())[-300:]}")
    return alarms_in(said)


def alarms_in(said: str) -> dict[str, tuple[int, ...]]:
    """The cells that each rule names in the output of pytest-benchmark."""
    found: dict[str, list[int]] = {rule: [] for rule in FAIL_RULES}
    for cell, field in re.findall(r"test_pass\[(\d+)\] .*?- Field '(\w+)' has failed", said):
        for rule in FAIL_RULES:
            if rule.startswith(f"{field}:"):
                found[rule].append(int(cell))
    return {rule: tuple(sorted(cells)) for rule, cells in found.items()}


def read(path: Path) -> list[Trial]:
    """The trials of a study; none if there is no file.  Raises: ValueError if it is damaged."""
    if not path.exists():
        return []
    trials = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            trials.append(Trial.model_validate_json(line))
        except ValueError:
            raise ValueError(f"{path}, line {number} is damaged: remove it") from None
    return trials


def write(path: Path, trials: Iterable[Trial]) -> None:
    """Write the whole file or nothing.  Raises: ValueError if it cannot be written."""
    files.write(path, "".join(f"{trial.model_dump_json()}\n" for trial in trials))


# simulation


@dataclass(frozen=True)
class Noise:
    """What the log ratios of pairs of equal code are drawn from.

    ``pools`` are log ratios by row, each with a random sign as the order in a pair is random;
    without them they are normal, with ``deviation``. Of ``disturbed`` pairs one side takes 1.2
    times as long.
    """

    name: str
    deviation: float = 0.0
    disturbed: float = 0.0
    pools: tuple[tuple[float, ...], ...] = ()

    def draw(self, random: np.random.Generator, row: int, count: int) -> NDArray[np.float64]:
        """The log ratios of ``count`` pairs of a row."""
        sign = random.choice((-1.0, 1.0), count)
        if self.pools:
            return random.choice(self.pools[row % len(self.pools)], count) * sign
        off = math.log(1.2) * sign * (random.random(count) < self.disturbed)
        return random.normal(0, self.deviation, count) + off


def simulated(
    noise: Noise, factor: float, *, rows: int, runs: int, rule: Rule, seed: int = 0
) -> Iterator[list[Verdict]]:
    """The verdicts of ``runs`` runs of ``rows`` rows, in all of which head is slower."""
    random = np.random.default_rng([seed, round(1000 * factor), rows])

    # runs of one row go through all pools too
    def pairs(row: int, count: int) -> list[Pair]:
        logs = (noise.draw(random, row, count) + math.log(factor)).tolist()
        return [Pair(1.0, factor, log) for log in logs]

    targets = [f"row {row}" for row in range(rows)]
    for run in range(runs):
        screened = [pairs(run + row, rule.screen_pairs) for row in range(rows)]
        confirmed: list[list[Pair]] = [[]] * rows
        for row, plan in planned(targets, screened, rule).items():
            every = pairs(run + row, plan.pairs)
            count = min(plan)
            while not is_settled(logs_of(every[:count]), plan, rule):
                # the gate looks after every pair
                count += max(1, plan.pairs // 40)
            confirmed[row] = every[:count]
        yield judge_pairs(targets, screened, confirmed, rule)


# rates


@dataclass(frozen=True)
class Rate:
    """``hits`` in ``of``, with exact one-sided 95% bounds by Clopper and Pearson (1934)."""

    hits: int
    of: int

    @property
    def fraction(self) -> float | None:
        """The observed rate; None if nothing was tried."""
        return self.hits / self.of if self.of else None

    @property
    def bounds(self) -> tuple[float, float]:
        """At least, and at most."""
        if not self.of:
            return 0.0, 1.0
        found = stats.binomtest(self.hits, self.of).proportion_ci(
            2 * CONFIDENCE - 1, method="exact"
        )
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        return f"{self.hits:,} of {self.of:,}"


def alarms_of(verdicts: Mapping[int, Sequence[Verdict]]) -> tuple[Rate, Rate]:
    """How many verdicts call head slower, and how many of the runs have any that does."""
    slower = [[verdict.word == "REGRESSED" for verdict in run] for run in verdicts.values()]
    every = [each for run in slower for each in run]
    return Rate(sum(every), len(every)), Rate(sum(map(any, slower)), len(slower))
