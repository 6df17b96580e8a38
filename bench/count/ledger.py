"""The ledger: our MACs, what each counter adds and leaves out, and the integer that it prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vidcost.bench.count.answer import Answer
from vidcost.bench.count.conventions import CONVENTIONS, Convention, explain
from vidcost.bench.count.memory import large_modules
from vidcost.bench.count.record import Record, counted
from vidcost.bench.count.term import Explanation, Term
from vidcost.models.rows import Row

PARAMS = "params"
"""The one heading of parameters."""


@dataclass(frozen=True)
class Examined:
    """A row's record, and what each counter should print for it.

    ``is_large``: it needs gigabytes of memory to run for real.
    """

    record: Record
    explanations: Mapping[Convention, Explanation]
    is_large: bool


@dataclass(frozen=True)
class Entry:
    """One account: ``ours`` and ``terms`` add up to ``printed``, or it says by how much not.

    ``quantity`` is "flops" (ours are MACs) or "params". ``off`` has the differences, printed less
    explained, by the heading under which the counter books them. Without an answer ``printed`` is
    None, and ``answer`` says why.
    """

    row: str
    counter: Convention
    quantity: Literal["flops", "params"]
    ours: int
    terms: tuple[Term, ...]
    printed: int | None
    off: Mapping[str, int]
    answer: Answer

    @property
    def explained(self) -> int:
        """Ours and all terms."""
        return self.ours + sum(term.amount for term in self.terms)

    @property
    def remainder(self) -> int | None:
        """What the terms leave unexplained; None if there was no answer."""
        return None if self.printed is None else self.printed - self.explained

    @property
    def balanced(self) -> bool:
        """Whether nothing is left, under any heading."""
        return self.remainder == 0 and not self.off


def examine(row: Row) -> Examined:
    """Count ``row``, check its closed forms, and explain what every counter should print.

    Raises: ClosedFormMismatch, UncountedOperator; ValueError as the network does.
    """
    record, model, count = counted(row)
    return Examined(
        record=record,
        explanations={name: explain(name, model, count) for name in CONVENTIONS},
        is_large=bool(large_modules(count)),
    )


def reconcile(examined: Examined) -> list[Entry]:
    """The accounts of a row with every counter that was asked."""
    entries = []
    for name, explanation in examined.explanations.items():
        answer = examined.record.witnesses.get(name)
        if answer is None:
            continue
        entries.append(
            Entry(
                row=examined.record.row,
                counter=name,
                quantity="flops",
                ours=sum(explanation.macs.values()),
                terms=explanation.flop_terms,
                printed=answer.flops,
                off={} if answer.flops is None else _off(explanation.parts, answer.parts),
                answer=answer,
            )
        )
        if explanation.param_terms is not None:
            expected = {PARAMS: explanation.seen_params or 0}
            entries.append(
                Entry(
                    row=examined.record.row,
                    counter=name,
                    quantity="params",
                    ours=explanation.params,
                    terms=explanation.param_terms,
                    printed=answer.params,
                    off={} if answer.params is None else _off(expected, {PARAMS: answer.params}),
                    answer=answer,
                )
            )
    return entries


def _off(explained: Mapping[str, int], printed: Mapping[str, int]) -> dict[str, int]:
    parts = dict.fromkeys((*explained, *printed))
    differences = {part: printed.get(part, 0) - explained.get(part, 0) for part in parts}
    return {part: difference for part, difference in differences.items() if difference}


def complaints(entry: Entry) -> list[str]:
    """What is wrong with an entry, a line for each heading that is off."""
    if entry.printed is None:
        return [f"{entry.row}: {entry.counter} {entry.answer.status}: {entry.answer.error}"]
    off = dict(entry.off)
    if not off and entry.remainder:
        # its headings add up to something else than its total
        off = {"total": entry.remainder}
    return [
        f"{entry.row}: {entry.counter}: {part}: {difference:+,} {entry.quantity} are not explained"
        for part, difference in off.items()
    ]
