"""The word on a latency, from tests and an interval, wherever they come from."""

from __future__ import annotations

import math

from vidcost.bench.gate.record import Rule
from vidcost.bench.gate.verdict import Word


def is_equal(low: float, high: float, rule: Rule) -> bool:
    """Whether the interval of a log ratio lies within the margin."""
    return -math.log1p(rule.margin) <= low and high <= math.log1p(rule.margin)


def decide(
    low: float,
    high: float,
    rule: Rule,
    *,
    margin: float,
    slower: float | None,
    faster: float | None,
    undecided: str,
) -> tuple[Word, str]:
    """The word on the interval ``low`` to ``high`` of a log ratio, and why.

    ``slower`` and ``faster`` are the adjusted p that head is not so by more than ``margin``; None
    if that was not asked. ``undecided`` is why, where nothing else is shown.
    """
    if slower is not None and slower <= rule.confirm_level:
        return "REGRESSED", f"slower by more than {margin:.1%}"
    if faster is not None and faster <= rule.confirm_level:
        return "IMPROVED", f"faster by more than {margin:.1%}"
    if is_equal(low, high, rule):
        return "EQUIVALENT", f"within {rule.margin:.1%}"
    return "INCONCLUSIVE", undecided
