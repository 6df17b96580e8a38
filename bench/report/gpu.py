"""Latency and memory of a paper's rows on GPUs: beside each table, and several tables in one."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from vidcost.bench.report.table import Cell as Position
from vidcost.bench.report.table import Column, Table, billions
from vidcost.bench.report.timing import (
    machine_in_words,
    megabytes,
    milliseconds,
    said,
    spread,
)
from vidcost.bench.timing.axes import AXES, Conditions, Dtype
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.figures import figures
from vidcost.bench.timing.record import Machine, Timing
from vidcost.papers.row import Row

Condition = tuple[int, Dtype]
"""Batch and type."""

SHOWN: tuple[Condition, ...] = ((8, "fp32"), (8, "tf32"), (8, "bf16"), (1, "fp32"), (1, "bf16"))
"""The conditions that have a column, in order."""

SUMMARISED: tuple[Condition, ...] = ((8, "fp32"), (8, "bf16"))
"""The conditions of several tables in one."""

POWER_CAP = "sw power cap"

_TYPES: dict[Dtype, str] = {
    "fp32": "fp32: TF32 off",
    "tf32": "tf32: fp32 data, TF32 products",
    "bf16": "bf16: weights and data",
}


@dataclass(frozen=True)
class Measured:
    """A timing without its samples and readings, its figures, and the state of the GPU meanwhile.

    Seconds of a pass, bytes above the weights; None where nothing was measured. ``sm_clocks_mhz``
    and ``powers_w`` are the readings' least and most, empty if there are none.
    """

    timing: Timing
    median_s: float | None
    half_ci_s: float | None
    n: int | None
    peak_bytes: int | None
    sm_clocks_mhz: tuple[float, ...]
    powers_w: tuple[float, ...]
    power_capped: bool | None


@dataclass(frozen=True)
class Gpu:
    """All that was measured on one kind of machine with a GPU, by row and condition.

    ``apart`` tells it from others with the same GPU, such as ``driver 570``; else it is empty.
    """

    machine: Machine
    apart: str
    records: Mapping[tuple[str, Condition], Measured]

    @property
    def name(self) -> str:
        """The GPU's, for people."""
        return f"{self.machine.device} ({self.apart})" if self.apart else self.machine.device


def gpus(timings: Iterable[Timing]) -> list[Gpu]:
    """The records among ``timings`` that may be shown, by kind of machine, in order.

    Rows as they stand under :data:`SHOWN`, all other conditions by default; of several numbers of
    threads that with most records. Of one cell the latest record counts. ``timings`` are read once,
    and their samples not kept.
    """
    kinds: dict[Machine, dict[Cell, Measured]] = {}
    for timing in timings:
        if timing.machine is None or not _is_shown(timing.cell):
            continue
        of_kind = kinds.setdefault(timing.machine.kind, {})
        # cuda and cuda:1 are names of one process
        cell = timing.cell.model_copy(update={"device": "cuda"})
        earlier = of_kind.get(cell)
        if earlier is None or earlier.timing.started <= timing.started:
            of_kind[cell] = _measured(timing)
    machines = sorted(kinds, key=lambda each: (each.device, each.model_dump_json()))
    return [Gpu(each, _apart(each, machines), _of_most_threads(kinds[each])) for each in machines]


def _is_shown(cell: Cell) -> bool:
    default, chosen = Conditions(), ("batch", "dtype", "threads")
    others = (name for name in AXES if name not in chosen)
    return (
        cell.device != "cpu"
        and cell.is_row_itself
        and not cell.is_pair
        and (cell.batch, cell.dtype) in SHOWN
        and all(getattr(cell, name) == getattr(default, name) for name in others)
    )


def _measured(timing: Timing) -> Measured:
    found, is_ok = figures(timing), timing.status == "ok"
    reasons = [r.throttle_reasons for r in timing.telemetry if r.throttle_reasons is not None]
    return Measured(
        timing=timing.model_copy(update={"samples_s": {}, "telemetry": ()}),
        median_s=found["median_s"] if is_ok else None,
        half_ci_s=found["half_ci_s"],
        n=found["n"],
        peak_bytes=found["peak_bytes"] if is_ok else None,
        sm_clocks_mhz=_extent(reading.sm_clock_mhz for reading in timing.telemetry),
        powers_w=_extent(reading.power_w for reading in timing.telemetry),
        power_capped=any(POWER_CAP in each for each in reasons) if reasons else None,
    )


def _extent(readings: Iterable[float | None]) -> tuple[float, ...]:
    read = [each for each in readings if each is not None]
    return (min(read), max(read)) if read else ()


def _of_most_threads(cells: Mapping[Cell, Measured]) -> dict[tuple[str, Condition], Measured]:
    numbers = Counter(cell.threads for cell in cells)
    most = min(numbers, key=lambda threads: (-numbers[threads], threads))
    return {
        (cell.row, (cell.batch, cell.dtype)): measured
        for cell, measured in cells.items()
        if cell.threads == most and cell.row is not None
    }


def _apart(machine: Machine, machines: Iterable[Machine]) -> str:
    like = [each for each in machines if each.device == machine.device]
    differing = (
        f"{name} {value}" for name, value in machine if len({getattr(m, name) for m in like}) > 1
    )
    return ", ".join(differing)


def gpu_tables(table: Table, rows: Mapping[str, Row], gpus: Iterable[Gpu]) -> list[Table]:
    """Beside ``table`` of a paper, with its lines: one for each of ``gpus`` that timed any.

    Latency under every condition that there is; ratio and memory at the largest batch. ``rows``
    must hold every row of the table, by name.
    """
    made = []
    for gpu in gpus:
        there = _conditions([table], gpu)
        if there:
            largest = [each for each in there if each[0] == max(batch for batch, _ in there)]
            # TF32 changes neither what is allocated nor which network is the slower
            compared = [each for each in largest if each[1] != "tf32"] or largest
            title = f"Table {table.lines[0]['table']} on {gpu.name}"
            made.append(_table(title, [table], rows, gpu, there, compared))
    return made


def gpu_summary(tables: Sequence[Table], rows: Mapping[str, Row], gpu: Gpu) -> Table | None:
    """``tables`` of a paper in one, under :data:`SUMMARISED`; None if none was timed so."""
    there = [each for each in _conditions(tables, gpu) if each in SUMMARISED]
    if not there:
        return None
    *numbers, last = (str(table.lines[0]["table"]) for table in tables)
    title = f"Tables {', '.join(numbers)} and {last} on {gpu.name}"
    return _table(title, tables, rows, gpu, there, there, Column("table", "Table"))


def _conditions(tables: Sequence[Table], gpu: Gpu) -> list[Condition]:
    """The conditions under which any row of ``tables`` was timed."""
    names = {line["row"] for table in tables for line in table.lines}
    timed = {condition for name, condition in gpu.records if name in names}
    return [each for each in SHOWN if each in timed]


def baseline_of(row: Row, among: Iterable[Row]) -> str | None:
    """The row ``among`` others that is the network of ``row`` without its blocks, by name.

    A network that could carry blocks is its own. None if it takes no blocks, or there is no such
    row.
    """
    if not isinstance(row.build, partial):
        return None
    for other in among:
        if (
            isinstance(other.build, partial)
            and not other.has_blocks
            and other.network is row.network
            and (other.classes, other.inputs) == (row.classes, row.inputs)
        ):
            return other.name
    return None


def _table(
    title: str,
    tables: Sequence[Table],
    rows: Mapping[str, Row],
    gpu: Gpu,
    latencies: Sequence[Condition],
    compared: Sequence[Condition],
    *first: Column,
) -> Table:
    """The lines of ``tables`` with ``latencies``; with ratio and memory under ``compared``."""
    lines: list[dict[str, Any]] = []
    footnotes: dict[Position, str] = {}
    shown: list[Measured] = []
    baselines: dict[str, None] = {}
    for table in tables:
        among = [rows[line["row"]] for line in table.lines]
        for index, line in enumerate(table.lines):
            made = {key: line[key] for key in ("table", "method", "row", "macs")}
            for key in ("method", "macs"):
                if note := table.footnotes.get((index, key)):
                    footnotes[len(lines), key] = note
            baseline = baseline_of(rows[line["row"]], among)
            for condition in latencies:
                measured = gpu.records.get((line["row"], condition))
                if measured is None:
                    continue
                shown.append(measured)
                key = _key("latency", condition)
                if measured.median_s is None:
                    footnotes[len(lines), key] = said(measured.timing)
                    continue
                made[key] = (measured.median_s, measured.half_ci_s)
                if condition in compared:
                    made[_key("peak", condition)] = measured.peak_bytes
                    bare = gpu.records.get((baseline, condition)) if baseline else None
                    if baseline and bare is not None and bare.median_s:
                        made[_key("ratio", condition)] = measured.median_s / bare.median_s
                        baselines[baseline] = None
            lines.append(made)
    columns = [*first, Column("method", "Method"), Column("macs", "MACs", billions)]
    for condition in latencies:
        batch, dtype = condition
        columns.append(Column(_key("latency", condition), f"{dtype}, batch {batch}, ms", _interval))
        if condition in compared and baselines:
            heading = f"{dtype}, × baseline"
            columns.append(Column(_key("ratio", condition), heading, "{:.2f}".format))
    columns += [
        Column(_key("peak", condition), f"Peak {condition[1]}, MB", megabytes)
        for condition in compared
    ]
    built = [line["row"] for line in lines if rows[line["row"]].build]
    machine = machine_in_words(gpu.machine, [each.timing for each in shown])
    return Table(
        title=title,
        columns=columns,
        lines=lines,
        footnotes=footnotes,
        legend=(
            _meaning(shown, latencies, compared[0][0], list(baselines)),
            f"{machine}{_days(shown)}",
            *_state(shown),
            f"This command measures it: `{_command(built, latencies, _threads(shown))}`.",
        ),
    )


def _meaning(
    shown: Sequence[Measured],
    latencies: Sequence[Condition],
    peak_batch: int,
    baselines: Sequence[str],
) -> str:
    batches = " or ".join(map(str, _batches(latencies)))
    samples = _range([each.n for each in shown if each.n], "{:,}".format)
    threads = _threads(shown)
    sentences = [
        "MACs: ours, exact, of one clip.",
        f"Latency: of one pass of a batch of {batches}, the median of {samples} samples ± half of "
        "its 95% confidence interval, from one process; another process may differ by more.",
        "× baseline: that median over the one of the same network without blocks "
        f"({', '.join(baselines)})."
        if baselines
        else "",
        f"Peak: most that was allocated at once above the weights, at batch {peak_batch}.",
        f"{'; '.join(_TYPES[dtype] for dtype in _dtypes(latencies))}.",
        "Contiguous, eager, inference, cuDNN benchmark off, "
        f"{threads} {'thread' if threads == 1 else 'threads'} on the CPU.",
        "An en dash: no figure.",
    ]
    return " ".join(filter(None, sentences))


def _days(shown: Sequence[Measured]) -> str:
    """When the records were taken, in UTC."""
    days = {each.timing.started[:10] for each in shown if each.timing.started}
    if not days:
        return ""
    return f" Measured {'on' if len(days) == 1 else 'from'} {_range(sorted(days), str)}."


def _state(shown: Sequence[Measured]) -> list[str]:
    """The GPU's own readings while it was measured; nothing if there are none."""
    clocks = [mhz for each in shown for mhz in each.sm_clocks_mhz]
    powers = [watts for each in shown for watts in each.powers_w]
    capped = [each.power_capped for each in shown if each.power_capped is not None]
    words = []
    if clocks:
        words.append(f"SM clock {_range(clocks, '{:,}'.format)} MHz")
    if powers:
        words.append(f"power {_range(powers, '{:,.0f}'.format)} W")
    if capped:
        seen = f"in {sum(capped)} of {len(capped)} measurements" if any(capped) else "never"
        words.append(f"{POWER_CAP} seen {seen}")
    return [f"The GPU meanwhile: {', '.join(words)}."] if words else []


def _command(rows: Sequence[str], latencies: Sequence[Condition], threads: int) -> str:
    """The command that takes these records, and those that are missing."""
    words = ["vidcost", "time", *dict.fromkeys(rows), "--device", "cuda"]
    words += ["--batch", ",".join(map(str, _batches(latencies)))]
    words += ["--dtype", ",".join(_dtypes(latencies))]
    if threads != 1:
        words += ["--threads", str(threads)]
    return shlex.join(words)


def _batches(latencies: Sequence[Condition]) -> list[int]:
    return sorted({batch for batch, _ in latencies})


def _dtypes(latencies: Sequence[Condition]) -> list[Dtype]:
    return list(dict.fromkeys(dtype for _, dtype in latencies))


def _threads(shown: Sequence[Measured]) -> int:
    """Of all of them: records of other numbers are not shown beside."""
    return shown[0].timing.cell.threads


def _range(values: Sequence[Any], write: Callable[[Any], str]) -> str:
    """The least and the most, one if they are written alike; an en dash if there are none."""
    if not values:
        return "–"
    return " to ".join(dict.fromkeys([write(min(values)), write(max(values))]))


def _key(kind: str, condition: Condition) -> str:
    batch, dtype = condition
    return f"{kind} {dtype} {batch}"


def _interval(value: tuple[float, float | None]) -> str:
    """(0.0123456, 0.0000123456) -> 12.35 ± 0.012, in ms."""
    median_s, half_ci_s = value
    known = milliseconds(median_s)
    return known if half_ci_s is None else f"{known} ± {spread(half_ci_s)}"
