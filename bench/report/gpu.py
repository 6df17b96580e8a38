"""Latency and memory of a paper's rows on one GPU, under several data types."""

from collections.abc import Iterable, Sequence
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
from vidcost.bench.timing.record import Timing

BATCH = 8
DTYPES: dict[Dtype, str] = {
    "fp32": "fp32: TF32 off",
    "tf32": "tf32: fp32 data, TF32 products",
    "bf16": "bf16: weights and data",
}


def gpu_table(tables: Sequence[Table], timings: Iterable[Timing]) -> Table | None:
    """The lines of a paper's ``tables`` with what one GPU took for them; None if for none.

    Rows as they stand, a batch of :data:`BATCH`, all other conditions by default. Of one row and
    type the latest record counts.
    """
    latest = sorted(filter(_is_shown, timings), key=lambda timing: timing.started)
    records: dict[Any, Timing] = {(each.cell.row, each.cell.dtype): each for each in latest}
    names = [line["row"] for table in tables for line in table.lines]
    dtypes = [each for each in DTYPES if any((name, each) in records for name in names)]
    if not dtypes:
        return None
    lines: list[dict[str, Any]] = []
    footnotes: dict[Position, str] = {}
    for table in tables:
        for index, line in enumerate(table.lines):
            notes = {key: table.footnotes.get((index, key)) for key in ("method", "macs")}
            footnotes |= {(len(lines), key): note for key, note in notes.items() if note}
            made = {key: line[key] for key in ("table", "method", "row", "macs")}
            for dtype in dtypes:
                timing = records.get((line["row"], dtype))
                if timing is not None and timing.status != "ok":
                    footnotes[len(lines), f"latency_{dtype}"] = said(timing)
                elif timing is not None:
                    found = figures(timing)
                    made[f"latency_{dtype}"] = (found["median_s"], found["half_ci_s"])
                    made[f"peak_{dtype}"] = found["peak_bytes"]
            lines.append(made)
    shown = [timing for (name, _), timing in records.items() if name in names]
    device = next(timing.machine.device for timing in shown if timing.machine)
    return Table(
        title=f"Tables {', '.join(str(table.lines[0]['table']) for table in tables)} on {device}",
        columns=(
            Column("table", "Table"),
            Column("method", "Method"),
            Column("macs", "MACs", billions),
            *(Column(f"latency_{each}", f"{each}, ms", _interval) for each in dtypes),
            *(Column(f"peak_{each}", f"Peak {each}, MB", megabytes) for each in dtypes),
        ),
        lines=lines,
        footnotes=footnotes,
        legend=(
            f"MACs: exact, of one clip. Latency: median of one pass of a batch of {BATCH} ± half "
            f"of its 95% confidence interval, {intervals_of(shown)}. Peak: most that was allocated "
            f"at once above the weights. {'; '.join(DTYPES[each] for each in dtypes)}. Conditions: "
            f"{conditions_in_words(shown)}.",
            machine_in_words(shown) + _clocks(shown),
        ),
    )


def _is_shown(timing: Timing) -> bool:
    cell: Cell = timing.cell
    default, chosen = Conditions(), ("batch", "dtype", "threads")
    return (
        cell.device != "cpu"
        and cell.is_row_itself
        and cell.against is None
        and cell.batch == BATCH
        and cell.dtype in DTYPES
        and all(getattr(cell, n) == getattr(default, n) for n in AXES if n not in chosen)
    )


def _clocks(shown: Sequence[Timing]) -> str:
    """The GPU's clock and power while it was measured; nothing if there are no readings."""
    readings = [reading for each in shown for reading in each.telemetry]
    clocks = sorted(r.sm_clock_mhz for r in readings if r.sm_clock_mhz is not None)
    powers = sorted(r.power_w for r in readings if r.power_w is not None)
    words = [f"SM clock {clocks[0]:,} to {clocks[-1]:,} MHz"] if clocks else []
    words += [f"power {powers[0]:,.0f} to {powers[-1]:,.0f} W"] if powers else []
    return f" The GPU meanwhile: {', '.join(words)}." if words else ""


def _interval(value: tuple[float, float | None]) -> str:
    """(0.0123456, 0.0000123456) -> 12.35 ± 0.012, in ms."""
    median_s, half_ci_s = value
    known = milliseconds(median_s)
    return known if half_ci_s is None else f"{known} ± {spread(half_ci_s)}"
