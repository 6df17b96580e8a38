"""Users' networks among the words of a command: by reference, with their inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vidcost.bench.cli.output import unanswered
from vidcost.bench.inspection.counted import Counted
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.cell import checked_cell
from vidcost.bench.timing.plan import network_fields, seconds
from vidcost.bench.user.reference import is_reference


def parted(words: Sequence[str] | None) -> tuple[list[str] | None, list[str]]:
    """Rows and references among ``words``; None for rows if none was asked for at all."""
    if words is None:
        return None, []
    references = [word for word in words if is_reference(word)]
    return [word for word in words if word not in references], references


def network_cells(references: Sequence[str], inputs: Sequence[str] | None) -> list[Cell]:
    """The networks at their inputs.

    Raises: ValueError if one is not there, or its inputs are none.
    """
    if not references:
        refuse_inputs(inputs)
    return [checked_cell(network_fields(each, inputs or ())) for each in references]


def refuse_inputs(inputs: Sequence[str] | None) -> None:
    """Where there is no network of theirs.  Raises: ValueError if there are ``inputs``."""
    if inputs:
        raise ValueError("--input is for a network of your own: name one as my_net.py:make_model")


def refuse_batch(is_given: bool) -> None:
    """Where there is a network of theirs.  Raises: ValueError if a batch ``is_given`` too."""
    if is_given:
        raise ValueError("the inputs of a network of your own hold their batch: leave out --batch")


def limit_s(time_limit: str) -> float:
    """Seconds of --time-limit.  Raises: ValueError if it is no time."""
    found = seconds(time_limit)
    if not found:
        raise ValueError(f"--time-limit {time_limit} is no time: give more than 0s")
    return found


def failures(networks: Iterable[Counted]) -> list[str]:
    """What went wrong with each, in a line."""
    lines = []
    for each in networks:
        target = each.cell.target
        if each.status != "ok":
            lines.append(f"{target}: {each.status}: {each.error}")
        lines += unanswered(target, each.answers or {})
    return lines
