"""Measures two versions in turns: memory, a screen of all cells, fresh pairs for the suspicious."""

from __future__ import annotations

import contextlib
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vidcost.bench.gate.judge import still_to_confirm, to_confirm
from vidcost.bench.gate.record import Run, Side, Stage, Visit
from vidcost.bench.timing.dialogue import attend
from vidcost.bench.timing.exchange import Exchange
from vidcost.bench.timing.messages import Chunk, Limits, Reply, Task, Window
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.telemetry import Telemeter
from vidcost.bench.timing.worker_process import WorkerProcess

SIDES: tuple[Side, Side] = ("base", "head")

LONGEST_VISIT_S = 60.0
"""However slow a pass, or however long a device stays throttled."""

WARM_UP_S = 5.0

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
    side: Side
    subject: str


class Campaign:
    """Carries a run through ``stages``.

    ``save`` is told the run after every pair, so that nothing measured is lost. ``delays_s`` are
    injected into head's passes, by cell. ``run`` is one in which nothing has been measured.
    """

    def __init__(
        self,
        run: Run,
        launches: Mapping[Side, Launch],
        *,
        save: Callable[[Run], None] = lambda _: None,
        on_progress: Callable[[Progress], None] = lambda _: None,
        delays_s: Mapping[int, float] | None = None,
        stages: Sequence[Stage] = ("memory", "screen", "confirm"),
    ) -> None:
        assert not run.visits, "a run is measured from its beginning"
        self.run = run
        self._launches = launches
        self._save = save
        self._on_progress = on_progress
        self._delays_s = delays_s or {}
        self._stages = stages
        self._order = random.Random(run.seed)
        self._telemeter = Telemeter(run.base.machine.device_uuid if run.base.machine else "")
        self._visits: list[Visit] = []
        self._failed: dict[tuple[int, Side], int] = {}

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
            first = firsts.pop()
            self._order.shuffle(cells)
            of = max(wanted.values())
            good = set(cells)
            for side in (first, _other(first)):
                for visit in self._process(stage, pair, side, side != first, cells, of):
                    self._visits.append(visit)
                    if visit.status != "ok":
                        good.discard(visit.cell)
                        key = visit.cell, side
                        self._failed[key] = self._failed.get(key, 0) + 1
            for cell in good:
                done[cell] += 1
            pair += 1
            self._keep()

    def _left(self, stage: Stage, wanted: Mapping[int, int], done: Mapping[int, int]) -> list[int]:
        """Cells that need another pair."""
        if stage == "confirm":
            wanted = still_to_confirm(self.run)
        return [
            cell for cell, pairs in wanted.items() if done[cell] < pairs and not self._lost(cell)
        ]

    def _keep(self, *, complete: bool = False) -> None:
        self.run = self.run.model_copy(update={"visits": tuple(self._visits), "complete": complete})
        self._save(self.run)

    def _lost(self, cell: int) -> bool:
        return any(self._failed.get((cell, side), 0) >= TRIES for side in SIDES)

    def _process(
        self, stage: Stage, pair: int, side: Side, second: bool, cells: Sequence[int], of: int
    ) -> list[Visit]:
        """One process of one side, or several if one dies: each of ``cells`` once."""
        visits: list[Visit] = []
        left = list(cells)
        while left:
            with self._start(side, left[0]) as worker:
                while left:
                    cell = left.pop(0)
                    subject = self.run.cells[cell].subject
                    self._on_progress(Progress(stage, pair, of, side, subject))
                    delay_s = self._delays_s.get(cell, 0.0) if side == "head" else 0.0
                    timing = self._ask(worker, stage, cell, delay_s)
                    visits.append(
                        _visit(
                            timing,
                            stage=stage,
                            pair=pair,
                            side=side,
                            second=second,
                            cell=cell,
                            delay_s=delay_s,
                        )
                    )
                    if timing.machine is not None:
                        self._check(side, timing.machine)
                    if timing.status not in _ALIVE:
                        break
                else:
                    worker.leave()
        return visits

    def _start(self, side: Side, cell: int) -> WorkerProcess:
        launch = self._launches[side]
        # what lies where in memory depends on the size of the environment (Mytkowicz et al. 2009)
        padding = {"VIDCOST_PADDING": "x" * self._order.randrange(4096)}
        return WorkerProcess(
            launch.command,
            threads=self.run.cells[cell].threads,
            environment={**launch.environment, **padding},
        )

    def _ask(self, worker: WorkerProcess, stage: Stage, cell: int, delay_s: float) -> Timing:
        memory = stage == "memory"
        limits = Limits(
            sampling_s=LONGEST_VISIT_S,
            # sampling ends when the parent says so
            min_samples=1_000_000_000,
            warmup_s=WARM_UP_S,
            chunk_s=self.run.visit_s,
            energy_s=0,
            memory=memory,
            seed=self.run.seed,
        )
        with self._telemeter.watching() as watch:
            exchange = Exchange(watch)

            def reply(message: Chunk | Window) -> Reply:
                given = exchange.reply(message)
                if given == "keep" and isinstance(message, Chunk):
                    enough = (
                        message.samples >= self.run.visit_samples
                        and message.sampling_s >= self.run.visit_s
                    )
                    return "stop" if memory or enough else "keep"
                return given

            task = Task(cell=self.run.cells[cell], limits=limits, delay_s=delay_s)
            timing = attend(worker, task, reply)
        return timing.model_copy(update={"telemetry": exchange.telemetry})

    def _check(self, side: Side, machine: Machine) -> None:
        """Note on what a side ran.

        Raises: ValueError if the other ran on something else.
        """
        version = getattr(self.run, side)
        if version.machine != machine:
            self.run = self.run.model_copy(
                update={side: version.model_copy(update={"machine": machine})}
            )
        base, head = self.run.base.machine, self.run.head.machine
        if base is None or head is None:
            return
        for field in ("device", "device_uuid", "driver", "cpu", "cores", "memory_bytes"):
            was, is_ = getattr(base, field), getattr(head, field)
            if was != is_:
                raise ValueError(
                    f"the versions ran on unlike machines: {field} was {was!r} for base, "
                    f"{is_!r} for head"
                )


def _other(side: Side) -> Side:
    return "head" if side == "base" else "base"


def _visit(
    timing: Timing,
    *,
    stage: Stage,
    pair: int,
    side: Side,
    second: bool,
    cell: int,
    delay_s: float,
) -> Visit:
    protocol, memory = timing.protocol, timing.memory
    samples = () if stage == "memory" else timing.samples_s.get("latency", ())
    clocks = [r.sm_clock_mhz for r in timing.telemetry if r.sm_clock_mhz is not None]
    return Visit(
        stage=stage,
        pair=pair,
        side=side,
        second=second,
        cell=cell,
        status=timing.status,
        error=timing.error,
        samples_ns=tuple(max(1, round(1e9 * seconds)) for seconds in samples),
        void_samples=protocol.void_samples if protocol else 0,
        settled=protocol.settled if protocol else True,
        peak_bytes=memory.peak if memory else None,
        sm_clock_mhz=round(statistics.median(clocks)) if clocks else None,
        delay_s=delay_s,
    )
