"""Measures two versions interleaved: memory, a screen of all cells, fresh pairs to confirm."""

import contextlib
import fnmatch
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from statistics import median
from typing import Any

from vidcost.bench.gate.judge import Plan, is_settled, logs_of, pairs_of, planned
from vidcost.bench.gate.record import SIDES, Run, Side, Stage, TestTiming, Version, Visit
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.machine import machine_of
from vidcost.bench.timing.messages import Chunk, Limits, Task
from vidcost.bench.timing.parent import COMMAND, WorkerProcess
from vidcost.bench.timing.record import Timing, now
from vidcost.bench.timing.telemetry import Watch, is_throttled

LONGEST_VISIT_S = 60.0
"""However slow a pass is, or however long a device stays throttled."""

WARM_UP_S = 5.0

PASSIVE_WAIT = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Otherwise the threads of a waiting worker keep spinning on the CPUs of the other one."""

TURN_S = 0.02
"""Of a turn on a GPU."""

TRIES = 2
"""How often a cell may fail on one side before it is given up."""

_ALIVE = frozenset(("ok", "oom", "unsupported", "throttled"))
"""Statuses after which a worker goes on."""


# what is compared


def in_both(
    base: Collection[str], head: Collection[str], patterns: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Targets of both versions that match one of ``patterns`` (none: all), and notes on the others.

    Raises: ValueError if a pattern matches none of either version.
    """
    every = dict.fromkeys([*head, *base])
    for pattern in patterns:
        if not fnmatch.filter(every, pattern):
            raise ValueError(
                f"no row {pattern!r} in either version: `vidcost list` shows those of this one"
            )
    chosen = [name for name in every if any(fnmatch.fnmatch(name, p) for p in patterns or ["*"])]
    both = [name for name in chosen if name in base and name in head]
    notes = [
        f"{name} is only in {'head' if name in head else 'base'}: nothing to compare it with"
        for name in chosen
        if name not in both
    ]
    return both, notes


def new_run(versions: tuple[Version, Version], cells: Sequence[Cell], **known: Any) -> Run:
    """A run in which nothing has been measured yet; ``known`` are further fields of it.

    Raises: ValueError if the cells' device is not there.
    """
    base, head = versions
    return Run(
        vidcost=version("vidcost"),
        started=now(),
        machine=machine_of(cells[0].device),
        base=base,
        head=head,
        cells=tuple(cells),
        **known,
    )


# one cell, two workers


@dataclass
class Turns:
    """The record of each side, the first side that failed, and the turns that are void on both.

    A side that is stopped because the other failed may have no sample, and is not to blame.
    """

    timings: dict[Side, Timing] = field(default_factory=dict)
    failed: Side | None = None
    void: set[int] = field(default_factory=set)

    def listen(self, workers: Mapping[Side, WorkerProcess], side: Side) -> None:
        """Take a worker's next message, which may be its record."""
        said = workers[side].listen()
        if not isinstance(said, Chunk):
            assert isinstance(said, Timing), "no energy is measured while interleaved"
            self.timings[side] = said
            if said.status != "ok":
                self.failed = self.failed or side

    def samples_ns(self, side: Side, turn_samples: int) -> tuple[int, ...]:
        """Nanoseconds of ``side`` in the turns that count; none if either side failed."""
        samples = () if self.failed else self.timings[side].samples_s.get("latency", ())
        return tuple(
            max(1, round(1e9 * seconds))
            for number, seconds in enumerate(samples)
            if number // turn_samples not in self.void
        )


def interleave(
    workers: Mapping[Side, WorkerProcess],
    tasks: Mapping[Side, Task],
    *,
    enough: Callable[[int, float], bool],
    is_void: Callable[[], bool],
    order: random.Random,
) -> Turns:
    """Have the workers warm up one after the other, in their order, then take turns at one cell.

    Only one of them computes at a time. In a round each has one turn, in random order. ``enough``
    is given the rounds that count and the seconds since the first; ``is_void`` says after a round
    whether it is to be left out. A worker that fails ends it for both.
    """
    turns = Turns()
    asked: list[Side] = []
    for side in workers:
        if not turns.timings:
            workers[side].give(tasks[side])
            asked.append(side)
            turns.listen(workers, side)
    started, rounds = time.monotonic(), 0
    # the state of the device during warm-up does not count
    is_void()
    while not turns.timings and not enough(rounds - len(turns.void), time.monotonic() - started):
        for side in order.sample(list(workers), len(workers)):
            if not turns.timings:
                workers[side].send("keep")
                turns.listen(workers, side)
        if is_void():
            turns.void.add(rounds)
        rounds += 1
    for side in asked:
        while side not in turns.timings:
            workers[side].send("stop")
            turns.listen(workers, side)
    return turns


# all cells, all pairs


@dataclass
class Campaign:
    """Carries a run, in which nothing has been measured, through ``stages``.

    ``variables`` are the environment of the workers of each side, and ``command`` starts one for
    some cells. ``save`` is given the run after every pair, so that nothing measured is lost.
    ``on_progress`` is given stage and target, the pair, and how many pairs there are.
    """

    run: Run
    variables: Mapping[Side, Mapping[str, str]]
    save: Callable[[Run], object] = lambda _: None
    on_progress: Callable[[str, int, int], None] = lambda words, pair, of: None
    stages: Sequence[Stage] = ("memory", "screen", "confirm")
    command: Callable[[Side, Sequence[Cell]], Sequence[str]] = lambda side, cells: COMMAND

    def __post_init__(self) -> None:
        assert not self.run.visits, "a run is measured from its beginning"
        self._modules: dict[Side, dict[str, tuple[str, str]]] = {}
        self._order = random.Random(self.run.seed)
        # the number of turns depends on the clock, and the other orders must not
        self._turn_order = random.Random(self.run.seed + 1)

    def finish(self) -> Run:
        """Measure everything; the complete run."""
        for stage in self.stages:
            pairs = 1 if stage == "memory" else self.run.rule.screen_pairs
            plans = dict.fromkeys(range(len(self.run.cells)), Plan(pairs, pairs))
            if stage == "confirm":
                targets = [cell.target for cell in self.run.cells]
                plans = planned(targets, pairs_of(self.run, "screen"), self.run.rule)
            self._stage(stage, plans)
        self._keep(complete=True)
        return self.run

    def _stage(self, stage: Stage, plans: Mapping[int, Plan]) -> None:
        """Measure until each cell has the pairs of its plan, or has failed too often."""
        firsts: list[Side] = []
        pair = 0
        while cells := self._left(stage, plans):
            if not firsts:
                # each side comes first equally often, in an unpredictable order
                firsts = self._order.sample([*SIDES, *SIDES], 4)
            self._order.shuffle(cells)
            of = max(plan.pairs for plan in plans.values())
            self._keep(*self._pair(stage, pair, firsts.pop(), cells, of))
            pair += 1

    def _left(self, stage: Stage, plans: Mapping[int, Plan]) -> list[int]:
        """Cells that need another pair."""
        pairs = pairs_of(self.run, stage)
        failed = Counter((v.cell, v.side) for v in self.run.visits if v.status != "ok")
        rules = [self.run.rule.of(cell.target) for cell in self.run.cells]
        return [
            cell
            for cell, plan in plans.items()
            if not is_settled(logs_of(pairs[cell]), plan, rules[cell])
            and not any(failed[cell, side] >= TRIES for side in SIDES)
        ]

    def _keep(self, *visits: Visit, complete: bool = False) -> None:
        kept = {"visits": (*self.run.visits, *visits), "complete": complete}
        versions = {
            side: getattr(self.run, side).model_copy(update={"modules": modules})
            for side, modules in self._modules.items()
        }
        self.run = self.run.model_copy(update=kept | versions)
        self.save(self.run)

    def _pair(
        self, stage: Stage, pair: int, first: Side, cells: Sequence[int], of: int
    ) -> Iterator[Visit]:
        """One process of each side, or more if one dies: the visits of ``cells``."""
        left = list(cells)
        while left:
            with contextlib.ExitStack() as stack:
                workers: dict[Side, WorkerProcess] = {}
                for side in sorted(SIDES, key=lambda side: side != first):
                    # the size of the environment shifts the layout of memory (Mytkowicz 2009)
                    padding = {"VIDCOST_PADDING": "x" * self._order.randrange(4096)}
                    worker = WorkerProcess(
                        self.command(side, [self.run.cells[cell] for cell in left]),
                        threads=self.run.cells[left[0]].threads,
                        environment={**self.variables[side], **PASSIVE_WAIT, **padding},
                    )
                    workers[side] = stack.enter_context(worker)
                alive = True
                while left and alive:
                    cell = left.pop(0)
                    self.on_progress(f"{stage}: {self.run.cells[cell].target}", pair, of)
                    visits, alive = self._measure(workers, stage, pair, cell)
                    yield from visits
                if alive:
                    for worker in workers.values():
                        worker.leave()

    def _measure(
        self, workers: Mapping[Side, WorkerProcess], stage: Stage, pair: int, cell: int
    ) -> tuple[list[Visit], bool]:
        """The visits of both workers, or of the one that failed, at ``cell``.

        The first of ``workers`` warms up first. Also whether both are still alive.
        """
        turn_samples = self._turn_samples(cell)
        limits = Limits(
            sampling_s=LONGEST_VISIT_S,
            warmup_s=WARM_UP_S,
            energy_s=0,
            memory=stage == "memory",
            turn_samples=turn_samples,
            seed=self.run.seed,
        )
        tasks = dict.fromkeys(workers, Task(cell=self.run.cells[cell], limits=limits))

        def enough(rounds: int, seconds: float) -> bool:
            if stage == "memory":
                return rounds > 0
            done = rounds >= self.run.visit_turns and seconds >= self.run.visit_s
            return done or seconds >= LONGEST_VISIT_S

        with Watch(self.run.machine.device_uuid) as watch:
            turns = interleave(
                workers,
                tasks,
                enough=enough,
                is_void=lambda: is_throttled(watch.take()),
                order=self._turn_order,
            )
        for side, timing in turns.timings.items():
            if isinstance(timing, TestTiming):
                self._modules.setdefault(side, {}).update(timing.modules)
        visits = []
        for side in [turns.failed] if turns.failed else turns.timings:
            timing, samples = turns.timings[side], turns.samples_ns(side, turn_samples)
            throttled = not turns.failed and not samples
            visits.append(
                Visit(
                    stage=stage,
                    pair=pair,
                    side=side,
                    second=side != next(iter(workers)),
                    cell=cell,
                    status="throttled" if throttled else timing.status,
                    error="no clean turn: the device was throttled" if throttled else timing.error,
                    samples_ns=samples,
                    turn_samples=turn_samples,
                    void_samples=len(turns.void) * turn_samples,
                    peak_bytes=timing.memory.peak if timing.memory else None,
                )
            )
        return visits, all(timing.status in _ALIVE for timing in turns.timings.values())

    def _turn_samples(self, cell: int) -> int:
        """One pass on a CPU, whose load changes by the millisecond; on a GPU enough passes to hide
        that it was idle before.
        """
        if self.run.cells[cell].device == "cpu":
            return 1
        known = (each.samples_ns for each in self.run.visits if each.cell == cell)
        pass_ns = next((median(samples) for samples in known if samples), TURN_S * 1e9)
        return math.ceil(TURN_S * 1e9 / pass_ns)
