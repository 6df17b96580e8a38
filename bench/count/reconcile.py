"""From our count, by named terms, to the integers that other counters print.

And the other way: which convention, classes and clip give a figure that somebody printed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from torch import Tensor, nn

from vidcost.bench.count.counter import Count, count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.record import Record, counted
from vidcost.bench.count.references.asking import ALL, DEFAULT, ask_about, ask_all, chosen
from vidcost.bench.count.references.reference import (
    TRACED_SIZES,
    Answer,
    Convention,
    Explained,
    Quantity,
    Status,
    Term,
    sums,
)
from vidcost.papers.figures import Figure
from vidcost.papers.row import Row

Advance = Callable[[str], None]
"""Called with a few words after each step of the work."""


@dataclass(frozen=True)
class Examined:
    """A row's record, and what each counter should print for it."""

    record: Record
    explained: Mapping[Convention, Explained]

    def with_answers(self, answers: Mapping[Convention, Answer]) -> "Examined":
        """The same with these ``answers`` in its record."""
        record = self.record.model_copy(update={"reference_counters": dict(answers)})
        return replace(self, record=record)


@dataclass(frozen=True)
class Entry:
    """One quantity of one counter: ``ours`` and ``terms`` add up to ``printed``, or ``off`` says.

    ``ours`` are MACs or parameters; ``off`` are differences, printed less explained, by category,
    or of "total" if the categories do not add up to it.
    Without an answer ``printed`` is None. ``row`` may be the name of any other network.
    """

    row: str
    counter: Convention
    quantity: Quantity
    ours: int
    terms: tuple[Term, ...]
    printed: int | None
    off: Mapping[str, int]
    version: str
    status: Status
    error: str = ""

    @property
    def explained(self) -> int:
        """Ours and all terms."""
        return self.ours + sum(term.amount for term in self.terms)

    @property
    def remainder(self) -> int | None:
        """What the terms leave unexplained; None without an answer."""
        return None if self.printed is None else self.printed - self.explained

    @property
    def balanced(self) -> bool:
        """Whether nothing is left, in any category."""
        return self.printed is not None and not self.off

    @property
    def amounts(self) -> list[tuple[str, int | None]]:
        """Ours, the terms, what is printed and what is left, by name."""
        ends = ("printed", self.printed), ("remainder", self.remainder)
        return [("ours", self.ours), *((term.name, term.amount) for term in self.terms), *ends]

    @property
    def complaints(self) -> list[str]:
        """What is wrong, a line for each category."""
        if self.printed is None:
            return [f"{self.row}: {self.counter} {self.status}: {self.error}"]
        return [
            f"{self.row}: {self.counter}: {part}: {amount:+,} {self.quantity} are not explained"
            for part, amount in self.off.items()
        ]


def flops(convention: str, model: nn.Module, count: Count) -> int:
    """The FLOPs that a counter prints; "macs" are ours.  Raises: ValueError for another name."""
    if convention == "macs":
        return count.total.macs
    (counter,) = chosen([convention])
    return ALL[counter].explain(model, count)["flops"].total


@cache
def examine(row: Row, counters: tuple[Convention, ...] = DEFAULT) -> Examined:
    """Count ``row``, check its closed forms, and explain what ``counters`` should print.

    Rows are immutable, so results are memoised per process.
    Raises: ClosedFormMismatch, UncountedOperator; ValueError as the network does.
    """
    record, model, found = counted(row)
    return Examined(record, {each: ALL[each].explain(model, found) for each in counters})


def measure(
    rows: Sequence[Row],
    counters: tuple[Convention, ...] = DEFAULT,
    *,
    use_cache: bool = True,
    advance: Advance = lambda step: None,
) -> list[Examined]:
    """Examine ``rows`` in order, with the answers of ``counters``.  Raises: as :func:`examine`."""
    examined: dict[str, Examined] = {}
    for row in rows:
        examined[row.name] = examine(row, counters)
        advance(f"counted {row.name}")
    answers: dict[str, dict[Convention, Answer]] = {row.name: {} for row in rows}
    for (name, row), answer in ask_all(rows, counters, use_cache=use_cache):
        answers[row.name][name] = answer
        advance(f"{name} answered on {row.name}")
    return [
        each.with_answers({name: answers[row][name] for name in counters})
        for row, each in examined.items()
    ]


def with_stored_answers(row: Row, stored: Mapping[str, Record]) -> Examined:
    """``row`` counted now, with the answers in ``stored``.  Raises: as :func:`examine`."""
    known = stored.get(row.name)
    return examine(row).with_answers(known.reference_counters if known else {})


def is_explained(examined: Examined) -> bool:
    """Whether every counter has an answer that the count explains; none after the row changes."""
    answered = examined.record.reference_counters.keys() == set(DEFAULT)
    return answered and all(entry.balanced for entry in reconcile(examined))


def steps(rows: Sequence[Row], counters: tuple[Convention, ...] = DEFAULT) -> int:
    """How often :func:`measure` reports an advance."""
    return len(rows) * (1 + len(counters))


def reconcile(examined: Examined) -> list[Entry]:
    """The entries of a row with every counter that was asked."""
    record = examined.record
    return entries(record.row, examined.explained, record.reference_counters)


def reconcile_network(
    name: str, model: nn.Module, inputs: Sequence[Tensor], counters: Sequence[Convention] = DEFAULT
) -> list[Entry]:
    """The entries of any network with ``counters``, asked here one after another.

    ``model`` and ``inputs`` are dense; entries call the network ``name``. fvcore and thop change
    ``model``: give a copy. A counter that raises has entries that say so.
    Raises: UncountedOperator; what the network raises when it is counted.
    """
    found = count(model, *inputs)
    explained = {each: ALL[each].explain(model, found) for each in counters}
    # those that change the network come last
    order = sorted(explained, key=lambda each: bool(ALL[each].package))
    return entries(name, explained, {each: ask_about(each, model, inputs) for each in order})


def entries(
    name: str, explained: Mapping[Convention, Explained], answers: Mapping[Convention, Answer]
) -> list[Entry]:
    """What each counter should print beside its answer, for those that have one."""
    found = []
    asked = [(counter, answers[counter]) for counter in explained if counter in answers]
    for counter, answer in asked:
        for quantity, should in explained[counter].items():
            printed = getattr(answer, quantity)
            parts = answer.parts if quantity == "flops" else {"params": printed} if printed else {}
            terms = should.terms
            if sizes := parts.get(TRACED_SIZES, 0):
                terms, parts = (*terms, Term(TRACED_SIZES, TRACED_SIZES, sizes)), {}
            # a counter that gives no parts is compared by its total
            names = dict.fromkeys((*should.parts, *parts)) if parts else ()
            off = sums((part, parts.get(part, 0) - should.parts.get(part, 0)) for part in names)
            ours, says = sum(should.ours.values()), (answer.version, answer.status, answer.error)
            entry = Entry(name, counter, quantity, ours, terms, printed, off, *says)
            found.append(replace(entry, off=off or sums([("total", entry.remainder or 0)])))
    return found


# figures that somebody printed

CLASSES = (51, 101, 174, 200, 400, 600, 700, 1000)
FRAMES = (8, 16, 32, 64)
SIZES = (112, 128, 160, 182, 224, 256)
VIEWS = (1, 3, 4, 10, 12, 30)
"""Clips or crops that are counted together, such as 10x3."""
PER_NORM = (2, 4, 5)
"""Operations per element of a norm."""


@dataclass(frozen=True)
class Candidate:
    """What a network at a setting gives by a convention."""

    setting: str
    convention: str
    flops: int
    params: int


def candidates(setting: str, model: nn.Module, inputs: Sequence[Tensor]) -> Iterator[Candidate]:
    """Every convention on one network: MACs, the counters, doubled, and over several views.

    Raises: UncountedOperator; what the network raises.
    """
    found = count(model, *inputs)
    total = found.total
    figures = {"MACs": total.macs}
    if total.matmul:
        figures["MACs without attention"] = total.macs - total.matmul
    for name, macs in [*figures.items()]:
        for each in PER_NORM:
            figures[f"{name}, {each} per norm element"] = macs + each * total.norm
    figures |= {name: each.explain(model, found)["flops"].total for name, each in ALL.items()}
    names: dict[int, list[str]] = {}
    for name, flops in figures.items():
        names.setdefault(flops, []).append(name)
    for views in VIEWS:
        for factor in (1, 2):
            for flops, equal in names.items():
                words = [f"{views} views of"] * (views > 1) + ["2 x"] * (factor > 1)
                convention = " ".join((*words, " = ".join(equal)))
                yield Candidate(setting, convention, views * factor * flops, total.params)


def candidates_of_row(row: Row, params: Figure | None = None) -> Iterator[Candidate]:
    """Every convention on ``row``: with other classes, then with other frames and sizes.

    The second with its own classes and those whose parameters are ``params``.
    """
    tried = {row.at(classes=classes): None for classes in (row.classes, *CLASSES)}
    suiting = dict.fromkeys([row])
    for each in tried:
        found = list(_candidates_at(each))
        yield from found
        if params is not None and any(params.equals(one.params) for one in found):
            suiting[each] = None
    for each in suiting:
        for frames, size in product(FRAMES, SIZES):
            # a network need not take every clip, and one of a package fails as it likes
            with suppress(Exception):
                other = each.at(frames=frames, size=size)
                if other not in tried:
                    yield from _candidates_at(other)


def _candidates_at(row: Row) -> Iterator[Candidate]:
    clips = " + ".join("x".join(map(str, clip)) for clip in row.inputs)
    return candidates(f"{row.classes} classes, {clips}", *on_meta(row))


def ranked(
    found: Iterable[Candidate], flops: Figure, params: Figure | None = None
) -> list[Candidate]:
    """Those with the printed figures first, as they were tried; the others by their difference."""

    def rank(each: Candidate) -> tuple[bool, bool, float]:
        is_equal = flops.equals(each.flops)
        differs = params is not None and not params.equals(each.params)
        return not is_equal, differs, 0 if is_equal else abs(flops.difference(each.flops))

    return sorted(found, key=rank)
