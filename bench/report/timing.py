"""Tables of timings: rows, blocks, what blocks add, and columns for the paper's tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from vidcost.bench.report.table import Cell as Position
from vidcost.bench.report.table import Column, Table, integer
from vidcost.bench.timing import axes
from vidcost.bench.timing.figures import PARTS, contribution_figures, figures
from vidcost.bench.timing.kinds import machine_of_all, rows_timed_alike
from vidcost.bench.timing.record import Machine, Timing


class Result(Protocol):
    """What has a status: a timing, or a line of a comparison."""

    @property
    def status(self) -> str: ...

    @property
    def error(self) -> str: ...


def digits(value: float, significant: int = 4) -> str:
    """So many significant digits, and all that stand before the point."""
    before = math.floor(math.log10(abs(value))) + 1 if value else 1
    return f"{value:,.{max(0, significant - before)}f}"


def milliseconds(value: float) -> str:
    """0.0123456 -> 12.35: four digits, and all that stand before the point."""
    return digits(value * 1e3)


def spread(value: float) -> str:
    """0.0000123456 -> 0.012: two digits, and all that stand before the point."""
    return digits(value * 1e3, 2)


def megabytes(value: int) -> str:
    """61014016 -> 61.0."""
    return f"{value / 1e6:,.1f}"


def percent(value: float) -> str:
    """0.01234 -> 1.2%."""
    return f"{value:.1%}"


def ratio_in_words(line: Mapping[str, Any], key: str) -> str | None:
    """1.62 (1.60 to 1.65): a ratio with its interval, of a line's ``key``, _low and _high."""
    ratio, low, high = (line[name] for name in (key, f"{key}_low", f"{key}_high"))
    if ratio is None:
        return None
    interval = f"({low:.2f} to {high:.2f})" if low is not None else "(too few pairs)"
    return f"{ratio:.2f} {interval}"


def giga(value: float) -> str:
    """44.7e9 -> 44.7."""
    return f"{value / 1e9:,.1f}"


_LATENCY = (
    Column("median_s", "Latency, ms", milliseconds),
    Column("half_ci_s", "±", spread),
    Column("iqr_s", "IQR", spread),
    Column("n", "n", integer),
    Column("precision", "Reached", percent),
)
_STEP = tuple(Column(f"{part}_s", f"{part}, ms", milliseconds) for part in PARTS)
_RATES = (
    Column("clips_per_s", "clips/s", digits),
    Column("macs_per_s", "GMAC/s", giga),
    Column("share_of_matmul", "of matmul", percent),
    Column("share_of_data_sheet", "of data sheet", percent),
)
_MEMORY = (
    Column("peak_bytes", "Peak, MB", megabytes),
    Column("weights_bytes", "Weights", megabytes),
    Column("reserved_bytes", "Reserved", megabytes),
    Column("nvml_used_bytes", "NVML", megabytes),
    Column("rss_peak_bytes", "RSS", megabytes),
)
_ENERGY = (Column("energy_j_per_clip", "J/clip", digits),)
_STATUS = (Column("shown_status", "Status"),)


def timing_table(timings: Iterable[Timing]) -> Table:
    """Rows and blocks alone with latency, rates and memory; conditions that vary are columns.

    Raises: ValueError if the records are of more than one kind of machine.
    """
    chosen, lines, machine = _shown(timings, figures, contribution=False)
    varying = varying_columns(chosen)
    measured = present(lines, (*_LATENCY, *_STEP, *_RATES, *_MEMORY, *_ENERGY))
    return Table(
        title="Timings",
        columns=(Column("target", "Target"), *varying, *measured, *present(lines, _STATUS)),
        lines=lines,
        footnotes=errors(chosen),
        legend=_legend(machine, chosen, measured),
    )


def contribution_table(timings: Iterable[Timing]) -> Table:
    """What blocks add to their networks: latency in pairs, MACs, memory.

    Raises: ValueError if the records are of more than one kind of machine.
    """
    chosen, lines, machine = _shown(timings, contribution_figures, contribution=True)
    columns = (
        Column("with_s", "With, ms", milliseconds),
        Column("without_s", "Without, ms", milliseconds),
        Column("median_s", "Block, ms", milliseconds),
        Column("half_ci_s", "±", spread),
        Column("share_of_network", "of the network", percent),
        Column("n", "Pairs", integer),
        Column("macs", "MACs of the block", integer),
        Column("macs_share", "of the network's", percent),
        Column("s_per_gmac", "ms/GMAC", milliseconds),
        Column("peak_bytes", "Peak with, MB", megabytes),
        Column("block_bytes", "block, MB", megabytes),
    )
    measured = present(lines, columns)
    return Table(
        title="What the blocks add",
        columns=(
            Column("target", "Row"),
            *varying_columns(chosen),
            *measured,
            *present(lines, _STATUS),
        ),
        lines=lines,
        footnotes=errors(chosen),
        legend=(
            "The network with its blocks minus the same without, interleaved: the median of the "
            "differences of pairs, ± half of its 95% confidence interval; "
            f"{conditions_in_words(chosen)}. MACs are exact and their difference is too. Memory: "
            "the peak above the weights, and how much higher it is with the blocks; "
            "0 where the peak is elsewhere in the network.",
            machine_in_words(machine, chosen),
        ),
    )


def _shown(
    timings: Iterable[Timing], figures_of: Callable[[Timing], dict[str, Any]], *, contribution: bool
) -> tuple[list[Timing], list[dict[str, Any]], Machine | None]:
    """The timings that are contributions, or alone, their figures, and the machine of all."""
    every = list(timings)
    chosen = [
        timing
        for timing in every
        if timing.cell.contribution == contribution and timing.cell.against is None
    ]
    return chosen, list(map(figures_of, chosen)), machine_of_all(every)


def with_timings(table: Table, timings: Iterable[Timing]) -> Table:
    """A table of the paper with columns of latency and memory, and the conditions below.

    Of the conditions that ``timings`` hold, those under which most rows of the table ran once
    through at their own clips. The table is unchanged if no row of it was timed.
    Raises: ValueError if the records are of more than one kind of machine.
    """
    rows = {line["row"] for line in table.lines}
    chosen = rows_timed_alike(timing for timing in timings if timing.cell.row in rows)
    if not chosen:
        return table
    machine = machine_of_all(chosen.values())
    shown = {row: figures(timing) for row, timing in chosen.items()}
    keys = ("median_s", "half_ci_s", "n", "peak_bytes", "rss_peak_bytes")
    columns = (
        _LATENCY[0],
        *present(
            shown.values(),
            (
                Column("half_ci_s", "±", spread),
                Column("n", "n", integer),
                Column("peak_bytes", "Peak memory, MB", megabytes),
            ),
        ),
    )
    lines = [
        {**line, **{key: shown.get(line["row"], {}).get(key) for key in keys}}
        for line in table.lines
    ]
    footnotes = dict(table.footnotes)
    for index, line in enumerate(table.lines):
        failed = chosen.get(line["row"])
        if failed is not None and failed.status != "ok":
            footnotes[index, "median_s"] = said(failed)
    return replace(
        table,
        columns=(*table.columns, *columns),
        lines=lines,
        footnotes=footnotes,
        legend=(
            *table.legend,
            *_legend(machine, list(chosen.values()), columns),
            *_not_timed(table, chosen),
        ),
    )


def present(lines: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns that say something."""
    filled = {key for line in lines for key, value in line.items() if value is not None}
    return tuple(column for column in columns if column.key in filled)


def varying_columns(timings: Sequence[Timing]) -> tuple[Column, ...]:
    """A column for each condition in which ``timings`` differ."""
    names = axes.varying(timing.cell for timing in timings)
    return tuple(Column(name, axes.AXES[name].label, _condition) for name in names)


def _condition(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def errors(timings: Iterable[Result], *, first: int = 0) -> dict[Position, str]:
    """A footnote for the status of each that failed; ``first`` is the line of the first one."""
    return {
        (index, "shown_status"): said(timing)
        for index, timing in enumerate(timings, start=first)
        if timing.status != "ok"
    }


def said(timing: Result) -> str:
    """The status of one that failed, and why."""
    return f"{timing.status}: {timing.error}" if timing.error else timing.status


def conditions_in_words(timings: Sequence[Timing]) -> str:
    """The conditions common to all, in words."""
    return axes.in_words(timing.cell for timing in timings)


def _legend(
    machine: Machine | None, timings: Sequence[Timing], columns: Sequence[Column]
) -> tuple[str, ...]:
    """What the columns mean and under which conditions all of it was measured."""
    meanings = {
        "median_s": "Latency: median of n samples, ± half of its 95% confidence interval",
        "precision": "reached: that half over the median",
        "share_of_matmul": "of matmul: MAC/s over those of a large matrix product in the same run",
        "share_of_data_sheet": "of data sheet: MAC/s over the dense peak the maker gives",
        "peak_bytes": "peak memory: most that was allocated at once above the weights",
        "rss_peak_bytes": "RSS: the peak of the whole process",
    }
    keys = {column.key for column in columns}
    meant = "; ".join(text for key, text in meanings.items() if key in keys)
    return (
        f"{meant}. Conditions: {conditions_in_words(timings)}.",
        machine_in_words(machine, timings),
    )


def machine_in_words(machine: Machine | None, timings: Sequence[Timing]) -> str:
    """The machine, and how many there were of it, as ``timings`` say."""
    if machine is None:
        return "Device: not available."
    known = {
        "driver": machine.driver,
        "CUDA": machine.cuda,
        "cuDNN": machine.cudnn,
    }
    versions = [f"{name} {value}" for name, value in known.items() if value != "not available"]
    words = [f"torch {machine.torch}", *versions, f"{machine.cores} CPU cores ({machine.cpu})"]
    return f"Device: {machine.device}, {', '.join(words)}.{_units(timings)}"


def _units(timings: Iterable[Timing]) -> str:
    """That machines of one kind shared the work, if there were several."""
    machines = [timing.machine for timing in timings if timing.machine is not None]
    units = {(each.device_uuid, each.host, each.node) for each in machines}
    if len(units) < 2:
        return ""
    return f" {len(units)} such devices shared the work: each measured some of the lines."


def _not_timed(table: Table, timed: Mapping[str, Timing]) -> list[str]:
    """The rows of the table that could be timed and were not."""
    names = [line["row"] for line in table.lines if line["macs"] and line["row"] not in timed]
    if not names:
        return []
    return [f"Not timed: `vidcost time {' '.join(dict.fromkeys(names))}` does it."]
