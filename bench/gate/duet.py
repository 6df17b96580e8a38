"""Two workers that measure one cell in turns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from vidcost.bench.gate.record import Side
from vidcost.bench.timing.messages import Chunk, Task
from vidcost.bench.timing.parent import WorkerProcess
from vidcost.bench.timing.record import Timing

Word = Literal["keep", "void"]


@dataclass
class Turns:
    """What came of it: a record of each side, and which turns were void on both."""

    timings: dict[Side, Timing] = field(default_factory=dict)
    void: set[int] = field(default_factory=set)

    def samples_ns(self, side: Side, turn_samples: int) -> tuple[int, ...]:
        """Nanoseconds of ``side``'s passes in the turns that count; none if the other has none."""
        if any(timing.status != "ok" for timing in self.timings.values()):
            return ()
        samples = self.timings[side].samples_s.get("latency", ())
        return tuple(
            max(1, round(1e9 * seconds))
            for number, seconds in enumerate(samples)
            if number // turn_samples not in self.void
        )


def play(
    workers: Mapping[Side, WorkerProcess],
    tasks: Mapping[Side, Task],
    *,
    enough: Callable[[int, float], bool],
    last: Callable[[], Word],
    order: random.Random,
) -> Turns:
    """Have both workers warm up, one after the other as ``workers`` lists them, then take turns.

    One of them computes at a time. In a round each has one turn, in random order. ``enough`` is
    asked with the rounds that count and the seconds since the first; ``last`` says of a round that
    is over whether it counts. A worker that ends without samples ends the duet.
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
    # what the device did while they warmed up does not count
    last()
    while not turns.timings and not enough(rounds - len(turns.void), time.monotonic() - started):
        for side in order.sample(list(workers), len(workers)):
            workers[side].reply("keep")
            _listen(workers, side, turns)
            if turns.timings:
                break
        else:
            if last() == "void":
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
        assert isinstance(said, Timing), "no energy is measured in turns"
        turns.timings[side] = said
