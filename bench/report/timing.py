"""Tables of timings: rows, blocks and what they add, implementations, a paper's rows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from vidcost.bench.inspection.comparison import PLAIN
from vidcost.bench.report.table import (
    Cell,
    Column,
    Format,
    Table,
    billions,
    checked,
    compact,
    integer,
    percent,
    words,
)
from vidcost.bench.timing.cell import AXES, Conditions, Dtype, in_words, varying
from vidcost.bench.timing.figures import figures, pair_figures
from vidcost.bench.timing.record import PARTS, UNKNOWN, Machine, Timing
from vidcost.bench.timing.store import machine_of_all


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


HALF_INTERVAL = Column("half_ci_s", "±", spread)
STATUS = Column("status", "Status")

_MEASURED = (
    Column("median_s", "Latency, ms", milliseconds),
    HALF_INTERVAL,
    Column("n", "n", integer),
    Column("precision", "Reached", percent),
    *(Column(f"{part}_s", f"{part}, ms", milliseconds) for part in PARTS),
    Column("clips_per_s", "clips/s", digits),
    Column("macs_per_s", "GMAC/s", giga),
    Column("peak_bytes", "Peak, MB", megabytes),
    Column("weights_bytes", "Weights", megabytes),
    Column("reserved_bytes", "Reserved", megabytes),
    Column("device_used_bytes", "Device", megabytes),
    Column("rss_peak_bytes", "RSS", megabytes),
    Column("energy_j_per_clip", "J/clip", digits),
)


def _signed(form: Format) -> Format:
    """The same format with a sign before every number."""
    return lambda value: f"{'+' if value >= 0 else '-'}{form(abs(value))}"


_PAIRED = (
    Column("target_s", "With, ms", milliseconds),
    Column("reference_s", "Without, ms", milliseconds),
    Column("median_s", "Added, ms", _signed(milliseconds)),
    HALF_INTERVAL,
    Column("shown_ratio", "Ratio", str),
    Column("n", "Pairs", integer),
    Column("added_macs", "Added MACs", _signed(compact), _signed(integer)),
    Column("peak_bytes", "Peak, MB", megabytes),
    Column("added_bytes", "added", _signed(megabytes)),
    Column("s_per_gmac", "ms/GMAC", milliseconds, is_wide=True),
    Column("macs_total", "MACs with", compact, integer, is_wide=True),
)
_PAIR_LEGEND = (
    "{what}, interleaved; {conditions}. Added: the median of the differences of pairs, ± half of "
    "its 95% confidence interval, {intervals}. Ratio: of pairs, with its interval, below 1 if the "
    "first is faster. Peak: the most that was allocated at once above the weights, and how much "
    "more that is than without. MACs are exact."
)

_BLOCKS = (
    Column("params", "Params", integer),
    Column("added_params", "added", _signed(integer)),
    Column("macs", "MACs", billions),
    Column("added_macs", "added", _signed(billions)),
    Column("fvcore", "fvcore", billions),
    Column("closed_forms", "Closed forms met", checked),
    Column("latency_s", "Latency, ms", milliseconds),
    Column("added_s", "added", _signed(milliseconds)),
    HALF_INTERVAL,
    Column("pairs", "Pairs", integer),
    Column("not_separated", "Not separated from", words),
    Column("peak_bytes", "Peak, MB", megabytes),
    Column("added_peak_bytes", "added", _signed(megabytes)),
    STATUS,
)

BATCH = 8
_DTYPES: Mapping[Dtype, str] = {
    "fp32": "fp32: TF32 off",
    "tf32": "tf32: fp32 data, TF32 products",
    "bf16": "bf16: weights and data",
}

_MEANINGS = {
    "median_s": "Latency: median of n samples, ± half of its 95% confidence interval, {intervals}",
    "precision": "reached: that half over the median",
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
    keys = {column.key for column in present(lines, _MEASURED)}
    meant = "; ".join(text for key, text in _MEANINGS.items() if key in keys)
    legend = f"{meant.format(intervals=intervals_of(chosen))}. "
    legend += f"Conditions: {conditions_in_words(chosen)}."
    return _table("Timings", "Target", chosen, lines, _MEASURED, legend)


def _table(
    title: str,
    heading: str,
    timings: Sequence[Timing],
    lines: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    legend: str,
) -> Table:
    """A line for each timing, with a column for each condition in which they differ."""
    names = varying(timing.cell for timing in timings)
    apart = (Column(name, AXES[name].label, _condition) for name in names)
    return Table(
        title=title,
        columns=(Column("target", heading), *apart, *present(lines, [*columns, STATUS])),
        lines=lines,
        footnotes=failures(lines),
        legend=(legend, machine_of_timings(timings)),
    )


def is_of_implementations(timing: Timing) -> bool:
    """Whether it is an optimized block that was timed interleaved with the reference."""
    other = timing.cell.against
    return timing.cell.block is not None and other is not None and other.block is not None


def pair_table(timings: Iterable[Timing]) -> Table:
    """Cells beside those they were interleaved with: latency in pairs, MACs, memory.

    Contributions, or implementations of blocks.
    Raises: ValueError if the records are of more than one kind of machine.
    """
    chosen = [timing for timing in timings if timing.cell.against is not None]
    of_blocks = all(map(is_of_implementations, chosen))
    lines = [pair_figures(timing) for timing in chosen]
    for line, timing in zip(lines, chosen, strict=True):
        if of_blocks and timing.cell.against:
            line["target"] = timing.cell.against.target
        if line["ratio_low"] is not None:
            interval = f"({line['ratio_low']:.2f} to {line['ratio_high']:.2f})"
            line["shown_ratio"] = f"{line['ratio']:.2f} {interval}"
    title, what = "What the blocks add", "The network with its blocks and without"
    if of_blocks:
        title, what = "Implementations of blocks", "With: the optimized one; without: the reference"
    legend = _PAIR_LEGEND.format(
        what=what, conditions=conditions_in_words(chosen), intervals=intervals_of(chosen)
    )
    return _table(title, "Target", chosen, lines, _PAIRED, legend)


_INTRODUCTION = """\
# Two implementations of each block

[docs/implementations.md](../docs/implementations.md) says what each block optimizes.
"""


def blocks_markdown(devices: Mapping[str, Iterable[Timing]]) -> str:
    """The document results/blocks.md: a table for each device, by name, and conditions."""
    parts = [_INTRODUCTION]
    for device, timings in devices.items():
        alike: dict[str, list[Timing]] = {}
        for timing in filter(is_of_implementations, timings):
            conditions = timing.cell.model_dump_json(include=set(AXES) - {"phase"})
            alike.setdefault(conditions, []).append(timing)
        for taken in alike.values():
            table = pair_table(sorted(taken, key=lambda each: math.prod(each.cell.shape or ())))
            parts += [f"## {device}, {conditions_in_words(taken)}\n", table.wide().markdown()]
    return "\n".join(parts)


def compare_table(
    lines: Sequence[Mapping[str, Any]],
    timings: Sequence[Timing],
    *,
    where: str,
    axis: str | None,
) -> Table:
    """Blocks in one network: one line for each block, after the network without any.

    ``where`` names network and positions; ``axis`` the dimension of the clip that was swept.
    Raises: ValueError if the timings are of more than one kind of machine.
    """
    columns = (
        *((Column(axis, axis.capitalize(), integer),) if axis else ()),
        Column("block", "Block"),
        *present(lines, _BLOCKS),
    )
    legend = [
        "MACs: multiply-accumulates, exact, of one forward pass; added: above the network without "
        "any block; fvcore: as it prints. Closed forms met: modules whose `cost(shape)` the count "
        "equals; not checked: no module has one."
    ]
    if any(each.get("pairs") for each in lines):
        done = [timing for timing in timings if timing.status == "ok"]
        legend += [
            "Latency: median. Added: median of the differences of pairs of passes, with the block "
            f"and without, interleaved, ± half of its 95% confidence interval, "
            f"{intervals_of(done)}. Not separated from: the intervals overlap, so these data do "
            f"not tell which costs more; {PLAIN}: nor that it costs anything.",
            "Peak: most that was allocated at once above the weights. Conditions: "
            f"{conditions_in_words(done)}.",
            machine_of_timings(done),
        ]
    return Table(f"Blocks in {where}", columns, lines, footnotes=failures(lines), legend=legend)


def with_timings(table: Table, timings: Sequence[Timing]) -> Table:
    """A paper's ``table`` with what one device took for its rows; as it is if for none.

    Rows as they stand, one clip on a CPU and a batch of :data:`BATCH` on a GPU, all other
    conditions by default.
    """
    rows = {line["row"] for line in table.lines}
    shown = [each for each in timings if _is_shown(each) and each.cell.row in rows]
    dtypes = [each for each in _DTYPES if any(each == timing.cell.dtype for timing in shown)]
    if not dtypes:
        return table
    records = {(each.cell.row, each.cell.dtype): each for each in shown}
    lines = [dict(line) for line in table.lines]
    footnotes = dict(table.footnotes)
    device = machine.device if (machine := machine_of_all(shown)) else UNKNOWN
    for (index, line), dtype in product(enumerate(lines), dtypes):
        timing = records.get((line["row"], dtype))
        if timing is not None and timing.status != "ok":
            footnotes[index, f"{device} {dtype}"] = f"{timing.status}: {timing.error}"
        elif timing is not None:
            found = figures(timing)
            line[f"{device} {dtype}"] = (found["median_s"], found["half_ci_s"])
            line[f"{device} {dtype} peak"] = found["peak_bytes"]
    columns = (
        *(Column(f"{device} {each}", f"{each}, ms", _interval) for each in dtypes),
        *(Column(f"{device} {each} peak", f"Peak {each}, MB", megabytes) for each in dtypes),
    )
    legend = (
        f"ms: median of one pass ± half of its 95% confidence interval, {intervals_of(shown)}. "
        "Peak: most that was allocated at once above the weights. "
        f"{'; '.join(_DTYPES[each] for each in dtypes)}. Conditions: {conditions_in_words(shown)}. "
        f"{machine_of_timings(shown)}"
    )
    return replace(
        table,
        columns=(*table.columns, *columns),
        lines=lines,
        footnotes=footnotes,
        legend=(*table.legend, legend),
    )


def _is_shown(timing: Timing) -> bool:
    cell, default = timing.cell, Conditions()
    free = ("batch", "dtype", "threads")
    return (
        cell.is_row_itself
        and cell.against is None
        and cell.batch == (1 if cell.device == "cpu" else BATCH)
        and cell.dtype in _DTYPES
        and all(getattr(cell, n) == getattr(default, n) for n in AXES if n not in free)
    )


def _interval(value: tuple[float, float | None]) -> str:
    """(0.0123456, 0.0000123456) -> 12.35 ± 0.012, in ms."""
    median_s, half_ci_s = value
    known = milliseconds(median_s)
    return known if half_ci_s is None else f"{known} ± {spread(half_ci_s)}"


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


def failures(lines: Iterable[Mapping[str, Any]]) -> dict[Cell, str]:
    """A footnote for the status of each line that has an error."""
    return {
        (index, "status"): f"{line['status']}: {line['error']}"
        for index, line in enumerate(lines)
        if line["error"]
    }


def conditions_in_words(timings: Sequence[Timing]) -> str:
    """The conditions common to all, in words."""
    return in_words(timing.cell for timing in timings)


def intervals_of(timings: Iterable[Timing]) -> str:
    """Whether intervals are of one process or of several, in words."""
    numbers = sorted({max(1, len(timing.processes)) for timing in timings}) or [1]
    if numbers == [1]:
        return "of one process: another may differ by more"
    return f"of {' or '.join(map(str, numbers))} processes, by Student's t over their medians"


def machine_of_timings(timings: Sequence[Timing]) -> str:
    """The kind of machine of ``timings``, and how many there were of it.

    Raises: ValueError if there are several kinds.
    """
    machine = machine_of_all(timings)
    if machine is None:
        return "Device: not available."
    machines = [timing.machine for timing in timings if timing.machine is not None]
    units = len({(each.device_uuid, each.host) for each in machines})
    shared = f" {units} such devices shared the work: each measured some of the lines."
    return machine_in_words(machine) + (shared if units > 1 else "")


def machine_in_words(machine: Machine) -> str:
    """Device, versions and CPU cores."""
    known = {"driver": machine.driver, "CUDA": machine.cuda, "cuDNN": machine.cudnn}
    versions = [f"{name} {value}" for name, value in known.items() if value != UNKNOWN]
    cores = f"{machine.cores} CPU cores ({machine.cpu})"
    return f"Device: {', '.join([machine.device, f'torch {machine.torch}', *versions, cores])}."
