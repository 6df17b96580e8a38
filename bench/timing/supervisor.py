"""Has cells measured: starts a worker, answers it, and makes its answer or its end a record."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import conditions, machine_of
from vidcost.bench.timing.crew import Crew
from vidcost.bench.timing.dialogue import attend
from vidcost.bench.timing.events import ChunkTaken, Event
from vidcost.bench.timing.exchange import Exchange
from vidcost.bench.timing.messages import Chunk, Limits, Reply, Task, Window
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.telemetry import Telemeter


@dataclass(frozen=True)
class Foreseen:
    """What the parent knows of a cell before it is measured; see ``Timing``."""

    macs: int | None = None
    macs_total: int | None = None
    predicted_peak_bytes: int | None = None
    peak_macs_per_s: float | None = None


class Supervisor(contextlib.ExitStack):
    """Measures cells; looks at each device once, at its first cell.

    ``foresee`` is asked once for each cell, before its worker is given its task.
    """

    def __init__(
        self,
        command: Sequence[str],
        foresee: Callable[[Cell], Foreseen],
        on_event: Callable[[Event], None],
        *,
        look: Callable[[str], Machine] | None = None,
    ) -> None:
        """``look`` says what a device is, :func:`machine_of` if it is not given."""
        super().__init__()
        self._foresee = cache(foresee)
        self._on_event = on_event
        self._look = look or machine_of
        self._devices: dict[str, tuple[Machine, Telemeter]] = {}
        self._peaks: dict[tuple[str, str], float] = {}
        self._crew = Crew(command)
        self.callback(self._crew.dismiss)

    def key(self, cell: Cell) -> str:
        """What a measurement of ``cell`` here and now is stored under.

        Raises: ValueError if its device is not there.
        """
        machine, _ = self._device(cell)
        return cell.key(*conditions(machine))

    def prepare(self, cell: Cell, limits: Limits, following: Iterable[Cell]) -> None:
        """Start workers for ``cell`` and cells ``following`` it, if that is done ahead.

        Meanwhile those are foreseen; all are ready then.
        """
        started = self._crew.prepare(cell, following, limits)
        for each in started:
            # whatever is wrong with it is told when it is its turn
            with contextlib.suppress(ValueError):
                self._foresee(each)
        if started:
            self._crew.wait()

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
            peak = self._peaks.get((cell.device, cell.dtype))
            timing = self._run(Task(cell=cell, limits=limits, peak_macs_per_s=peak), exchange)
        if timing.peak_macs_per_s is not None:
            self._peaks[cell.device, cell.dtype] = timing.peak_macs_per_s
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
            machine = self._look(cell.device)
            telemeter = Telemeter(machine.device_uuid)
            self.callback(telemeter.close)
            self._devices[cell.device] = machine, telemeter
        return self._devices[cell.device]

    def _run(self, task: Task, exchange: Exchange) -> Timing:
        def reply(message: Chunk | Window) -> Reply:
            given = exchange.reply(message)
            if isinstance(message, Chunk):
                self._on_event(ChunkTaken(task.cell, message, given))
            return given

        with self._crew.take(task.cell) as worker:
            timing = attend(worker, task, reply)
            worker.leave()
            return timing
