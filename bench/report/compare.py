"""Blocks in one network side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from vidcost.bench.inspection.comparison import PLAIN
from vidcost.bench.report.counts import checked
from vidcost.bench.report.table import Column, Format, Table, billions, integer, words
from vidcost.bench.report.timing import (
    HALF_INTERVAL,
    STATUS,
    conditions_in_words,
    digits,
    failures,
    intervals_of,
    machine_in_words,
    megabytes,
    milliseconds,
    present,
)
from vidcost.bench.timing.record import Timing


def _signed(form: Format) -> Format:
    """The same format with a sign before every number."""
    return lambda value: f"{'+' if value >= 0 else '-'}{form(abs(value))}"


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
    Column("energy_j_per_clip", "J/clip", digits),
    STATUS,
)
_COUNTS = (
    "MACs: multiply-accumulates, exact, of one forward pass; added: above the network without any "
    "block; fvcore: as it prints. Closed forms met: modules whose `cost(shape)` the count equals; "
    "not checked: no module has one."
)


def compare_table(
    lines: Sequence[Mapping[str, Any]],
    timings: Sequence[Timing],
    *,
    where: str,
    axis: str | None,
) -> Table:
    """One line for each block, after the network without any.

    ``where`` names network and positions; ``axis`` the dimension of the clip that was swept.
    Raises: ValueError if the timings are of more than one kind of machine.
    """
    columns = (
        *((Column(axis, axis.capitalize(), integer),) if axis else ()),
        Column("block", "Block"),
        *present(lines, _BLOCKS),
    )
    return Table(
        title=f"Blocks in {where}",
        columns=columns,
        lines=lines,
        footnotes=failures(lines),
        legend=[_COUNTS, *(_measured(timings) if any(each.get("pairs") for each in lines) else [])],
    )


def _measured(timings: Sequence[Timing]) -> list[str]:
    done = [timing for timing in timings if timing.status == "ok"]
    return [
        "Latency: median. Added: median of the differences of pairs of passes, with the block and "
        f"without, interleaved, ± half of its 95% confidence interval, {intervals_of(done)}. Not "
        "separated from: the intervals overlap, so these data do not tell which costs more; "
        f"{PLAIN}: nor that it costs anything.",
        "Peak: most that was allocated at once above the weights. Conditions: "
        f"{conditions_in_words(done)}.",
        machine_in_words(done),
    ]
