"""Reconciliation: our MACs, what each counter adds and leaves out, and what it prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from torch import Tensor, nn

from vidcost.bench.count.answer import Answer
from vidcost.bench.count.asking import RUN_FOR_REAL, ask_about
from vidcost.bench.count.conventions import CONVENTIONS, Convention, explain
from vidcost.bench.count.counter import Count, count
from vidcost.bench.count.memory import large_modules
from vidcost.bench.count.record import Record, counted
from vidcost.bench.count.term import Explanation, Term
from vidcost.papers.row import Row

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
    None, and ``answer`` says why. ``row`` may be the name of any other network.
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
    def version(self) -> str:
        """The counter's version."""
        return self.answer.version

    @property
    def status(self) -> str:
        """``answered``, or why there is no answer."""
        return self.answer.status

    @property
    def error(self) -> str:
        """One line on what happened, empty if the counter answered."""
        return self.answer.error

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


@cache
def examine(row: Row) -> Examined:
    """Count ``row``, check its closed forms, and explain what every counter should print.

    Once in a process, as :func:`~vidcost.bench.count.record.count_row`.

    Raises: ClosedFormMismatch, UncountedOperator; ValueError as the network does.
    """
    record, model, found = counted(row)
    return Examined(
        record=record,
        explanations=_explanations(model, found),
        is_large=bool(large_modules(found)),
    )


def reconcile(examined: Examined) -> list[Entry]:
    """The accounts of a row with every counter that was asked."""
    record = examined.record
    return accounts(record.row, examined.explanations, record.reference_counters)


def reconcile_network(name: str, model: nn.Module, inputs: Sequence[Tensor]) -> list[Entry]:
    """The accounts of any network with every counter, which are asked here, one after the other.

    ``model`` and ``inputs`` are dense; entries call the network ``name``. fvcore and thop leave
    traces in ``model``: give a copy that is of no other use. A counter that refuses or crashes has
    entries that say so.
    Raises: UncountedOperator; what the network raises when it is counted.
    """
    explanations = _explanations(model, count(model, *inputs))
    # the two that leave traces come last
    order = sorted(explanations, key=lambda counter: counter in RUN_FOR_REAL)
    answers: dict[str, Answer] = {counter: ask_about(counter, model, inputs) for counter in order}
    return accounts(name, explanations, answers)


def accounts(
    name: str, explanations: Mapping[Convention, Explanation], answers: Mapping[str, Answer]
) -> list[Entry]:
    """What each counter should print beside its answer, for those that have one."""
    entries = []
    for counter, explanation in explanations.items():
        answer = answers.get(counter)
        if answer is None:
            continue
        entries.append(
            Entry(
                row=name,
                counter=counter,
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
                    row=name,
                    counter=counter,
                    quantity="params",
                    ours=explanation.params,
                    terms=explanation.param_terms,
                    printed=answer.params,
                    off={} if answer.params is None else _off(expected, {PARAMS: answer.params}),
                    answer=answer,
                )
            )
    return entries


def _explanations(model: nn.Module, found: Count) -> dict[Convention, Explanation]:
    return {convention: explain(convention, model, found) for convention in CONVENTIONS}


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
