"""Networks beside each other: one with one block after another, or several."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from vidcost.bench.inspection.counted import Counted, counted
from vidcost.bench.isolation import Isolated
from vidcost.bench.timing.cell import Cell, checked_cell, combinations
from vidcost.bench.timing.figures import pair_figures
from vidcost.bench.timing.parent import Predicted
from vidcost.bench.timing.plan import at, code_of
from vidcost.bench.timing.record import Timing

PLAIN = "none"
"""The name of the network without any block."""


@dataclass(frozen=True)
class Variant:
    """A network of a comparison, named by the block in it or by itself.

    ``cell`` is what is counted. ``pair`` is what is timed, against the first network under the same
    conditions; None for that itself.
    """

    name: str
    cell: Cell
    pair: Cell | None = None


def variants(
    networks: Sequence[Mapping[str, Any]],
    positions: Sequence[str],
    blocks: Sequence[str],
    conditions: Mapping[str, Any],
) -> list[Variant]:
    """Every network after the first, or every block in it after it without any.

    ``networks`` are a cell's fields for a row or a user's network; ``conditions`` its other fields,
    each a value or several, of which all combinations are compared.
    Raises: ValueError if they contradict each other, for an unknown block, or if a user's file or
            module is not there.
    """
    named = [(str(each.get("row") or each.get("network")), each) for each in networks]
    if blocks:
        ((_, network),) = named
        user = str(network.get("network") or ""), network.get("inputs") or ()
        named = [(PLAIN, {**network, "blocks": (), "code": code_of((), *user)})]
        for block in dict.fromkeys(blocks):
            placed = tuple((position, block) for position in dict.fromkeys(positions))
            more = {"blocks": placed, "code": code_of((block,), *user)}
            named.append((block, {**network, **more}))
    found = []
    for combination in combinations(conditions):
        first: Cell | None = None
        for name, network in named:
            fields = at(combination, network)
            pair = checked_cell({**fields, "against": first}) if first else None
            found.append(Variant(name, checked_cell(fields), pair))
            first = first or found[-1].cell
    return found


def count_all(
    chosen: Sequence[Variant], *, limit_s: float, advance: Callable[[str], None] = lambda _: None
) -> list[Counted]:
    """Each variant counted; one that cannot be built says so.

    ``advance`` is called with the name of each when it is done.
    Raises: ValueError if none but the first can be built, or that.
    """
    found = []
    with Isolated() as process:
        for variant in chosen:
            try:
                each = counted(variant.cell, limit_s=limit_s, call=process.call)
            except ValueError as error:
                if variant.pair is None:
                    raise
                each = Counted(variant.cell, status="rejected", error=str(error))
            found.append(each)
            advance(variant.name)
    rejected = [each for each in found if each.status == "rejected"]
    if rejected and len(rejected) == sum(variant.pair is not None for variant in chosen):
        raise ValueError(rejected[0].error)
    return found


def to_time(chosen: Sequence[Variant], counts: Sequence[Counted]) -> list[Cell]:
    """The cells of what could be built, each against the first network of its conditions."""
    ran = ("ok", "differs", "uncounted")
    sound = (v for v, c in zip(chosen, counts, strict=True) if c.status in ran)
    return [variant.pair for variant in sound if variant.pair]


def predicted(chosen: Sequence[Variant], counts: Sequence[Counted]) -> dict[Cell, Predicted]:
    """What the counts say of the cells to be timed; of a training step they say nothing."""
    return {
        cell: Predicted(count.total.macs, count.total.macs)
        for variant, count in zip(chosen, counts, strict=True)
        for cell in (variant.cell, variant.pair)
        if cell and count.total and cell.phase == "inference"
    }


def compared(
    chosen: Sequence[Variant], counts: Sequence[Counted], timings: Sequence[Timing]
) -> list[dict[str, Any]]:
    """A line of figures for each variant, beside the first network under the same conditions.

    Seconds and bytes; ``added`` is above the first network's. ``not_separated`` are the names of
    those whose 95% interval of added latency overlaps this one's; None if it was not timed.
    """
    by_cell = {timing.cell: timing for timing in timings}
    lines: list[dict[str, Any]] = []
    for index, (variant, count) in enumerate(zip(chosen, counts, strict=True)):
        total, cell = count.total, variant.cell
        line: dict[str, Any] = {"name": variant.name, **cell.model_dump(exclude={"against"})}
        line |= {
            "block": None if cell.blocks is None else variant.name,
            "params": total and total.params,
            "macs": total and total.macs,
            "closed_forms": count.closed_forms if total and cell.blocks else None,
            "status": count.status,
            "error": count.error or None,
        }
        lines.append(line)
        if variant.pair is None:
            first, less = index, total
            continue
        line["against_name"] = lines[first]["name"]
        if total and less:
            line["added_params"] = total.params - less.params
            line["added_macs"] = total.macs - less.macs
        timing = by_cell.get(variant.pair)
        if timing and timing.status == "ok":
            found = pair_figures(timing)
            line |= {key: found[key] for key in _FIGURES}
            lines[first]["target_s"] = found["reference_s"]
            lines[first]["peak_bytes"] = found["reference_peak_bytes"]
        elif timing and count.status in ("ok", "uncounted"):
            line |= {"status": timing.status, "error": timing.error or None}
    starts = [index for index, variant in enumerate(chosen) if variant.pair is None]
    for start, end in pairwise([*starts, len(chosen)]):
        _separate(lines[start:end])
    return lines


_FIGURES = (
    *("target_s", "median_s", "ci_low_s", "ci_high_s", "half_ci_s", "n"),
    *("ratio", "ratio_low", "ratio_high", "peak_bytes", "added_bytes"),
)


def _separate(lines: Sequence[dict[str, Any]]) -> None:
    """Say of each line after the first from which others its added latency is not separated."""
    # of too few pairs there is no interval
    timed = [line for line in lines if line.get("ci_low_s") is not None]
    for line in timed:
        low, high = line["ci_low_s"], line["ci_high_s"]
        overlapping = [
            other["name"]
            for other in timed
            if other is not line and low <= other["ci_high_s"] and other["ci_low_s"] <= high
        ]
        names = [line["against_name"]] if low <= 0 <= high else []
        line["not_separated"] = names + overlapping
