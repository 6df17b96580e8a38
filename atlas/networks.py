"""The atlas: every network of all sources once, under one convention, and how it is printed."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vidcost.atlas.audit import Counts, Quantities
from vidcost.papers.catalog import select
from vidcost.papers.source import Print, Size

ALIKE = 1e-3
"""Counts that differ by less, relative to them, are taken for those of one network."""


@dataclass(frozen=True)
class Network:
    """A network at one clip, whoever builds it, and all rows that print it."""

    clip: Size
    counted: Quantities
    rows: tuple[Print, ...]

    @property
    def best(self) -> Print:
        """The row of the highest top-1."""
        return max(self.rows, key=lambda row: row.top1 or 0)

    @property
    def label(self) -> str:
        """The label that most rows have."""
        return Counter(row.label for row in self.rows).most_common(1)[0][0]

    @property
    def row(self) -> str | None:
        """The row that has this network at this clip as it stands, so that its timings fit."""
        row, best = select([self.best.network])[0], self.best
        stands = (row.classes, row.inputs) == (best.classes, ((3, *self.clip),))
        return row.name if stands else None

    @property
    def printed(self) -> tuple[tuple[str, str], ...]:
        """FLOPs as printed, per view or over all, each with its source, once."""
        found = [(row.source, row.flops.printed) for row in self.rows if row.flops]
        return tuple(dict.fromkeys(found))

    @property
    def per_video(self) -> int | None:
        """MACs of all views of a video; None where the source does not say how many."""
        views = self.best.view_count
        return self.counted.macs * views if views else None


def networks_of(counts: Counts, rows: Iterable[Print]) -> list[Network]:
    """Every network of ``rows`` once per dataset, at the clip of its accuracies."""
    return _together(counts, rows, lambda row: (row.clip, row.dataset))


def shared(counts: Counts, rows: Iterable[Print]) -> list[Network]:
    """Networks, at the clip of their costs, of which several sources print different FLOPs."""
    return [
        each
        for each in _together(counts, rows, lambda row: (row.at,))
        if len({source for source, _ in each.printed}) > 1
        and len({row.flops.value for row in each.rows if row.flops}) > 1
    ]


def _together(
    counts: Counts, rows: Iterable[Print], place: Callable[[Print], tuple[Any, ...]]
) -> list[Network]:
    """Rows of one place, whose clip is its first part, with parameters and MACs alike.

    Two packages may build one network with a bias or a pool more: counts within ALIKE are alike.
    """
    found: list[tuple[tuple[Any, ...], Quantities, list[Print]]] = []
    for row in rows:
        at = place(row)
        counted = counts.of(row.network, row.classes, at[0])
        if isinstance(counted, str):
            continue
        for other, first, alike in found:
            if other == at and _alike(first, counted):
                alike.append(row)
                break
        else:
            found.append((at, counted, [row]))
    return [Network(at[0], counted, tuple(alike)) for at, counted, alike in found]


def _alike(one: Quantities, two: Quantities) -> bool:
    pairs = (one.params, two.params), (one.macs, two.macs)
    return all(abs(a - b) <= ALIKE * max(a, b) for a, b in pairs)


def front(found: Sequence[Network]) -> list[Network]:
    """Networks that none of the same dataset beats in both MACs per video and top-1."""
    kept, highest = [], dict[str, float]()
    priced = [each for each in found if each.per_video]
    for each in sorted(priced, key=lambda n: (n.per_video or 0, -(n.best.top1 or 0))):
        if (top1 := each.best.top1 or 0) > highest.get(each.best.dataset, 0):
            highest[each.best.dataset] = top1
            kept.append(each)
    return kept
