"""The ledger of the stored rows: from our MACs, step by step, to what each counter printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from vidcost.bench.count.reconcile import Entry, examine, reconcile
from vidcost.bench.count.record import Record
from vidcost.papers.catalog import rows_of

Kind = Literal["ours", "added", "unseen", "unexplained", "printed"]


@dataclass(frozen=True)
class Step:
    """One amount of an account, which leads from ``start`` to ``end``.

    Our MACs and what is printed are positions: there ``start`` is ``end``, and ``amount`` is both.
    """

    row: str
    counter: str
    order: int
    what: str
    kind: Kind
    amount: int
    start: int
    end: int


def accounts(records: Mapping[str, Record]) -> list[Entry]:
    """The accounts of every stored row that is still built, with the stored answers.

    Rows are counted anew, in about a tenth of a second each; no counter is asked.
    Raises: ClosedFormMismatch, UncountedOperator; ValueError as the networks do.
    """
    entries = []
    for row in rows_of():
        if row.build is None or row.name not in records:
            continue
        entries += reconcile(replace(examine(row), record=records[row.name]))
    return entries


def steps(entries: Iterable[Entry]) -> list[Step]:
    """The accounts of FLOPs of the counters that answered, as steps in order."""
    return [
        step
        for entry in entries
        if entry.quantity == "flops" and entry.printed is not None
        for step in _steps(entry)
    ]


def _steps(entry: Entry) -> Iterator[Step]:
    assert entry.printed is not None
    amounts: dict[str, int] = {}
    for term in entry.terms:
        amounts[term.name] = amounts.get(term.name, 0) + term.amount
    order = 0
    at = entry.ours
    yield Step(entry.row, entry.counter, order, "our MACs", "ours", at, at, at)
    left: list[tuple[str, int, Kind]] = [
        (name, amount, "added" if amount > 0 else "unseen") for name, amount in amounts.items()
    ]
    if entry.remainder:
        left.append(("not explained", entry.remainder, "unexplained"))
    for what, amount, kind in left:
        order += 1
        yield Step(entry.row, entry.counter, order, what, kind, amount, at, at + amount)
        at += amount
    printed = entry.printed
    yield Step(
        entry.row,
        entry.counter,
        order + 1,
        f"printed by {entry.counter}",
        "printed",
        printed,
        printed,
        printed,
    )
