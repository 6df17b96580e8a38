"""The parent's side of a measurement: starts workers, answers them, and completes their records.

Each cell has a worker process of its own. While it measures, the parent samples the device's
telemetry and decides which samples count. However a worker ends, its cell has a record.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache

from vidcost.bench.process import ChildProcess, TimedOut
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import conditions, machine_of
from vidcost.bench.timing.machine import usable_cores
from vidcost.bench.timing.messages import Chunk, Limits, Message, Reply, Task, Window
from vidcost.bench.timing.record import Machine, Telemetry, Timing
from vidcost.bench.timing.telemetry import Telemeter, Watch, is_throttled

# -P keeps files of the current folder from standing in for the worker's modules
COMMAND = (sys.executable, "-P", "-m", "vidcost.bench.timing.worker")

MOST_AHEAD = 8
"""Workers that wait at once: each holds some hundred megabytes."""

READY_LIMIT_S = 120.0
"""For workers ahead to import and build; one that is not ready then is started again later."""

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
        """What it is to do next; the limits of the task begin now."""
        limits = task.limits
        self._failed = Timing(key="", cell=task.cell)
        self._limit_s = limits.start_up_s + limits.warmup_s + limits.sampling_s + limits.energy_s
        self._deadline = time.monotonic() + self._limit_s
        self.send(task.model_dump_json().encode())

    def is_ready(self, deadline: float) -> bool:
        """Whether it has built a task ahead by ``deadline`` of time.monotonic()."""
        try:
            return Message.model_validate_json(self.receive(deadline)).ready
        except (TimedOut, EOFError, ValueError):
            return False

    def listen(self) -> Chunk | Window | Timing:
        """The worker's next message, to be replied to, or the record, which ends the task.

        A worker that ended or was silent for too long is a record too, by its status.
        """
        try:
            said = Message.model_validate_json(message := self.receive(self._deadline))
            if (found := said.timing or said.chunk or said.window) is not None:
                return found
        except TimedOut:
            known = {"status": "timed out", "error": f"no record within {self._limit_s:g} s"}
        except EOFError:
            how, error = self.end()
            known = {"status": "killed" if how == "killed" else "crashed", "error": error}
            # the worker itself could not report that any more
            last = error.partition(": ")[2]
            if last.startswith(("MemoryError", "torch.OutOfMemoryError")):
                known = {"status": "oom", "error": last}
        except ValueError:
            beginning = message[:200].decode(errors="replace")
            known = {"status": "crashed", "error": f"a message that cannot be read: {beginning}"}
        else:
            known = {"status": "crashed", "error": "it sent an empty message"}
        # it has no chance to end by itself
        self.kill()
        return self._failed.model_copy(update=known)

    def reply(self, reply: Reply) -> None:
        """Answer its last message."""
        self.send(reply.encode())


class Exchange:
    """Decides on the replies to one worker.

    After ``stop_at`` (of ``clock``) it is told to stop, unless its last samples are void.
    ``telemetry`` are the readings kept since the worker began to sample. ``energy_j`` is the energy
    of one pass once the window is over; None without a counter, for a window under
    :data:`ENERGY_WINDOW_S`, or if the device was throttled in it.
    """

    def __init__(
        self,
        readings: Watch,
        *,
        stop_at: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.telemetry: list[Telemetry] = []
        self.energy_j: float | None = None
        self._readings = readings
        self._stop_at = stop_at
        self._clock = clock
        self._began: float | None = None
        self._window: tuple[float, float | None] = (0.0, None)

    def reply(self, message: Chunk | Window) -> Reply:
        """What the worker is told."""
        if isinstance(message, Window):
            self._energy(message)
            return "keep"
        now = self._clock()
        if self._began is None:
            self._began = now - message.sampling_s
        if is_throttled(self._new()):
            return "void"
        return "stop" if self._stop_at is not None and now >= self._stop_at else "keep"

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
    """What the parent knows of a cell before it is measured; see ``Timing``."""

    macs: int | None = None
    macs_total: int | None = None
    peak_macs_per_s: float | None = None


class Supervisor(contextlib.ExitStack):
    """Measures cells with workers started by ``command``.

    ``predict`` is asked once for each cell, before its worker is given its task. ``on_chunk`` is
    told of each stretch of samples and the reply to it. ``look`` describes a device, once.
    """

    def __init__(
        self,
        command: Sequence[str],
        predict: Callable[[Cell], Predicted],
        on_chunk: Callable[[Cell, Chunk, Reply], None] = lambda cell, chunk, reply: None,
        *,
        look: Callable[[str], Machine] | None = None,
        cores: int | None = None,
    ) -> None:
        super().__init__()
        self._command = command
        self._predict = cache(predict)
        self._on_chunk = on_chunk
        self._look = look or machine_of
        self._at_once = max(1, min(MOST_AHEAD, (cores or usable_cores()) // 2))
        self._devices: dict[str, tuple[Machine, Telemeter]] = {}
        self._peaks: dict[tuple[str, str], float] = {}
        self._ahead: dict[Cell, WorkerProcess] = {}
        self.callback(self._dismiss)

    def key(self, cell: Cell) -> str:
        """What a measurement of ``cell`` here and now is stored under.

        Raises: ValueError if its device is not there.
        """
        machine, _ = self._device(cell)
        return cell.key(*conditions(machine))

    def prepare(self, cell: Cell, limits: Limits, following: Iterable[Cell]) -> None:
        """Start workers for ``cell`` and the cells ``following`` it, and wait until they are ready.

        To import torch and build a network takes a worker seconds on one core, and a cell on a GPU
        often less. So that time is spent once for several cells, while nothing is measured. A cell
        on a CPU has the machine for itself: its worker is started when it is measured.
        ``following`` is read no further than workers are started.
        """
        if cell in self._ahead:
            return
        self._dismiss()
        if cell.device == "cpu":
            return
        needs = cell.device, cell.threads
        alike = itertools.takewhile(lambda each: (each.device, each.threads) == needs, following)
        chosen = [cell, *itertools.islice(alike, self._at_once - 1)]
        if len(chosen) < 2:
            return
        for each in chosen:
            worker = self._ahead[each] = self._start(each)
            worker.give(Task(cell=each, limits=limits, ahead=True))
        for each in chosen:
            # what is wrong with a cell is reported when it is measured
            with contextlib.suppress(ValueError):
                self._predict(each)
        deadline = time.monotonic() + READY_LIMIT_S
        for each in chosen:
            if not self._ahead[each].is_ready(deadline):
                self._ahead.pop(each).close()

    def measure(self, cell: Cell, limits: Limits, *, stop_at: float | None = None) -> Timing:
        """The record of ``cell``, whatever becomes of its worker.

        After ``stop_at`` of time.monotonic() the worker is told that time is up.
        Raises: ValueError if the device is not there; what ``predict`` raises.
        """
        machine, telemeter = self._device(cell)
        predicted = self._predict(cell)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        peak = self._peaks.get((cell.device, cell.dtype))
        with telemeter.watching() as watch:
            exchange = Exchange(watch, stop_at=stop_at)
            timing = self._run(Task(cell=cell, limits=limits, peak_macs_per_s=peak), exchange)
        if timing.peak_macs_per_s is not None:
            self._peaks[cell.device, cell.dtype] = timing.peak_macs_per_s
        return timing.model_copy(
            update={name: value for name, value in asdict(predicted).items() if value is not None}
            | {
                "key": self.key(cell),
                "machine": timing.machine or machine,
                "telemetry": tuple(exchange.telemetry),
                "energy_j": exchange.energy_j,
                "started": started,
            }
        )

    def _device(self, cell: Cell) -> tuple[Machine, Telemeter]:
        if cell.device not in self._devices:
            machine = self._look(cell.device)
            telemeter = Telemeter(machine.device_uuid)
            self.callback(telemeter.close)
            self._devices[cell.device] = machine, telemeter
        return self._devices[cell.device]

    def _run(self, task: Task, exchange: Exchange) -> Timing:
        with self._ahead.pop(task.cell, None) or self._start(task.cell) as worker:
            worker.give(task)
            while not isinstance(said := worker.listen(), Timing):
                reply = exchange.reply(said)
                if isinstance(said, Chunk):
                    self._on_chunk(task.cell, said, reply)
                worker.reply(reply)
            worker.leave()
            return said

    def _start(self, cell: Cell) -> WorkerProcess:
        return WorkerProcess(self._command, threads=cell.threads)

    def _dismiss(self) -> None:
        """End the workers that wait."""
        while self._ahead:
            self._ahead.popitem()[1].close()
