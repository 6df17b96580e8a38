"""Ways to run networks, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vidcost.bench.inspection.modes import best
from vidcost.bench.report.table import Column, Table
from vidcost.bench.report.timing import (
    conditions_in_words,
    machine_in_words,
    milliseconds,
    percent,
    present,
)
from vidcost.bench.timing.figures import pair_figures
from vidcost.bench.timing.kinds import machine_of_all
from vidcost.bench.timing.record import Timing

PLAIN = "plain"


def modes_table(timed: Mapping[str, Mapping[str, Timing]]) -> Table:
    """For each network, by name, its ways to run, by name, and which one is best.

    Raises: ValueError if the records are of more than one machine.
    """
    every = [timing for ways in timed.values() for timing in ways.values()]
    lines: list[dict[str, Any]] = []
    footnotes = {}
    for network, ways in timed.items():
        winner = best(ways) or PLAIN
        for name, timing in ways.items():
            if timing.status != "ok":
                footnotes[len(lines), "shown_status"] = f"{timing.status}: {timing.error}"
            lines.append(_line(network, name, timing, winner))
        lines += [_best_line(network, winner)] if winner == PLAIN and ways else []
    columns = (
        Column("plain_s", "Plain, ms", milliseconds),
        Column("way_s", "This way, ms", milliseconds),
        Column("shown_speed", "Times as fast"),
        Column("memory_ratio", "Peak memory", percent),
        Column("shown_best", "Best"),
        Column("shown_status", "Status"),
    )
    plain = [timing.model_copy(update={"cell": timing.cell.against}) for timing in every]
    return Table(
        title="Ways to run",
        columns=(Column("network", "Network"), Column("way", "Way"), *present(lines, columns)),
        lines=lines,
        footnotes=footnotes,
        legend=(
            f"Plain: {conditions_in_words(plain)}, with the reference implementation. Each way is "
            "interleaved with it in one process: the median of the ratios of pairs of passes, with "
            "its 95% interval; peak memory is the part of the plain one's. Best: the fastest of "
            "those that are faster beyond noise. tf32 and bf16 round more than fp32 does.",
            machine_in_words(machine_of_all(every), every),
        ),
    )


def _line(network: str, name: str, timing: Timing, winner: str) -> dict[str, Any]:
    figures = pair_figures(timing)
    return {
        "network": network,
        "way": name,
        "plain_s": figures["reference_s"],
        "way_s": figures["target_s"],
        "speed": figures["speed"],
        "speed_low": figures["speed_low"],
        "speed_high": figures["speed_high"],
        "pairs": figures["pairs"],
        "shown_speed": _speed_in_words(figures),
        "peak_bytes": figures["peak_bytes"],
        "plain_peak_bytes": figures["reference_peak_bytes"],
        "memory_ratio": figures["memory_ratio"],
        "is_best": name == winner,
        "shown_best": "best" if name == winner else None,
        "status": timing.status,
        "shown_status": None if timing.status == "ok" else timing.status,
        "error": timing.error or None,
    }


def _speed_in_words(figures: Mapping[str, Any]) -> str | None:
    """1.62 (1.60 to 1.65)."""
    speed, low, high = (figures[key] for key in ("speed", "speed_low", "speed_high"))
    if speed is None:
        return None
    interval = f"({low:.2f} to {high:.2f})" if low is not None else "(too few pairs)"
    return f"{speed:.2f} {interval}"


def _best_line(network: str, winner: str) -> dict[str, Any]:
    return {"network": network, "way": winner, "is_best": True, "shown_best": "best"}
