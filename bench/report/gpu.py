"""Latency and memory of a paper's rows on GPUs: beside each table, and several tables in one."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from vidcost.bench.report.table import Cell as Position
from vidcost.bench.report.table import Column, Table, billions
from vidcost.bench.report.timing import (
    conditions_in_words,
    intervals_of,
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
class Gpu:
    """All that was measured on one kind of machine with a GPU, by row and condition.

    ``apart`` tells it from others with the same GPU, such as ``driver 570``; else it is empty.
    """

    machine: Machine
    apart: str
    records: Mapping[tuple[str, Condition], Timing]

    @property
    def name(self) -> str:
        """The GPU's, for people."""
        return f"{self.machine.device} ({self.apart})" if self.apart else self.machine.device


def gpus(timings: Iterable[Timing]) -> list[Gpu]:
    """The records among ``timings`` that may be shown, by kind of machine, in order.

    Rows as they stand under :data:`SHOWN`, all other conditions by default; of several numbers of
    threads that with most records. Of one cell the latest record counts.
    """
    kinds: dict[Machine, dict[Cell, Timing]] = {}
    for timing in timings:
        if timing.machine is None or not _is_shown(timing.cell):
            continue
        of_kind = kinds.setdefault(timing.machine.kind, {})
        # cuda and cuda:1 are names of one process
        cell = timing.cell.model_copy(update={"device": "cuda"})
        if cell not in of_kind or of_kind[cell].started <= timing.started:
            of_kind[cell] = timing
    found = []
    for machine in sorted(kinds, key=lambda each: (each.device, each.model_dump_json())):
        like = [each for each in kinds if each.device == machine.device]
        apart = (
            f"{name} {value}"
            for name, value in machine
            if len({getattr(each, name) for each in like}) > 1
        )
        numbers = Counter(cell.threads for cell in kinds[machine])
        most = min(numbers, key=lambda threads: (-numbers[threads], threads))
        records = {
            (str(cell.row), (cell.batch, cell.dtype)): timing
            for cell, timing in kinds[machine].items()
            if cell.threads == most
        }
        found.append(Gpu(machine, ", ".join(apart), records))
    return found


def _is_shown(cell: Cell) -> bool:
    default, chosen = Conditions(), ("batch", "dtype", "threads")
    return (
        cell.device != "cpu"
        and cell.is_row_itself
        and not cell.is_pair
        and (cell.batch, cell.dtype) in SHOWN
        and all(getattr(cell, n) == getattr(default, n) for n in AXES if n not in chosen)
    )


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
    shown: list[Timing] = []
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
                timing = gpu.records.get((line["row"], condition))
                if timing is None:
                    continue
                shown.append(timing)
                if timing.status != "ok":
                    footnotes[len(lines), _key("latency", condition)] = said(timing)
                    continue
                found = figures(timing)
                made[_key("latency", condition)] = (found["median_s"], found["half_ci_s"])
                if condition in compared:
                    made[_key("peak", condition)] = found["peak_bytes"]
                    bare = gpu.records.get((baseline or "", condition))
                    if baseline and bare is not None and bare.status == "ok":
                        ratio = found["median_s"] / figures(bare)["median_s"]
                        made[_key("ratio", condition)] = ratio
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
    return Table(
        title=title,
        columns=columns,
        lines=lines,
        footnotes=footnotes,
        legend=(
            _meaning(shown, latencies, compared[0][0], list(baselines)),
            f"{machine_in_words(shown)}{_days(shown)}",
            *_state(shown),
            f"This command measures it: `{_command(built, latencies, shown[0].cell.threads)}`.",
        ),
    )


def _meaning(
    shown: Sequence[Timing],
    latencies: Sequence[Condition],
    peak_batch: int,
    baselines: Sequence[str],
) -> str:
    batches = " or ".join(map(str, sorted({batch for batch, _ in latencies})))
    samples = _range([n for each in shown if (n := len(each.samples_s.get("latency", ())))], "{:,}")
    ratio = f"× baseline: over the same network without blocks ({', '.join(baselines)}). "
    return (
        f"MACs: ours, exact, of one clip. Latency: of one pass of a batch of {batches}, the median "
        f"of {samples} samples ± half of its 95% confidence interval, {intervals_of(shown)}. "
        f"{ratio if baselines else ''}"
        f"Peak: most that was allocated at once above the weights, at batch {peak_batch}. "
        f"{'; '.join(_TYPES[dtype] for dtype in _dtypes(latencies))}. "
        f"Conditions: {conditions_in_words(shown)}. An en dash: no figure."
    )


def _days(shown: Sequence[Timing]) -> str:
    """When the records were taken, in UTC."""
    days = sorted({each.started[:10] for each in shown if each.started})
    if not days:
        return ""
    return f" Measured {'on' if len(days) == 1 else 'from'} {_range(days, '{}')}."


def _state(shown: Sequence[Timing]) -> list[str]:
    """The GPU's own readings while it was measured; nothing if there are none."""
    readings = [reading for each in shown for reading in each.telemetry]
    clocks = [r.sm_clock_mhz for r in readings if r.sm_clock_mhz is not None]
    powers = [r.power_w for r in readings if r.power_w is not None]
    reasons = [[r.throttle_reasons for r in each.telemetry] for each in shown]
    capped = [
        any(POWER_CAP in each for each in known)
        for of_one in reasons
        if (known := [each for each in of_one if each is not None])
    ]
    words = []
    if clocks:
        words.append(f"SM clock {_range(clocks, '{:,}')} MHz")
    if powers:
        words.append(f"power {_range(powers, '{:,.0f}')} W")
    if capped:
        seen = f"in {sum(capped)} of {len(capped)} measurements" if any(capped) else "never"
        words.append(f"{POWER_CAP} seen {seen}")
    return [f"The GPU meanwhile: {', '.join(words)}."] if words else []


def _command(rows: Sequence[str], latencies: Sequence[Condition], threads: int) -> str:
    """The command that takes these records, and those that are missing."""
    words = ["vidcost", "time", *dict.fromkeys(rows), "--device", "cuda"]
    words += ["--batch", ",".join(map(str, sorted({batch for batch, _ in latencies})))]
    words += ["--dtype", ",".join(_dtypes(latencies))]
    if threads != 1:
        words += ["--threads", str(threads)]
    return shlex.join(words)


def _dtypes(latencies: Sequence[Condition]) -> list[Dtype]:
    return list(dict.fromkeys(dtype for _, dtype in latencies))


def _range(values: Sequence[Any], form: str) -> str:
    """The least and the most, one if they are written alike; an en dash if there are none."""
    if not values:
        return "–"
    return " to ".join(dict.fromkeys([form.format(min(values)), form.format(max(values))]))


def _key(kind: str, condition: Condition) -> str:
    batch, dtype = condition
    return f"{kind} {dtype} {batch}"


def _interval(value: tuple[float, float | None]) -> str:
    """(0.0123456, 0.0000123456) -> 12.35 ± 0.012, in ms."""
    median_s, half_ci_s = value
    known = milliseconds(median_s)
    return known if half_ci_s is None else f"{known} ± {spread(half_ci_s)}"
