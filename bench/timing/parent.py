"""The parent's side of a measurement: starts workers, answers them, and completes their records.

Each cell has a worker process of its own. While it measures, the parent samples the device's
telemetry and decides which samples count. However a worker ends, its cell has a record.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from statistics import fmean
from typing import Any

from vidcost.bench.process import ChildProcess, TimedOut
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.machine import conditions, locked, machine_of, names_of
from vidcost.bench.timing.messages import STARTED, Chunk, Limits, Reply, Task, Window
from vidcost.bench.timing.record import Telemetry, Timing, now
from vidcost.bench.timing.sampling import precision_of
from vidcost.bench.timing.telemetry import Watch, is_throttled

# -P keeps files of the current folder from standing in for the worker's modules
COMMAND = (sys.executable, "-P", "-m", "vidcost.bench.timing.worker")

ENERGY_WINDOW_S = 5.0
"""NVML's energy counter moves in steps of up to 100 ms: a shorter window is too coarse."""

KEPT_EVERY_S = 1.0
"""A reading is kept this often, and whenever the throttle reasons change, to keep records short."""


class WorkerProcess(ChildProcess):
    """A worker: given tasks, each of which ends with a record or with the worker."""

    def __init__(
        self, command: Sequence[str], *, threads: int, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(command, {"OMP_NUM_THREADS": str(threads), **(environment or {})})

    def give(self, task: Task) -> None:
        """Hand it its next task, whose limits begin now."""
        self._task = task
        is_code = any(cell.code for cell in (task.cell, *task.also))
        self._limit_s = task.limits.start_up_s if is_code else task.limits.total_s
        self._deadline = time.monotonic() + self._limit_s
        self.send(task)

    def listen(self) -> Chunk | Window | Timing:
        """The worker's next message, to be replied to, or the record, which ends the task.

        If a worker ended or was silent for too long, the record says so by its status.
        """
        try:
            message = self.receive(self._deadline)
            if message == STARTED:
                self._limit_s = self._task.limits.total_s
                self._deadline = time.monotonic() + self._limit_s
                message = self.receive(self._deadline)
            assert isinstance(message, Chunk | Window | Timing), message
            return message
        except TimedOut:
            known = {"status": "timed out", "error": f"no record within {self._limit_s:g} s"}
        except EOFError:
            how, error = self.end()
            known = {"status": "killed" if how == "killed" else "crashed", "error": error}
            # without memory the worker cannot report the lack itself
            last = error.partition(": ")[2]
            if last.startswith(("MemoryError", "torch.OutOfMemoryError")):
                known = {"status": "oom", "error": last}
        self.kill()
        return Timing(key="", cell=self._task.cell).model_copy(update=known)


class Exchange:
    """Decides on the replies to one worker.

    ``telemetry`` are the readings kept since the worker began to sample. ``energy_j`` is the energy
    of one pass once the window is over; None without a counter, for a window under
    :data:`ENERGY_WINDOW_S`, or if the device was throttled in it.
    """

    def __init__(self, readings: Watch, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.telemetry: list[Telemetry] = []
        self.energy_j: float | None = None
        self._readings = readings
        self._clock = clock
        self._began: float | None = None
        self._window: tuple[float, float | None] = (0.0, None)

    def reply(self, message: Chunk | Window) -> Reply:
        """The reply to ``message``."""
        if isinstance(message, Window):
            self._energy(message)
            return "keep"
        if self._began is None and message.samples:
            self._began = self._clock() - message.sampling_s
        return "void" if is_throttled(self._new()) else "keep"

    def _new(self) -> list[Telemetry]:
        """Readings since the last message, without those of the warm-up."""
        taken = self._readings.take()
        if (began := self._began) is None:
            return []
        new = [
            reading.model_copy(update={"at_s": reading.at_s - began})
            for reading in taken
            if reading.at_s >= began
        ]
        for reading in new:
            last = self.telemetry[-1] if self.telemetry else None
            if (
                last is None
                or reading.at_s - last.at_s >= KEPT_EVERY_S
                or reading.throttle_reasons != last.throttle_reasons
            ):
                self.telemetry.append(reading)
        return new

    def _energy(self, window: Window) -> None:
        new = self._new()
        if window.edge == "start":
            self._window = self._clock(), self._readings.energy_j()
            return
        (started, before), after = self._window, self._readings.energy_j()
        if (
            before is not None
            and after is not None
            # a counter that stands still does not count
            and after > before
            and window.passes > 0
            and self._clock() - started >= ENERGY_WINDOW_S
            and not is_throttled(new)
        ):
            self.energy_j = (after - before) / window.passes


@dataclass(frozen=True)
class Predicted:
    """Facts on a cell that the parent knows before it is measured; see ``Timing``.

    ``hangs``: a user's code did not come to an end when it was counted.
    """

    macs: int | None = None
    macs_total: int | None = None
    hangs: str | None = None


class Supervisor:
    """Measures cells with workers started by ``command``.

    ``predict`` is asked about each cell before its worker is given its task. ``on_chunk`` is told
    of each stretch of samples and the reply to it, ``warn`` of another program that measures.
    """

    def __init__(
        self,
        command: Sequence[str],
        predict: Callable[[Cell], Predicted],
        on_chunk: Callable[[Cell, Chunk, Reply], None] = lambda cell, chunk, reply: None,
        *,
        warn: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._command = command
        # many cells are timed against the same one
        self.predict = cache(predict)
        self._on_chunk = on_chunk
        # several cells may wait for the same program
        self._warn = cache(warn)

    def key(self, cell: Cell) -> str:
        """The key under which a measurement of ``cell`` here and now is stored.

        Raises: ValueError if its device is not there.
        """
        return cell.key(*conditions(machine_of(cell.device)))

    def measure(self, *cells: Cell, limits: Limits) -> dict[Cell, Timing]:
        """The records of one cell, or of several in rotation: all against the same one.

        Several processes share the time. Whatever becomes of a worker, each cell has a record:
        where a rotation fails, its cells are measured one by one.
        Raises: ValueError if the device is not there; what ``predict`` raises.
        """
        first = cells[0]
        each_s = max(limits.least_s, limits.sampling_s / first.processes)
        once = limits.model_copy(update={"sampling_s": each_s})
        names = names_of(first.device, first.threads, machine_of(first.device))
        taken: list[list[Timing]] = []
        with locked(names, self._warn):
            while len(taken) < first.processes:
                if limits.ends_at is not None:
                    started = time.monotonic()
                    part_s = (limits.ends_at - started) / (first.processes - len(taken))
                    once = once.model_copy(update={"ends_at": started + part_s})
                records = self._measure(cells, once)
                if len(records) < len(cells) or (len(cells) == 1 and records[0].status != "ok"):
                    failed = records[0]
                    break
                taken.append(records)
            else:
                joint = [joined(each) for each in zip(*taken, strict=True)]
                return dict(zip(cells, joint, strict=True))
        if len(cells) == 1:
            return {first: failed}
        apart = (self.measure(each, limits=limits) for each in cells)
        return {cell: timing for each in apart for cell, timing in each.items()}

    def _measure(self, cells: Sequence[Cell], limits: Limits) -> list[Timing]:
        cell, machine = cells[0], machine_of(cells[0].device)
        started = now()
        known: dict[str, Any]
        for each in cells:
            if hangs := self.predict(each).hangs:
                known = {"status": "timed out", "error": f"counting it: {hangs}"}
                return [
                    self._completed(Timing(key="", cell=each).model_copy(update=known), started)
                ]
        with (
            Watch(machine.device_uuid) as watch,
            WorkerProcess(self._command, threads=cell.threads) as worker,
        ):
            exchange = Exchange(watch)
            worker.give(Task(cell=cell, also=tuple(cells[1:]), limits=limits))
            records: list[Timing] = []
            while not records or (len(records) < len(cells) and records[0].status == "ok"):
                message = worker.listen()
                if isinstance(message, Timing):
                    records.append(message)
                    continue
                reply = exchange.reply(message)
                if isinstance(message, Chunk):
                    self._on_chunk(cell, message, reply)
                worker.send(reply)
            worker.leave()
        known = {"energy_j": exchange.energy_j, "telemetry": tuple(exchange.telemetry)}
        return [self._completed(each.model_copy(update=known), started) for each in records]

    def _completed(self, timing: Timing, started: str) -> Timing:
        """A worker's record with what the parent knows."""
        cell, predicted = timing.cell, self.predict(timing.cell)
        known: dict[str, Any] = {"key": self.key(cell), "machine": machine_of(cell.device)}
        known |= {"macs": predicted.macs, "macs_total": predicted.macs_total, "started": started}
        if cell.against is not None:
            known["reference_macs_total"] = self.predict(cell.against).macs_total
        return timing.model_copy(update=known)


def joined(timings: Sequence[Timing]) -> Timing:
    """The record of a cell that several processes measured: their samples one after the other."""
    first, *others = timings
    protocols = [each.protocol for each in timings if each.protocol is not None]
    if not others or not protocols:
        return first
    sizes = tuple(len(next(iter(each.samples_s.values()))) for each in timings)
    samples: dict[str, tuple[float, ...]] = {
        part: tuple(chain.from_iterable(each.samples_s[part] for each in timings))
        for part in first.samples_s
    }
    energies = [each.energy_j for each in timings if each.energy_j is not None]
    added = ("warmup_samples", "sampling_s", "void_samples")
    protocol = protocols[0].model_copy(
        update={
            **{name: sum(getattr(each, name) for each in protocols) for name in added},
            "settled": all(each.settled for each in protocols),
            "precision": precision_of(samples, processes=sizes),
        }
    )
    return first.model_copy(
        update={
            "samples_s": samples,
            "processes": sizes,
            "protocol": protocol,
            "telemetry": tuple(chain.from_iterable(each.telemetry for each in timings)),
            "energy_j": fmean(energies) if energies else None,
        }
    )
