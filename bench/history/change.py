"""A change in a history, as people are shown it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vidcost.bench.history.git_log import Commit
from vidcost.bench.timing.cell import Cell

Kind = Literal["exact count", "latency", "conditions"]

Amount = int | float | str


@dataclass(frozen=True)
class Change:
    """What changed, and the commit that brought the first record after it.

    ``exact count``: ``field`` of the row ``series`` is another integer. The field ``row`` is its
    name: a row that was added or removed has it on one side only, a renamed one has both.
    ``latency``: the level of the medians, in seconds, on either side of a change point.
    ``conditions``: what the cells on the device ``series`` were timed under from then on; ``field``
    names what differs, the two sides have the values. Latencies are not compared across it.
    ``since`` is the commit of the last record before: what changed a latency may be any between.
    ``reason`` is the one the change of a count was accepted with; empty if none is recorded.
    ``cell`` and ``device`` (its name) say what of a latency.
    """

    kind: Kind
    series: str
    field: str
    before: Amount | None
    after: Amount | None
    commit: Commit
    since: Commit
    reason: str = ""
    cell: Cell | None = None
    device: str | None = None

    @property
    def percent(self) -> float | None:
        """By how much of ``before`` it changed; None where that is 0 or no number."""
        if isinstance(self.before, str) or isinstance(self.after, str):
            return None
        if not self.before or self.after is None:
            return None
        return 100 * (self.after - self.before) / self.before
