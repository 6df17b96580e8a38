"""Tables of timings: rows, blocks and what they add, implementations, a paper's rows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from vidcost.bench.inspection.comparison import PLAIN
from vidcost.bench.report.table import (
    Cell,
    Column,
    Format,
    Table,
    checked,
    compact,
    integer,
    percent,
    words,
)
from vidcost.bench.timing import cell as timed
from vidcost.bench.timing.cell import AXES, Conditions, in_words, varying
from vidcost.bench.timing.figures import FEWEST, figures, pair_figures
from vidcost.bench.timing.record import PARTS, UNKNOWN, Machine, Timing
from vidcost.bench.timing.store import machine_of_all, stored_by_device

TYPES: tuple[timed.Dtype, ...] = ("fp32", "tf32", "bf16")


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


HALF_INTERVAL = Column("half_ci_s", "±", spread)
STATUS = Column("status", "Status")

_MEASURED = (
    Column("median_s", "Latency, ms", milliseconds),
    HALF_INTERVAL,
    Column("shown_n", "n", str),
    Column("precision", "Reached", percent),
    *(Column(f"{part}_s", f"{part}, ms", milliseconds) for part in PARTS),
    Column("clips_per_s", "clips/s", digits),
    Column("macs_per_s", "GMAC/s", lambda value: f"{value / 1e9:,.1f}"),
    Column("peak_bytes", "Peak, MB", megabytes),
    Column("weights_bytes", "Weights", megabytes),
    Column("energy_j_per_clip", "J/clip", digits),
)


def _signed(form: Format) -> Format:
    """The same format with a sign before every number."""
    return lambda value: f"{'+' if value >= 0 else '-'}{form(abs(value))}"


_COMPARED = (
    Column("macs", "MACs", compact, integer),
    Column("added_macs", "added", _signed(compact), _signed(integer)),
    Column("target_s", "Latency, ms", milliseconds),
    Column("reference_s", "Without, ms", milliseconds),
    Column("median_s", "added", _signed(milliseconds)),
    HALF_INTERVAL,
    Column("shown_ratio", "Ratio", str),
    Column("shown_n", "Pairs", str),
    Column("not_separated", "Not separated from", words),
    Column("params", "Params", compact, integer),
    Column("peak_bytes", "Peak, MB", megabytes),
    Column("added_bytes", "added", _signed(megabytes)),
    Column("added_params", "Params added", _signed(integer), is_wide=True),
    Column("closed_forms", "Closed forms met", checked, is_wide=True),
    Column("s_per_gmac", "ms/GMAC", milliseconds, is_wide=True),
    STATUS,
)

BATCH = 8


MARKS = "~: the warm-up had not settled; few: under six, too few for an interval."


def marked(timing: Timing, n: int | None) -> str | None:
    """The number of samples, with what a reader must know of them."""
    if n is None:
        return None
    unsettled = timing.protocol is not None and not timing.protocol.settled
    return f"{n:,}{' few' if n < FEWEST else ''}{' ~' if unsettled else ''}"


def when(timings: Iterable[Timing], since: str) -> str:
    """Whether timings were measured ``since`` a moment, or stored before; nothing without one."""
    earlier = sorted(each.started for each in timings if each.started and each.started < since)
    if not earlier:
        return "Measured now." if since else ""
    first, last = (text[:16].replace("T", " ") for text in (earlier[0], earlier[-1]))
    return f"{len(earlier)} stored, {first} to {last} UTC; the others were measured now."


def timing_table(timings: Iterable[Timing], *, since: str = "") -> Table:
    """Rows and blocks alone with latency, rates and memory; conditions that vary are columns.

    ``since`` is when the command began, as in records: what is older was stored.
    Raises: ValueError if the records are of more than one kind of machine.
    """
    chosen = [timing for timing in timings if timing.cell.against is None]
    lines = list(map(figures, chosen))
    for line, timing in zip(lines, chosen, strict=True):
        line["shown_n"] = marked(timing, line["n"])
    legend = (
        f"Latency: median of n samples, ± half of its 95% confidence interval, "
        f"{intervals_of(chosen)}; reached: that half over the median. Peak: most that was "
        "allocated at once above the weights. Energy: of the whole device. Conditions: "
        f"{in_words(t.cell for t in chosen)}."
    )
    names = varying(timing.cell for timing in chosen)
    apart = (Column(name, AXES[name].label, condition) for name in names)
    return Table(
        title="Timings",
        columns=(Column("target", "Target"), *apart, *present(lines, [*_MEASURED, STATUS])),
        lines=lines,
        footnotes=failures(lines),
        legend=(f"{legend} {MARKS} {when(chosen, since)}", machine_of_timings(chosen)),
    )


def is_of_implementations(timing: Timing) -> bool:
    """Whether it is an optimized block that was timed interleaved with the reference."""
    other = timing.cell.against
    return timing.cell.block is not None and other is not None and other.block is not None


def pair_table(timings: Iterable[Timing], *, since: str = "") -> Table:
    """Contributions, or implementations of blocks: each beside what it was interleaved with.

    Raises: ValueError if the records are of more than one kind of machine.
    """
    chosen = [timing for timing in timings if timing.cell.against is not None]
    of_blocks = all(map(is_of_implementations, chosen))
    lines = []
    for timing in chosen:
        cell, line = timing.cell, pair_figures(timing)
        line["name"] = cell.against.target if of_blocks and cell.against else cell.target
        line |= {"macs": timing.macs_total, "shown_n": marked(timing, line["n"])}
        if line["ratio_low"] is not None:
            interval = f"({line['ratio_low']:.2f} to {line['ratio_high']:.2f})"
            line["shown_ratio"] = f"{line['ratio']:.2f} {interval}"
        lines.append(line)
    title = "Implementations of blocks: optimized, and without"
    title = title if of_blocks else "What the blocks add"
    cells = [each.cell for each in chosen]
    return compare_table(lines, cells, chosen, title=title, since=since)


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
            parts += [f"## {device}, {in_words(t.cell for t in taken)}\n", table.wide().markdown()]
    return "\n".join(parts)


def compare_table(
    lines: Sequence[Mapping[str, Any]],
    cells: Sequence[timed.Cell],
    timings: Sequence[Timing],
    *,
    title: str,
    since: str = "",
) -> Table:
    """Networks or blocks beside each other: a line for each, with what it adds to its reference.

    Raises: ValueError if the timings are of more than one kind of machine.
    """
    names = varying(cells)
    columns = (
        Column("name", "Block" if any(each.block or each.blocks for each in cells) else "Network"),
        *(Column(name, AXES[name].label, condition) for name in names),
        *present(lines, _COMPARED),
    )
    legend = [
        *sentences(lines, names),
        "MACs: multiply-accumulates, exact, of one pass; added: above the first or without.",
    ]
    if done := [timing for timing in timings if timing.status == "ok"]:
        legend += [
            "Latency: median. Added: median of the differences of pairs of passes, all "
            f"interleaved, ± half of its 95% confidence interval, {intervals_of(done)}. Ratio: of "
            "pairs, below 1 if faster. Not separated from: the intervals overlap. Peak: most that "
            "was allocated at once above the weights. Conditions: "
            f"{in_words(t.cell for t in done)}. {MARKS} {when(done, since)}",
            machine_of_timings(done),
        ]
    return Table(title, columns, lines, footnotes=failures(lines), legend=legend)


def sentences(lines: Sequence[Mapping[str, Any]], varying: Sequence[str] = ()) -> list[str]:
    """What was found of each network's latency beside that of the first, in a sentence."""
    said = []
    for line in lines:
        if line.get("against_name") is None or line.get("n") is None:
            continue
        other = "no block" if line["against_name"] == PLAIN else line["against_name"]
        where = ", ".join(f"{AXES[name].label.lower()} {line[name]}" for name in varying)
        ratio, low, high = (line[key] for key in ("ratio", "ratio_low", "ratio_high"))
        if ratio is None:
            words = f"{line['name']} and {other}: too few pairs for a figure ({line['n']})"
        elif low <= 1 <= high:
            interval = f"{ratio:.2f}x ({low:.2f} to {high:.2f})"
            words = f"No difference between {line['name']} and {other} was found: {interval}"
        else:
            known = (ratio, low, high) if low > 1 else (1 / ratio, 1 / high, 1 / low)
            interval = "{:.2f}x ({:.2f} to {:.2f})".format(*known)
            how = "slower" if low > 1 else "faster"
            words = f"{line['name']} is {interval} {how} than {other}"
        said.append(f"{words}{f' at {where}' if where else ''}.")
    return said


def with_timings(table: Table, timings: Sequence[Timing]) -> Table:
    """A paper's ``table`` with what one device took for its rows by default, but for the type."""
    lines = [dict(line) for line in table.lines]
    rows = {line["row"] for line in lines}
    shown = [
        each
        for dtype, each in product(TYPES, timings)
        if each.cell.row in rows and is_row_by_default(each, dtype)
    ]
    columns: dict[str, Column] = {}
    footnotes = dict(table.footnotes)
    for each in shown:
        found, key = figures(each), f"{machine_of_timings([each])} {each.cell.dtype}"
        columns[key] = Column(key, f"{each.cell.dtype}, ms", _interval)
        columns[f"{key} peak"] = Column(f"{key} peak", "Peak, MB", megabytes)
        for index, line in enumerate(lines):
            if line["row"] != each.cell.row:
                continue
            if each.status == "ok":
                line[key] = found["median_s"], found["half_ci_s"]
                line[f"{key} peak"] = found["peak_bytes"]
            else:
                footnotes[index, key] = f"{each.status}: {each.error}"
    if not shown:
        return table
    legend = (
        f"ms: median of one pass ± half of its 95% confidence interval, {intervals_of(shown)}. "
        "Peak: most that was allocated at once above the weights. fp32: TF32 off; tf32: fp32 data, "
        "TF32 products; bf16: weights and data. Conditions: "
        f"{in_words(each.cell for each in shown)}. {machine_of_timings(shown)}"
    )
    return replace(
        table,
        columns=(*table.columns, *columns.values()),
        lines=lines,
        footnotes=footnotes,
        legend=(*table.legend, legend),
    )


def with_gpu_timings(table: Table, results: Path) -> Table:
    """``table`` with what each GPU took for its rows, as stored in the results folder."""
    for timings in stored_by_device(results).values():
        table = with_timings(table, [each for each in timings if each.cell.device != "cpu"])
    return table


def _interval(value: tuple[float, float | None]) -> str:
    """(0.0123456, 0.0000123456) -> 12.35 ± 0.012, in ms."""
    median_s, half_ci_s = value
    return milliseconds(median_s) + (f" ± {spread(half_ci_s)}" if half_ci_s is not None else "")


def is_row_by_default(timing: Timing, dtype: timed.Dtype = "fp32") -> bool:
    """Whether a row was timed as it stands, under the conditions of a paper's tables."""
    cell = timing.cell
    batch = 1 if cell.device == "cpu" else BATCH
    default = Conditions(batch=batch, threads=cell.threads, dtype=dtype)
    is_default = all(getattr(cell, name) == getattr(default, name) for name in AXES)
    return cell.is_row_itself and cell.against is None and is_default


def present(lines: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns that have a value in any line; a status of ok is none."""
    filled = {
        key
        for line in lines
        for key, value in line.items()
        if value is not None and (key, value) != ("status", "ok")
    }
    return tuple(column for column in columns if column.key in filled)


def condition(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def failures(lines: Iterable[Mapping[str, Any]]) -> dict[Cell, str]:
    """A footnote for the status of each line that has an error."""
    return {
        (index, "status"): f"{line['status']}: {line['error']}"
        for index, line in enumerate(lines)
        if line["error"]
    }


def intervals_of(timings: Iterable[Timing]) -> str:
    """Whether intervals are of one process or of several, in words."""
    numbers = sorted({max(1, len(timing.processes)) for timing in timings}) or [1]
    if numbers == [1]:
        return "of one process: another may differ by more"
    return f"of {' or '.join(map(str, numbers))} processes, by Student's t over their medians"


def machine_of_timings(timings: Sequence[Timing]) -> str:
    """The kind of machine of ``timings``.

    Raises: ValueError if there are several kinds.
    """
    machine = machine_of_all(timings)
    if machine is None:
        return "Device: not available."
    return machine_in_words(machine)


def machine_in_words(machine: Machine) -> str:
    """Device, versions and CPU cores."""
    known = {"driver": machine.driver, "CUDA": machine.cuda, "cuDNN": machine.cudnn}
    versions = [f"{name} {value}" for name, value in known.items() if value != UNKNOWN]
    cores = f"{machine.cores} CPU cores{f' ({machine.cpu})' * (machine.cpu != machine.device)}"
    return f"Device: {', '.join([machine.device, f'torch {machine.torch}', *versions, cores])}."
