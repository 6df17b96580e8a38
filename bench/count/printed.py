"""Which convention, and which classes and clip, give a figure that somebody printed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from vidcost.bench.count.counter import count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.references.asking import ALL
from vidcost.papers.figures import Figure
from vidcost.papers.row import Row

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
    figures |= {name: each.explain(model, found).flops.total for name, each in ALL.items()}
    for name, flops in figures.items():
        for factor in (1, 2):
            for views in VIEWS:
                words = [f"{views} views of"] * (views > 1) + ["2 x"] * (factor > 1)
                convention = " ".join((*words, name))
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
        for frames in FRAMES:
            for size in SIZES:
                try:
                    other = each.at(frames=frames, size=size)
                    if other not in tried:
                        yield from _candidates_at(other)
                # a network need not take every clip
                except ValueError:
                    continue


def _candidates_at(row: Row) -> Iterator[Candidate]:
    clips = " + ".join("x".join(map(str, clip)) for clip in row.inputs)
    return candidates(f"{row.classes} classes, {clips}", *on_meta(row))


def ranked(
    found: Iterable[Candidate], flops: Figure, params: Figure | None = None
) -> list[Candidate]:
    """Those whose figures are the printed ones first, then by how far they are off."""

    def rank(each: Candidate) -> tuple[bool, bool, float]:
        return (
            not flops.equals(each.flops),
            params is not None and not params.equals(each.params),
            abs(flops.difference(each.flops)),
        )

    return sorted(found, key=rank)
