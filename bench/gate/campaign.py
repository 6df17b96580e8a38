"""Measures two versions in turns: memory, a screen of all cells, fresh pairs for the suspicious."""

from __future__ import annotations

import contextlib
import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vidcost.bench.gate.duet import Turns, play
from vidcost.bench.gate.judge import still_to_confirm, to_confirm
from vidcost.bench.gate.record import Run, Side, Stage, Visit
from vidcost.bench.timing.messages import Limits, Task
from vidcost.bench.timing.parent import WorkerProcess
from vidcost.bench.timing.record import Machine, Telemetry
from vidcost.bench.timing.telemetry import Telemeter, is_throttled

SIDES: tuple[Side, Side] = ("base", "head")

LONGEST_VISIT_S = 60.0
"""However slow a pass, or however long a device stays throttled."""

WARM_UP_S = 5.0

WHILE_IT_WAITS = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads of a worker whose turn it is not would else go on looking for work, on the same CPUs."""

TURN_S = 0.02
"""Of a turn on a GPU."""

TRIES = 2
"""How often a cell may fail on one side, before it is given up."""

_ALIVE = frozenset(("ok", "oom", "unsupported", "throttled"))
"""Statuses that a worker reports itself, and goes on after."""


@dataclass(frozen=True)
class Launch:
    """How a side's worker is started."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Progress:
    """How far a campaign is: pairs done of those planned, at a stage."""

    stage: Stage
    pair: int
    of: int
    subject: str


class Campaign:
    """Carries a run through ``stages``.

    ``save`` is told the run after every pair, so that nothing measured is lost. Every pass
    of head is made to take longer by the share ``slowdown``. ``run`` is one in which nothing has
    been measured.
    """

    def __init__(
        self,
        run: Run,
        launches: Mapping[Side, Launch],
        *,
        save: Callable[[Run], None] = lambda _: None,
        on_progress: Callable[[Progress], None] = lambda _: None,
        slowdown: float = 0.0,
        stages: Sequence[Stage] = ("memory", "screen", "confirm"),
    ) -> None:
        assert not run.visits, "a run is measured from its beginning"
        self.run = run
        self._launches = launches
        self._save = save
        self._on_progress = on_progress
        self._slowdowns: Mapping[Side, float] = {"base": 0.0, "head": slowdown}
        self._stages = stages
        self._order = random.Random(run.seed)
        # how many turns there are depends on the time, and the other orders must not
        self._turn_order = random.Random(run.seed + 1)
        self._telemeter = Telemeter(run.base.machine.device_uuid if run.base.machine else "")
        self._visits: list[Visit] = []
        self._failed: dict[tuple[int, Side], int] = {}
        self._seen: dict[Side, Machine] = {}

    def finish(self) -> Run:
        """Measure all that is to be measured; the run, complete."""
        with contextlib.closing(self._telemeter):
            for stage in self._stages:
                self._stage(stage, self._wanted(stage))
        self._keep(complete=True)
        return self.run

    def _wanted(self, stage: Stage) -> dict[int, int]:
        """Pairs of each cell."""
        if stage == "confirm":
            return to_confirm(self.run)
        pairs = 1 if stage == "memory" else self.run.rule.screen_pairs
        return dict.fromkeys(range(len(self.run.cells)), pairs)

    def _stage(self, stage: Stage, wanted: Mapping[int, int]) -> None:
        """Measure pairs until each cell has those that it ``wanted``, or has failed too often."""
        done = dict.fromkeys(wanted, 0)
        firsts: list[Side] = []
        pair = 0
        while cells := self._left(stage, wanted, done):
            if not firsts:
                # each comes first equally often, in an order that nobody can be in step with
                firsts = self._order.sample([*SIDES, *SIDES], 4)
            self._order.shuffle(cells)
            of = max(wanted.values())
            for cell, visits in self._pair(stage, pair, firsts.pop(), cells, of):
                self._visits += visits
                for visit in visits:
                    if visit.status != "ok":
                        key = visit.cell, visit.side
                        self._failed[key] = self._failed.get(key, 0) + 1
                done[cell] += all(visit.status == "ok" for visit in visits)
            pair += 1
            self._keep()

    def _left(self, stage: Stage, wanted: Mapping[int, int], done: Mapping[int, int]) -> list[int]:
        """Cells that need another pair."""
        if stage == "confirm":
            wanted = still_to_confirm(self.run, wanted)
        return [
            cell for cell, pairs in wanted.items() if done[cell] < pairs and not self._lost(cell)
        ]

    def _keep(self, *, complete: bool = False) -> None:
        self.run = self.run.model_copy(update={"visits": tuple(self._visits), "complete": complete})
        self._save(self.run)

    def _lost(self, cell: int) -> bool:
        return any(self._failed.get((cell, side), 0) >= TRIES for side in SIDES)

    def _pair(
        self, stage: Stage, pair: int, first: Side, cells: Sequence[int], of: int
    ) -> Iterator[tuple[int, list[Visit]]]:
        """One process of each side, or more if one dies: the visits of each of ``cells``."""
        left = list(cells)
        while left:
            with contextlib.ExitStack() as stack:
                workers = {
                    side: stack.enter_context(self._start(side, left[0]))
                    for side in (first, _other(first))
                }
                alive = True
                while left and alive:
                    cell = left.pop(0)
                    self._on_progress(Progress(stage, pair, of, self.run.cells[cell].subject))
                    visits = self._take_turns(workers, stage, pair, cell)
                    alive = all(visit.status in _ALIVE for visit in visits)
                    yield cell, visits
                if alive:
                    for worker in workers.values():
                        worker.leave()

    def _start(self, side: Side, cell: int) -> WorkerProcess:
        launch = self._launches[side]
        # what lies where in memory depends on the size of the environment (Mytkowicz et al. 2009)
        padding = {"VIDCOST_PADDING": "x" * self._order.randrange(4096)}
        return WorkerProcess(
            launch.command,
            threads=self.run.cells[cell].threads,
            environment={**launch.environment, **WHILE_IT_WAITS, **padding},
        )

    def _take_turns(
        self, workers: Mapping[Side, WorkerProcess], stage: Stage, pair: int, cell: int
    ) -> list[Visit]:
        """The visits of ``cell`` by both workers, the first of which warms up first."""
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
            readings: list[Telemetry] = []

            def last() -> Literal["keep", "void"]:
                new = watch.take()
                readings.extend(new)
                return "void" if is_throttled(new) else "keep"

            turns = play(workers, tasks, enough=enough, last=last, order=self._turn_order)
        clocks = [each.sm_clock_mhz for each in readings if each.sm_clock_mhz is not None]
        common = Visit(
            stage=stage,
            pair=pair,
            side=next(iter(workers)),
            second=False,
            cell=cell,
            turn_samples=turn_samples,
            void_samples=len(turns.void) * turn_samples,
            sm_clock_mhz=round(statistics.median(clocks)) if clocks else None,
        )
        return [self._visit(common, turns, side) for side in turns.timings]

    def _turn_samples(self, cell: int) -> int:
        """Single passes on a CPU, whose company changes by the millisecond; on a GPU as many as
        hide that it was idle before.
        """
        if self.run.cells[cell].device == "cpu":
            return 1
        known = [
            visit.samples_ns for visit in self._visits if visit.cell == cell and visit.samples_ns
        ]
        return math.ceil(TURN_S * 1e9 / statistics.median(known[0])) if known else 1

    def _visit(self, common: Visit, turns: Turns, side: Side) -> Visit:
        """``common`` with what ``side`` has of its own."""
        timing = turns.timings[side]
        if timing.machine is not None:
            self._check(side, timing.machine)
        samples = turns.samples_ns(side, common.turn_samples)
        throttled = timing.status == "ok" and bool(turns.void) and not samples
        return common.model_copy(
            update={
                "side": side,
                "second": side != common.side,
                "status": "throttled" if throttled else timing.status,
                "error": "no clean turn: the device was throttled" if throttled else timing.error,
                "samples_ns": samples,
                "settled": timing.protocol.settled if timing.protocol else True,
                "peak_bytes": timing.memory.peak if timing.memory else None,
                "slowdown": self._slowdowns[side],
            }
        )

    def _check(self, side: Side, machine: Machine) -> None:
        """Note on what a side ran.

        Raises: ValueError if the other ran on something else.
        """
        version = getattr(self.run, side)
        if version.machine != machine:
            self.run = self.run.model_copy(
                update={side: version.model_copy(update={"machine": machine})}
            )
        self._seen[side] = machine
        if len(self._seen) < len(SIDES):
            return
        base, head = self._seen["base"], self._seen["head"]
        for field in ("device", "device_uuid", "driver", "cpu", "cores", "memory_bytes"):
            was, is_ = getattr(base, field), getattr(head, field)
            if was != is_:
                raise ValueError(
                    f"the versions ran on unlike machines: {field} was {was!r} for base, "
                    f"{is_!r} for head"
                )


def _other(side: Side) -> Side:
    return "head" if side == "base" else "base"
