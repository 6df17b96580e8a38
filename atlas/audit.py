"""Published tables audited: the convention that gives a source's figures, and what does not fit.

Each network is counted at its printed clip. Of all conventions, one per source is chosen: the one
that meets most of its printed FLOPs. What it does not meet is looked for by others, for other
classes and at other sizes, and among the networks of the same source.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from functools import cached_property
from typing import get_args

from vidcost.atlas.memory import peak_bytes
from vidcost.atlas.prints import row_at
from vidcost.bench.audit import CLOSE, Verdict
from vidcost.bench.count.counter import count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.references.asking import quiet
from vidcost.papers.figures import Figure, Kind
from vidcost.papers.row import Row
from vidcost.papers.source import Print, Size, Source, source

SIZES = (112, 128, 160, 182, 224, 256, 288, 312, 320, 336)
"""Sides that are tried where no convention gives a figure at the printed one."""


@dataclass(frozen=True)
class Quantities:
    """What was counted of one network on one clip; a convention weighs them.

    ``layer_norm`` are the elements of all norms but BatchNorm. ``peak_bytes`` are activations alive
    at once, the clip among them, in float32, as an eager forward pass frees them.
    """

    params: int
    macs: int
    attention: int
    batch_norm: int
    layer_norm: int
    peak_bytes: int


@dataclass(frozen=True)
class Convention:
    """FLOPs as weights of quantities, over all views of a video or one."""

    name: str
    weights: Mapping[str, int]
    over_views: bool = False

    @property
    def terms(self) -> int:
        """How many quantities it weighs beside MACs."""
        return sum(map(bool, self.weights.values())) - 1

    def of(self, counted: Quantities, views: int | None) -> int | None:
        """What it gives; None where it needs views and the source has none."""
        if self.over_views and views is None:
            return None
        one: int = sum(weight * getattr(counted, name) for name, weight in self.weights.items())
        return one * (views or 1) if self.over_views else one


def _conventions() -> Iterator[Convention]:
    """MACs once or twice, with attention or without, some for each element of norms, over views."""
    for over_views in (False, True):
        for factor in (1, 2):
            for attention in (0, -factor):
                for batch_norm in (0, 2, 5, 4, 1):
                    for layer_norm in (0, 5, 2, 4, 1):
                        words = [f"{factor} x MACs" if factor > 1 else "MACs"]
                        words += ["attention left out"] * bool(attention)
                        words += [f"{batch_norm} per BatchNorm element"] * bool(batch_norm)
                        words += [f"{layer_norm} per LayerNorm element"] * bool(layer_norm)
                        words += ["over all views"] * over_views
                        weights = {"macs": factor, "attention": attention}
                        weights |= {"batch_norm": batch_norm, "layer_norm": layer_norm}
                        yield Convention(", ".join(words), weights, over_views)


CONVENTIONS = tuple(_conventions())
"""All that are tried, the simple ones first."""


def conventions(of: Source) -> tuple[Convention, ...]:
    """All conventions, and those that a source names of its own."""
    return (*CONVENTIONS, *(Convention(name, weights) for name, weights in of.conventions.items()))


# counting


class Counts:
    """Counts of networks, each made once."""

    def __init__(
        self, advance: Callable[[str], None] = lambda what: None, *, peaks: bool = False
    ) -> None:
        self._made: dict[tuple[str, int, Size], Quantities | str] = {}
        self._advance, self._peaks = advance, peaks

    @property
    def missing(self) -> dict[str, str]:
        """Networks that could not be counted, and why."""
        return {key[0]: why for key, why in self._made.items() if isinstance(why, str)}

    def of(self, network: str, classes: int, clip: Size) -> Quantities | str:
        """What is counted, with peaks where they were asked for, or why nothing can be."""
        key = (network, classes, clip)
        if key not in self._made:
            self._advance(f"counted {network}")
            try:
                with quiet():
                    self._made[key] = measured(row_at(*key), peak=self._peaks)
            # a package fails as it likes; the rest goes on
            except Exception as error:
                lines = str(error).strip().splitlines()
                self._made[key] = lines[0] if lines else type(error).__name__
        return self._made[key]


def measured(row: Row, *, peak: bool = False) -> Quantities:
    """Count a row on its clip, on the meta device.  Raises: what the network does."""
    model, clips = on_meta(row)
    found = count(model, *clips)
    norms = Counter[bool]()
    for each in found.operations:
        if each.kind == "norm":
            norms["batch_norm" in each.operator] += each.amount
    return Quantities(
        params=found.params,
        macs=found.total.macs,
        attention=found.total.matmul,
        batch_norm=norms[True],
        layer_norm=norms[False],
        peak_bytes=peak_bytes(model, *clips) if peak else 0,
    )


# judging


@dataclass(frozen=True)
class Judged:
    """A printed figure: ``value`` is what ``by`` gives for it; no verdict without a network.

    ``by`` is a convention's name; of parameters it is empty. ``otherwise`` says under which other
    convention, classes or size the figure comes out, or whose it is, and what was tried.
    """

    row: Print
    kind: Kind
    printed: Figure
    verdict: Verdict | None
    value: int | None = None
    by: str = ""
    otherwise: str = ""

    @property
    def difference(self) -> float | None:
        """Of ``value`` from the figure, relative to it, with its sign."""
        return None if self.value is None else self.printed.difference(self.value)


@dataclass(frozen=True)
class Audit:
    """A source with its convention, chosen among ``tried``, and every figure judged.

    ``met`` are the printed FLOPs that the convention gives, of ``possible`` that could be counted.
    """

    source: Source
    convention: Convention
    met: int
    possible: int
    tried: int
    judged: tuple[Judged, ...]
    missing: Mapping[str, str]

    @cached_property
    def counts(self) -> Counter[Verdict | None]:
        """How many figures have each verdict."""
        return Counter(each.verdict for each in self.judged)


def audit(name: str, counts: Counts) -> Audit:
    """A verdict on every figure of a source.  Raises: ValueError if it cannot be read."""
    found = source(name)
    rows = [(row, counts.of(row.network, row.classes, row.at)) for row in found.prints()]
    built = [(row, each) for row, each in rows if not isinstance(each, str)]
    every = conventions(found)
    printed = [(row.flops, each, row.view_count) for row, each in built if row.flops]

    def met(convention: Convention) -> int:
        return sum(_meets(figure, convention.of(each, v)) for figure, each, v in printed)

    # a further term must give two figures more; of several that give as many, the first is simplest
    best = max(every, key=lambda each: met(each) - each.terms)
    judge = _Judge(counts, best, every, built)
    judged = [each for row, counted in rows for each in judge.row(row, counted)]
    missing = {row.network: each for row, each in rows if isinstance(each, str)}
    return Audit(found, best, met(best), len(printed), len(every), tuple(judged), missing)


def _meets(figure: Figure, value: int | None) -> bool:
    return value is not None and figure.equals(value)


@dataclass(frozen=True)
class _Judge:
    counts: Counts
    best: Convention
    every: Sequence[Convention]
    built: Sequence[tuple[Print, Quantities]]

    def row(self, row: Print, counted: Quantities | str) -> Iterator[Judged]:
        """A verdict on each figure that the row prints."""
        if isinstance(counted, str):
            for kind in get_args(Kind):
                if figure := getattr(row, kind):
                    yield Judged(row, kind, figure, None, otherwise=counted)
            return
        made = [self._params(row, row.params, counted)] if row.params else []
        made += [self._flops(row, row.flops, counted)] if row.flops else []
        whose = self._whose(row, made)
        for each in made:
            is_met = each.verdict in (Verdict.EXACT, Verdict.BOUND_HOLDS)
            yield each if is_met or not whose else replace(each, otherwise=whose)

    def _params(self, row: Print, figure: Figure, counted: Quantities) -> Judged:
        made = _judged(row, "params", figure, counted.params, "")
        if made.verdict is Verdict.EXACT:
            return made
        one_more = self._params_at(row, row.classes + 1) - counted.params
        for classes in sorted({each.classes for each, _ in self.built} - {row.classes}):
            expected = counted.params + one_more * (classes - row.classes)
            if figure.equals(expected) and self._params_at(row, classes) == expected:
                return replace(made, otherwise=f"{classes} classes give {expected:,}")
        return made

    @staticmethod
    def _params_at(row: Print, classes: int) -> int:
        model, _ = on_meta(row_at(row.network, classes, row.at))
        return sum(each.numel() for each in model.parameters())

    def _flops(self, row: Print, figure: Figure, counted: Quantities) -> Judged:
        views = row.view_count
        value = self.best.of(counted, views)
        if value is None:
            value = replace(self.best, over_views=False).of(counted, views)
            assert value is not None
        made = _judged(row, "flops", figure, value, self.best.name)
        if made.verdict in (Verdict.EXACT, Verdict.BOUND_HOLDS):
            return made
        for each in self.every:
            other = each.of(counted, views)
            if other is not None and _meets(figure, other):
                return replace(made, verdict=Verdict.EXACT, value=other, by=each.name)
        for side in _sides(figure.value / value, row.at[1]):
            at = (row.at[0], side, side)
            sized = self.counts.of(row.network, row.classes, at)
            other = None if isinstance(sized, str) else self.best.of(sized, views)
            if _meets(figure, other):
                return replace(made, otherwise=f"{side}x{side} gives {other:,}")
        return made

    def _whose(self, row: Print, judged: Sequence[Judged]) -> str:
        """Whose both figures are, where they are another network's and not the row's."""
        if len(judged) < 2 or any(each.verdict is Verdict.EXACT for each in judged):
            return ""
        assert row.params
        assert row.flops
        for other, counted in self.built:
            values = counted.params, self.best.of(counted, other.view_count)
            if row.params.equals(values[0]) and _meets(row.flops, values[1]):
                return f"both figures are those of {other.label}"
        return ""


def _is_cut_off(figure: Figure, value: int) -> bool:
    """Whether ``value``, cut off at the printed precision, is the figure."""
    scaled = Decimal(value) / figure.unit
    return scaled.quantize(figure.digits, rounding=ROUND_DOWN) == figure.digits


def _sides(ratio: float, side: int) -> list[int]:
    """Other sides at which a cost may be ``ratio`` times that at ``side``.

    It grows at least as the area, at most, where all is attention, as its square.
    """
    ends = sorted((side * ratio**0.25, side * ratio**0.5))
    return [each for each in SIZES if each != side and 0.95 * ends[0] < each < 1.05 * ends[1]]


def _judged(row: Print, kind: Kind, figure: Figure, value: int, by: str) -> Judged:
    if figure.is_bound:
        verdict = Verdict.BOUND_HOLDS if figure.equals(value) else Verdict.NOT_REPRODUCED
        return Judged(row, kind, figure, verdict, value, by)
    if figure.equals(value):
        return Judged(row, kind, figure, Verdict.EXACT, value, by)
    if _is_cut_off(figure, value):
        return Judged(row, kind, figure, Verdict.EXACT, value, by, "cut off, not rounded")
    is_close = abs(figure.difference(value)) < CLOSE
    verdict = Verdict.CLOSE if is_close else Verdict.NOT_REPRODUCED
    return Judged(row, kind, figure, verdict, value, by)
