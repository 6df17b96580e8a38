"""The audit: a verdict on every printed parameter and FLOPs figure, counted on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Literal

from vidcost.bench.audit.recipe_grid import size
from vidcost.bench.audit.recipe_search import CLOSE, difference
from vidcost.bench.audit.recipes import Figures, Recipe, figures
from vidcost.bench.exit_status import Ending
from vidcost.papers.catalog import every_row, rows_of
from vidcost.papers.figures import Figure, Paper
from vidcost.papers.row import Row


class FindingGone(Ending):
    """What the audit says in words is no longer so by the count."""


Kind = Literal["params", "flops"]
KINDS: dict[Kind, str] = {"params": "params", "flops": "FLOPs"}


class Verdict(StrEnum):
    """What becomes of a printed figure if the network is built as described."""

    EXACT = "exact"
    CLOSE = "close"
    NOT_REPRODUCED = "not reproduced"


@dataclass(frozen=True)
class Fit:
    """A recipe that gives what the paper prints for ``row`` in ``table``, and as which figures.

    Nobody documents it: it was found by trying, which is why :attr:`tried` stands beside it.
    """

    table: int
    row: str
    kinds: tuple[Kind, ...]
    spec: str

    @property
    def recipe(self) -> Recipe:
        """The recipe that ``spec`` writes.  Raises: ValueError if it is none."""
        return Recipe.parse(self.spec)

    @property
    def tried(self) -> int:
        """How many recipes were there to choose from: of the row, or rows if it is another one."""
        recipe = self.recipe
        return size(recipe.row) if recipe.row.name == self.row else len(_buildable())


FITS: tuple[Fit, ...] = (
    Fit(5, "c3d", ("params",), "r3d18"),
    Fit(5, "i3d-rgb", ("params", "flops"), "i3d-rgb classes=400 third-branch=1x1x1 norm=none"),
    Fit(5, "s3d", ("params",), "s3d third-branch=1x1x1 norm=none full-3d-from=4f"),
    Fit(5, "r50-nl", ("params",), "r50-nl classes=1000"),
    Fit(
        5,
        "r50-cgd",
        ("params", "flops"),
        "r50-cgd classes=1000 temporal-pools=both-before-res2",
    ),
    Fit(
        5,
        "r50-cgnl",
        ("params", "flops"),
        "r50-cgnl classes=1000 temporal-pools=both-before-res2",
    ),
    Fit(6, "r50-ucf101", ("params", "flops"), "r50-ucf101 classes=200 frames=16"),
    Fit(
        6,
        "r50-nl-ucf101",
        ("flops",),
        "r50-nl-ucf101 frames=16 temporal-pools=only-before-res2 keys=pooled",
    ),
    Fit(
        6,
        "r50-cgnl-ucf101",
        ("flops",),
        "r50-cgnl-ucf101 temporal-pools=both-before-res2 stride=1x1",
    ),
)


@dataclass(frozen=True)
class Judged:
    """A printed figure beside the network as described; ``ours`` is None if it cannot be built."""

    table: int | str
    label: str
    row: str
    kind: Kind
    printed: Figure
    note: str
    ours: Figures | None
    fit: Fit | None = None

    @property
    def place(self) -> str:
        """Table, row and figure."""
        return f"Table {self.table}, {self.row}, {KINDS[self.kind]}"

    @cached_property
    def met(self) -> tuple[str, ...]:
        """The conventions that give the printed FLOPs; for parameters "params" if they are met."""
        return tuple(
            name for name, value in values(self.kind, self.ours) if self.printed.equals(value)
        )

    @cached_property
    def nearest(self) -> tuple[str, int] | None:
        """The convention that comes nearest, and what it gives; None if there is no network."""
        return min(
            values(self.kind, self.ours),
            key=lambda each: difference(self.printed, each[1]),
            default=None,
        )

    @property
    def difference(self) -> float | None:
        """Of the nearest from the printed figure, relative to it, with its sign."""
        return None if self.nearest is None else self.nearest[1] / self.printed.value - 1

    @property
    def verdict(self) -> Verdict:
        """Exact to the printed precision in some convention, else close, else not reproduced."""
        if self.met:
            return Verdict.EXACT
        if self.difference is not None and abs(self.difference) < CLOSE:
            return Verdict.CLOSE
        return Verdict.NOT_REPRODUCED


def values(kind: Kind, counted: Figures | None) -> list[tuple[str, int]]:
    """What was counted as ``kind``, by convention."""
    if counted is None:
        return []
    return [(kind, counted.params)] if kind == "params" else list(counted.flops.items())


def printed_figures(paper: Paper) -> int:
    """How many parameter and FLOPs figures the paper prints."""
    return sum((row.params is not None) + (row.flops is not None) for row in paper.figures)


def judge(
    paper: Paper,
    fits: Sequence[Fit] = FITS,
    *,
    rows: Sequence[Row] | None = None,
    advance: Callable[[str], None] = lambda what: None,
) -> tuple[Judged, ...]:
    """Every printed parameter and FLOPs figure of the paper with its verdict, in order.

    ``advance`` is called for each of the :func:`printed_figures`.
    """
    named = every_row() if rows is None else {row.name: row for row in rows}
    return tuple(_judged(paper, fits, named, advance))


def _judged(
    paper: Paper, fits: Sequence[Fit], rows: dict[str, Row], advance: Callable[[str], None]
) -> Iterator[Judged]:
    for entry in paper.figures:
        printed: tuple[tuple[Kind, Figure | None, str], ...] = (
            ("params", entry.params, entry.note.params),
            ("flops", entry.flops, entry.note.flops),
        )
        for kind, figure, note in printed:
            if figure is None:
                continue
            row = rows[entry.row]
            yield Judged(
                table=entry.table,
                label=entry.label,
                row=entry.row,
                kind=kind,
                printed=figure,
                note=note,
                ours=figures(Recipe(row)) if row.build else None,
                fit=next(
                    (
                        fit
                        for fit in fits
                        if (fit.table, fit.row) == (entry.table, entry.row) and kind in fit.kinds
                    ),
                    None,
                ),
            )
            advance(f"counted {row.name}")


def problems(judged: Sequence[Judged], fits: Sequence[Fit] = FITS) -> list[str]:
    """What is wrong with notes and fits, a line each, naming table, row and figure."""
    found = []
    for each in judged:
        exact = each.verdict is Verdict.EXACT
        if not exact and not each.note:
            found.append(
                f"{each.place}: {each.printed.printed} is {each.verdict}, and no note in "
                "papers/pnl2020/figures.toml says how ours differs"
            )
        if exact and each.note:
            found.append(
                f"{each.place}: {each.printed.printed} is met by {' and '.join(each.met)}, "
                "but a note says how ours differs"
            )
        if each.fit is None:
            continue
        if exact:
            found.append(f"{each.place}: {each.printed.printed} needs no recipe, but has one")
        given = values(each.kind, figures(each.fit.recipe))
        if not any(each.printed.equals(value) for _, value in given):
            counts = ", ".join(f"{value:,}" for value in dict(given).values())
            found.append(
                f"{each.place}: recipe `{each.fit.spec}` gives {counts}, no longer "
                f"{each.printed.printed}"
            )
    placed = {(each.table, each.row, each.kind) for each in judged}
    found += [
        f"Table {fit.table}, {fit.row}, {KINDS[kind]}: recipe `{fit.spec}` is for a figure that "
        "the paper does not print"
        for fit in fits
        for kind in fit.kinds
        if (fit.table, fit.row, kind) not in placed
    ]
    return found


def still(so: bool, what: str) -> None:
    """Insist on what a sentence says.  Raises: FindingGone if it is not so."""
    if not so:
        raise FindingGone(f"the audit finds no longer that {what}: rewrite the finding")


def _buildable() -> list[Row]:
    # a fast variant costs what its row does, or what nobody printed
    return [row for row in rows_of() if row.build and not row.is_optimized]
