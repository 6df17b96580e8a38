"""Latency and memory of the paper's rows on GPUs: beside each table, and several tables in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from vidcost.bench.report.gpu_legend import legend
from vidcost.bench.report.gpu_records import SHOWN, Condition, Gpu, Measured
from vidcost.bench.report.table import Cell, Column, Table, billions
from vidcost.bench.report.timing import megabytes, milliseconds, said, spread
from vidcost.papers.row import Row

Rows = Mapping[str, Row]
"""Rows by name."""

SUMMARISED: tuple[Condition, ...] = ((8, "fp32"), (8, "bf16"))
"""The conditions of several tables in one."""


def gpu_tables(table: Table, rows: Rows, gpus: Iterable[Gpu]) -> list[Table]:
    """Beside ``table`` of the paper, with its lines: one for each of ``gpus`` that timed any.

    Latency under every condition that there is; ratio and memory at the largest batch. ``rows``
    must hold every row of the table.
    """
    made = []
    for gpu in gpus:
        there = _conditions([table], gpu)
        if not there:
            continue
        largest = [each for each in there if each[0] == max(batch for batch, _ in there)]
        # TF32 changes neither what is allocated nor which network is the slower
        compared = [each for each in largest if each[1] != "tf32"] or largest
        lines = _Lines(rows, gpu, there, compared)
        lines.add(table)
        made.append(lines.table(f"Table {table.lines[0]['table']} on {gpu.name}"))
    return made


def gpu_summary(tables: Sequence[Table], rows: Rows, gpu: Gpu) -> Table | None:
    """``tables`` of the paper in one, under :data:`SUMMARISED`; None if none was timed so."""
    there = [each for each in _conditions(tables, gpu) if each in SUMMARISED]
    if not there:
        return None
    lines = _Lines(rows, gpu, there, there)
    for table in tables:
        lines.add(table)
    *numbers, last = (str(table.lines[0]["table"]) for table in tables)
    title = f"Tables {', '.join(numbers)} and {last} on {gpu.name}"
    return lines.table(title, Column("table", "Table"))


def _conditions(tables: Sequence[Table], gpu: Gpu) -> list[Condition]:
    """Those under which any row of ``tables`` was timed."""
    names = {line["row"] for table in tables for line in table.lines}
    timed = {condition for name, condition in gpu.records if name in names}
    return [each for each in SHOWN if each in timed]


def baseline_of(row: Row, among: Iterable[Row]) -> str | None:
    """The one ``among`` rows that is ``row``'s network without its blocks, by name.

    A network that others could carry blocks in is its own. None for one that takes no blocks, or
    if there is no such row.
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


@dataclass
class _Lines:
    """The lines of tables of the paper with ``latencies``; of ``compared`` ratio and memory too."""

    rows: Rows
    gpu: Gpu
    latencies: Sequence[Condition]
    compared: Sequence[Condition]
    lines: list[dict[str, Any]] = field(default_factory=list)
    footnotes: dict[Cell, str] = field(default_factory=dict)
    shown: list[Measured] = field(default_factory=list)
    baselines: list[str] = field(default_factory=list)

    def add(self, table: Table) -> None:
        """Add the lines of one table; its baselines are looked for in it alone."""
        among = [self.rows[line["row"]] for line in table.lines]
        for index, line in enumerate(table.lines):
            for key in ("method", "macs"):
                if note := table.footnotes.get((index, key)):
                    self.footnotes[len(self.lines), key] = note
            made = {key: line[key] for key in ("table", "method", "row", "macs")}
            baseline = baseline_of(self.rows[line["row"]], among)
            for condition in self.latencies:
                made |= self._measured(line["row"], baseline, condition)
            self.lines.append(made)

    def table(self, title: str, *first: Column) -> Table:
        """All of them, with the columns ``first`` before the method's."""
        columns = [*first, Column("method", "Method"), Column("macs", "MACs", billions)]
        for condition in self.latencies:
            batch, dtype = condition
            columns.append(
                Column(_key("latency", condition), f"{dtype}, batch {batch}, ms", _with_half)
            )
            if condition in self.compared and self.baselines:
                columns.append(
                    Column(_key("ratio", condition), f"{dtype}, × baseline", "{:.2f}".format)
                )
        columns += [
            Column(_key("peak", condition), f"Peak {condition[1]}, MB", megabytes)
            for condition in self.compared
        ]
        return Table(
            title=title,
            columns=columns,
            lines=self.lines,
            footnotes=self.footnotes,
            legend=legend(
                self.gpu.machine,
                self.shown,
                latencies=self.latencies,
                peak_batch=self.compared[0][0],
                baselines=list(dict.fromkeys(self.baselines)),
                rows=[line["row"] for line in self.lines if self.rows[line["row"]].build],
            ),
        )

    def _measured(self, row: str, baseline: str | None, condition: Condition) -> dict[str, Any]:
        """The values of a line under one condition; its footnote if it could not be measured."""
        measured = self.gpu.records.get((row, condition))
        if measured is None:
            return {}
        self.shown.append(measured)
        median_s, key = measured.median_s, _key("latency", condition)
        if median_s is None:
            self.footnotes[len(self.lines), key] = said(measured.timing)
            return {}
        values: dict[str, Any] = {key: (median_s, measured.half_ci_s)}
        if condition in self.compared:
            values[_key("peak", condition)] = measured.peak_bytes
            bare = self.gpu.records.get((baseline, condition)) if baseline else None
            if baseline and bare is not None and bare.median_s:
                values[_key("ratio", condition)] = median_s / bare.median_s
                self.baselines.append(baseline)
        return values


def _key(what: str, condition: Condition) -> str:
    batch, dtype = condition
    return f"{what} {dtype} {batch}"


def _with_half(value: tuple[float, float | None]) -> str:
    """(0.0123456, 0.0000123456) -> 12.35 ± 0.012, in ms."""
    median_s, half_ci_s = value
    known = milliseconds(median_s)
    return known if half_ci_s is None else f"{known} ± {spread(half_ci_s)}"
