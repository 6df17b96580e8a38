"""Tables of timings: rows, blocks, what blocks add, and columns for the paper's tables."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vidcost.bench.report.table import Cell as Position
from vidcost.bench.report.table import Column, Table, integer, percent
from vidcost.bench.timing import axes
from vidcost.bench.timing.figures import figures, pair_figures
from vidcost.bench.timing.record import PARTS, UNKNOWN, Timing
from vidcost.bench.timing.store import machine_of_all, rows_timed_alike


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


def giga(value: float) -> str:
    """44.7e9 -> 44.7."""
    return f"{value / 1e9:,.1f}"


def ratio_in_words(line: Mapping[str, Any], key: str) -> str | None:
    """1.62 (1.60 to 1.65): a ratio with its interval, of a line's ``key``, _low and _high."""
    ratio, low, high = (line[name] for name in (key, f"{key}_low", f"{key}_high"))
    if ratio is None:
        return None
    interval = f"({low:.2f} to {high:.2f})" if low is not None else "(too few pairs)"
    return f"{ratio:.2f} {interval}"


HALF_INTERVAL = Column("half_ci_s", "±", spread)
STATUS = Column("status", "Status")

_MEASURED = (
    Column("median_s", "Latency, ms", milliseconds),
    HALF_INTERVAL,
    Column("iqr_s", "IQR", spread),
    Column("n", "n", integer),
    Column("precision", "Reached", percent),
    *(Column(f"{part}_s", f"{part}, ms", milliseconds) for part in PARTS),
    Column("clips_per_s", "clips/s", digits),
    Column("macs_per_s", "GMAC/s", giga),
    Column("share_of_matmul", "of matmul", percent),
    Column("peak_bytes", "Peak, MB", megabytes),
    Column("weights_bytes", "Weights", megabytes),
    Column("reserved_bytes", "Reserved", megabytes),
    Column("device_used_bytes", "Device", megabytes),
    Column("rss_peak_bytes", "RSS", megabytes),
    Column("energy_j_per_clip", "J/clip", digits),
)

_ADDED = (
    Column("target_s", "With, ms", milliseconds),
    Column("reference_s", "Without, ms", milliseconds),
    Column("median_s", "Block, ms", milliseconds),
    HALF_INTERVAL,
    Column("added_share", "of the network", percent),
    Column("n", "Pairs", integer),
    Column("added_macs", "MACs of the block", integer),
    Column("added_macs_share", "of the network's", percent),
    Column("s_per_gmac", "ms/GMAC", milliseconds),
    Column("peak_bytes", "Peak with, MB", megabytes),
    Column("added_bytes", "block, MB", megabytes),
)

_BESIDE = (
    Column("median_s", "Latency, ms", milliseconds),
    HALF_INTERVAL,
    Column("n", "n", integer),
    Column("peak_bytes", "Peak memory, MB", megabytes),
)
"""The columns beside those of a paper's table."""

_MEANINGS = {
    "median_s": "Latency: median of n samples, ± half of its 95% confidence interval",
    "precision": "reached: that half over the median",
    "share_of_matmul": "of matmul: MAC/s over those of a large matrix product in the same run",
    "peak_bytes": "peak memory: most that was allocated at once above the weights",
    "reserved_bytes": "reserved: by the process's allocator",
    "device_used_bytes": "device: used by all processes on it",
    "rss_peak_bytes": "RSS: the peak of the whole process",
    "energy_j_per_clip": "energy: of the whole device",
}


def timing_table(timings: Iterable[Timing]) -> Table:
    """Rows and blocks alone with latency, rates and memory; conditions that vary are columns.

    Raises: ValueError if the records are of more than one kind of machine.
    """
    chosen = [timing for timing in timings if timing.cell.against is None]
    lines = list(map(figures, chosen))
    columns = present(lines, _MEASURED)
    return _table("Timings", "Target", chosen, lines, columns, _legend(chosen, columns))


def contribution_table(timings: Iterable[Timing]) -> Table:
    """What blocks add to their networks: latency in pairs, MACs, memory.

    Raises: ValueError if the records are of more than one kind of machine.
    """
    chosen = [timing for timing in timings if timing.cell.is_contribution]
    lines = list(map(pair_figures, chosen))
    legend = (
        "The network with its blocks minus the same without, interleaved: the median of the "
        f"differences of pairs, ± half of its 95% confidence interval, {intervals_of(chosen)}; "
        f"{conditions_in_words(chosen)}. MACs are exact and their difference is too. Memory: "
        "the peak above the weights, and how much higher it is with the blocks; "
        "0 where the peak is elsewhere in the network.",
        machine_in_words(chosen),
    )
    columns = present(lines, _ADDED)
    return _table("What the blocks add", "Row", chosen, lines, columns, legend)


def _table(
    title: str,
    heading: str,
    timings: Sequence[Timing],
    lines: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    legend: Sequence[str],
) -> Table:
    """A line for each timing, with a column for each condition in which they differ."""
    names = axes.varying(timing.cell for timing in timings)
    varying = (Column(name, axes.AXES[name].label, _condition) for name in names)
    return Table(
        title=title,
        columns=(Column("target", heading), *varying, *columns, *present(lines, [STATUS])),
        lines=lines,
        footnotes=failures(lines),
        legend=legend,
    )


def with_timings(table: Table, timings: Iterable[Timing]) -> Table:
    """A table of the paper with columns of latency and memory, and the conditions below.

    Of the conditions that ``timings`` hold, those under which most rows of the table ran once
    through at their own clips. The table is unchanged if no row of it was timed.
    Raises: ValueError if the records are of more than one kind of machine.
    """
    names = dict.fromkeys(line["row"] for line in table.lines)
    chosen = rows_timed_alike(timing for timing in timings if timing.cell.row in names)
    if not chosen:
        return table
    shown = {row: figures(timing) for row, timing in chosen.items()}
    keys = ("median_s", "half_ci_s", "n", "peak_bytes", "rss_peak_bytes")
    lines = [
        {**line, **{key: shown.get(line["row"], {}).get(key) for key in keys}}
        for line in table.lines
    ]
    failed = {
        (index, "median_s"): said(timing)
        for index, line in enumerate(table.lines)
        if (timing := chosen.get(line["row"])) is not None and timing.status != "ok"
    }
    columns = (_BESIDE[0], *present(shown.values(), _BESIDE[1:]))
    missing = dict.fromkeys(
        line["row"] for line in table.lines if line["macs"] and line["row"] not in chosen
    )
    return replace(
        table,
        columns=(*table.columns, *columns),
        lines=lines,
        footnotes={**table.footnotes, **failed},
        legend=(
            *table.legend,
            *_legend(list(chosen.values()), columns),
            *([f"Not timed: `vidcost time {' '.join(missing)}` does it."] if missing else ()),
        ),
    )


def present(lines: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns that have a value in any line; a status of ok is none."""
    filled = {
        key
        for line in lines
        for key, value in line.items()
        if value is not None and (key, value) != ("status", "ok")
    }
    return tuple(column for column in columns if column.key in filled)


def _condition(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def failures(lines: Iterable[Mapping[str, Any]]) -> dict[Position, str]:
    """A footnote for the status of each line that has an error."""
    return {
        (index, "status"): f"{line['status']}: {line['error']}"
        for index, line in enumerate(lines)
        if line["error"]
    }


def said(timing: Timing) -> str:
    """The status of one that failed, and why."""
    return f"{timing.status}: {timing.error}" if timing.error else timing.status


def conditions_in_words(timings: Sequence[Timing]) -> str:
    """The conditions common to all, in words."""
    return axes.in_words(timing.cell for timing in timings)


def intervals_of(timings: Iterable[Timing]) -> str:
    """Whether intervals are of one process or of several, in words."""
    numbers = sorted({max(1, len(timing.processes)) for timing in timings}) or [1]
    if numbers == [1]:
        return "of one process: another may differ by more"
    return f"of {' or '.join(map(str, numbers))} processes, by Student's t over their medians"


def _legend(timings: Sequence[Timing], columns: Sequence[Column]) -> tuple[str, str]:
    """What the columns mean and under which conditions all of it was measured."""
    keys = {column.key for column in columns}
    meant = [
        f"{text}, {intervals_of(timings)}" if key == "median_s" else text
        for key, text in _MEANINGS.items()
        if key in keys
    ]
    conditions = f"Conditions: {conditions_in_words(timings)}."
    return f"{'; '.join(meant)}. {conditions}", machine_in_words(timings)


def machine_in_words(timings: Sequence[Timing]) -> str:
    """The kind of machine of ``timings``, and how many there were of it.

    Raises: ValueError if there are several kinds.
    """
    machine = machine_of_all(timings)
    if machine is None:
        return "Device: not available."
    known = {"driver": machine.driver, "CUDA": machine.cuda, "cuDNN": machine.cudnn}
    versions = [f"{name} {value}" for name, value in known.items() if value != UNKNOWN]
    words = [f"torch {machine.torch}", *versions, f"{machine.cores} CPU cores ({machine.cpu})"]
    machines = [timing.machine for timing in timings if timing.machine is not None]
    units = len({(each.device_uuid, each.host) for each in machines})
    shared = f" {units} such devices shared the work: each measured some of the lines."
    return f"Device: {machine.device}, {', '.join(words)}.{shared if units > 1 else ''}"
