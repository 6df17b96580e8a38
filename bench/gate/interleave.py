"""Measures two versions interleaved: memory, a screen of all cells, fresh pairs to confirm."""

import contextlib
import fnmatch
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median
from typing import Any

from vidcost.bench.gate.judge import still_to_confirm, to_confirm
from vidcost.bench.gate.record import SIDES, Run, Side, Stage, Visit
from vidcost.bench.gate.versions import Prepared
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import machine_of
from vidcost.bench.timing.messages import Chunk, Limits, Task
from vidcost.bench.timing.parent import COMMAND, WorkerProcess
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.telemetry import Telemeter, is_throttled

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


def common_rows(
    base: Sequence[str], head: Sequence[str], patterns: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Rows of both versions that match one of ``patterns`` (all, if there are none), and notes on
    the others.

    Raises: ValueError if a pattern matches no row of either version, or nothing is left.
    """
    every = list(dict.fromkeys([*head, *base]))
    chosen = dict.fromkeys([] if patterns else every)
    for pattern in patterns:
        if not (matching := fnmatch.filter(every, pattern)):
            raise ValueError(
                f"no row {pattern!r} in either version: `vidcost list` shows those of this one"
            )
        chosen |= dict.fromkeys(matching)
    both = [name for name in every if name in chosen and name in base and name in head]
    notes = [
        f"{name} is only in {'head' if name in head else 'base'}: nothing to compare it with"
        for name in every
        if name in chosen and name not in both
    ]
    if not both:
        raise ValueError("; ".join(notes) or "neither version has a row")
    return both, notes


def new_run(prepared: tuple[Prepared, Prepared], cells: Sequence[Cell], **known: Any) -> Run:
    """A run in which nothing has been measured yet; ``known`` are further fields of it.

    Raises: ValueError if the cells' device is not there.
    """
    base, head = (side.version for side in prepared)
    return Run(
        vidcost=version("vidcost"),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine_of(cells[0].device),
        base=base,
        head=head,
        cells=tuple(cells),
        **known,
    )


def environments(prepared: tuple[Prepared, Prepared]) -> Mapping[Side, Mapping[str, str]]:
    """Environment variables of the workers of each side: its models under this harness."""
    base, head = (side.variables for side in prepared)
    return {"base": base, "head": head}


# one cell, two workers


@dataclass
class Turns:
    """The record of each side, the first side that failed, and the turns that are void on both.

    A side that is stopped because the other failed may have no sample, and is not to blame.
    """

    timings: dict[Side, Timing] = field(default_factory=dict)
    failed: Side | None = None
    void: set[int] = field(default_factory=set)

    def samples_ns(self, side: Side, turn_samples: int) -> tuple[int, ...]:
        """Nanoseconds of ``side`` in the turns that count; none if either side failed."""
        if self.failed:
            return ()
        samples = self.timings[side].samples_s.get("latency", ())
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
        workers[side].give(tasks[side])
        asked.append(side)
        _listen(workers, side, turns)
        if side in turns.timings:
            break
    started, rounds = time.monotonic(), 0
    # the state of the device during warm-up does not count
    is_void()
    while not turns.timings and not enough(rounds - len(turns.void), time.monotonic() - started):
        for side in order.sample(list(workers), len(workers)):
            workers[side].reply("keep")
            _listen(workers, side, turns)
            if turns.timings:
                break
        else:
            if is_void():
                turns.void.add(rounds)
            rounds += 1
    for side in asked:
        while side not in turns.timings:
            workers[side].reply("stop")
            _listen(workers, side, turns)
    return turns


def _listen(workers: Mapping[Side, WorkerProcess], side: Side, turns: Turns) -> None:
    said = workers[side].listen()
    if not isinstance(said, Chunk):
        assert isinstance(said, Timing), "no energy is measured while interleaved"
        turns.timings[side] = said
        if said.status != "ok":
            turns.failed = turns.failed or side


# all cells, all pairs


class Campaign:
    """Carries a run, in which nothing has been measured, through ``stages``.

    ``save`` is given the run after every pair, so that nothing measured is lost. ``on_progress`` is
    given stage and target, the pair, and how many pairs there are. Every pass of head is delayed by
    the fraction ``slowdown``.
    """

    def __init__(
        self,
        run: Run,
        environments: Mapping[Side, Mapping[str, str]],
        *,
        save: Callable[[Run], None] = lambda _: None,
        on_progress: Callable[[str, int, int], None] = lambda words, pair, of: None,
        slowdown: float = 0.0,
        stages: Sequence[Stage] = ("memory", "screen", "confirm"),
    ) -> None:
        assert not run.visits, "a run is measured from its beginning"
        self.run = run
        self._environments = environments
        self._save = save
        self._on_progress = on_progress
        self._slowdowns: Mapping[Side, float] = {"base": 0.0, "head": slowdown}
        self._stages = stages
        self._order = random.Random(run.seed)
        # the number of turns depends on the clock, and the other orders must not
        self._turn_order = random.Random(run.seed + 1)
        self._telemeter = Telemeter(run.machine.device_uuid)
        self._visits: list[Visit] = []
        self._failed: Counter[tuple[int, Side]] = Counter()

    def finish(self) -> Run:
        """Measure everything; the complete run."""
        with contextlib.closing(self._telemeter):
            for stage in self._stages:
                pairs = 1 if stage == "memory" else self.run.rule.screen_pairs
                every = dict.fromkeys(range(len(self.run.cells)), pairs)
                self._stage(stage, to_confirm(self.run) if stage == "confirm" else every)
        self._keep(complete=True)
        return self.run

    def _stage(self, stage: Stage, wanted: Mapping[int, int]) -> None:
        """Measure until each cell has its ``wanted`` pairs, or has failed too often."""
        done = dict.fromkeys(wanted, 0)
        firsts: list[Side] = []
        pair = 0
        while cells := self._left(stage, wanted, done):
            if not firsts:
                # each side comes first equally often, in an unpredictable order
                firsts = self._order.sample([*SIDES, *SIDES], 4)
            self._order.shuffle(cells)
            of = max(wanted.values())
            for cell, visits in self._pair(stage, pair, firsts.pop(), cells, of):
                self._visits += visits
                self._failed.update((cell, v.side) for v in visits if v.status != "ok")
                done[cell] += all(visit.status == "ok" for visit in visits)
            pair += 1
            self._keep()

    def _left(self, stage: Stage, wanted: Mapping[int, int], done: Mapping[int, int]) -> list[int]:
        """Cells that need another pair."""
        unsettled = still_to_confirm(self.run) if stage == "confirm" else wanted
        return [
            cell
            for cell in unsettled
            if done[cell] < wanted[cell]
            and not any(self._failed[cell, side] >= TRIES for side in SIDES)
        ]

    def _keep(self, *, complete: bool = False) -> None:
        self.run = self.run.model_copy(update={"visits": tuple(self._visits), "complete": complete})
        self._save(self.run)

    def _pair(
        self, stage: Stage, pair: int, first: Side, cells: Sequence[int], of: int
    ) -> Iterator[tuple[int, list[Visit]]]:
        """One process of each side, or more if one dies: the visits of each of ``cells``."""
        left = list(cells)
        while left:
            with contextlib.ExitStack() as stack:
                workers = {
                    side: stack.enter_context(self._start(side, left[0]))
                    for side in sorted(SIDES, key=lambda side: side != first)
                }
                alive = True
                while left and alive:
                    cell = left.pop(0)
                    self._on_progress(f"{stage}: {self.run.cells[cell].target}", pair, of)
                    visits, alive = self._measure(workers, stage, pair, cell)
                    yield cell, visits
                if alive:
                    for worker in workers.values():
                        worker.leave()

    def _start(self, side: Side, cell: int) -> WorkerProcess:
        # the size of the environment shifts the layout of memory (Mytkowicz et al. 2009)
        padding = {"VIDCOST_PADDING": "x" * self._order.randrange(4096)}
        return WorkerProcess(
            COMMAND,
            threads=self.run.cells[cell].threads,
            environment={**self._environments[side], **PASSIVE_WAIT, **padding},
        )

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
        tasks = {
            side: Task(cell=self.run.cells[cell], limits=limits, slowdown=self._slowdowns[side])
            for side in workers
        }

        def enough(rounds: int, seconds: float) -> bool:
            if stage == "memory":
                return rounds > 0
            done = rounds >= self.run.visit_turns and seconds >= self.run.visit_s
            return done or seconds >= LONGEST_VISIT_S

        with self._telemeter.watching() as watch:
            turns = interleave(
                workers,
                tasks,
                enough=enough,
                is_void=lambda: is_throttled(watch.take()),
                order=self._turn_order,
            )
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
                    slowdown=self._slowdowns[side],
                )
            )
        return visits, all(timing.status in _ALIVE for timing in turns.timings.values())

    def _turn_samples(self, cell: int) -> int:
        """One pass on a CPU, whose load changes by the millisecond; on a GPU enough passes to hide
        that it was idle before.
        """
        if self.run.cells[cell].device == "cpu":
            return 1
        known = [
            visit.samples_ns for visit in self._visits if visit.cell == cell and visit.samples_ns
        ]
        return math.ceil(TURN_S * 1e9 / median(known[0])) if known else 1
