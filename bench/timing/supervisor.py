"""Has cells measured: starts a worker, answers it, and makes its answer or its end a record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import conditions, machine_of
from vidcost.bench.timing.events import ChunkTaken, Event
from vidcost.bench.timing.exchange import Exchange
from vidcost.bench.timing.messages import Limits, Task
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.telemetry import Telemeter
from vidcost.bench.timing.worker_process import TimedOut, UnreadableLine, WorkerProcess

START_UP_S = 300.0
"""What a worker may take beside warm-up, sampling and energy: imports, building, compiling, the
memory pass, a last pass longer than what was left of its time."""


@dataclass(frozen=True)
class Foreseen:
    """What the parent knows of a cell before it is measured; see ``Timing``."""

    macs: int | None = None
    macs_total: int | None = None
    predicted_peak_bytes: int | None = None
    peak_macs_per_s: float | None = None


class Supervisor(contextlib.ExitStack):
    """Measures cells; looks at each device once, at its first cell.

    ``foresee`` is asked once for each cell, before its worker starts.
    """

    def __init__(
        self,
        command: Sequence[str],
        foresee: Callable[[Cell], Foreseen],
        on_event: Callable[[Event], None],
    ) -> None:
        super().__init__()
        self._command = command
        self._foresee = cache(foresee)
        self._on_event = on_event
        self._devices: dict[str, tuple[Machine, Telemeter]] = {}

    def key(self, cell: Cell) -> str:
        """What a measurement of ``cell`` here and now is stored under.

        Raises: ValueError if its device is not there.
        """
        machine, _ = self._device(cell)
        return cell.key(*conditions(machine))

    def measure(self, cell: Cell, limits: Limits, *, stop_at: float | None = None) -> Timing:
        """The record of ``cell``, whatever becomes of its worker.

        After ``stop_at`` of time.monotonic() the worker is told that time is up.
        Raises: ValueError if the device is not there; what ``foresee`` raises.
        """
        machine, telemeter = self._device(cell)
        foreseen = self._foresee(cell)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        with telemeter.watching() as watch:
            exchange = Exchange(watch, stop_at=stop_at)
            timing = self._run(Task(cell=cell, limits=limits), exchange)
        return timing.model_copy(
            update={name: value for name, value in asdict(foreseen).items() if value is not None}
            | {
                "key": self.key(cell),
                "machine": timing.machine or machine,
                "telemetry": exchange.telemetry,
                "energy_j": exchange.energy_j,
                "started": started,
            }
        )

    def _device(self, cell: Cell) -> tuple[Machine, Telemeter]:
        if cell.device not in self._devices:
            machine = machine_of(cell.device)
            telemeter = Telemeter(machine.device_uuid)
            self.callback(telemeter.close)
            self._devices[cell.device] = machine, telemeter
        return self._devices[cell.device]

    def _run(self, task: Task, exchange: Exchange) -> Timing:
        limits, failed = task.limits, Timing(key="", cell=task.cell)
        limit_s = START_UP_S + limits.warmup_s + limits.sampling_s + limits.energy_s
        deadline = time.monotonic() + limit_s
        with WorkerProcess(self._command, task) as worker:
            try:
                while (line := worker.receive(deadline)) is not None:
                    if line.timing is not None:
                        worker.leave()
                        return line.timing
                    if line.chunk is not None:
                        reply = exchange.reply(line.chunk)
                        self._on_event(ChunkTaken(task.cell, line.chunk, reply))
                        worker.reply(reply)
                    elif line.window is not None:
                        worker.reply(exchange.reply(line.window))
            except TimedOut:
                return failed.model_copy(
                    update={"status": "timed out", "error": f"no record within {limit_s:g} s"}
                )
            except UnreadableLine as error:
                return failed.model_copy(
                    update={"status": "crashed", "error": f"a line that cannot be read: {error}"}
                )
            status, last_words = worker.end()
            return failed.model_copy(update={"status": status, "error": last_words})
