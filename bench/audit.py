"""The audit of a paper: a verdict on every printed figure and claim, counted on the spot."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import NamedTuple

import torch
from torch import nn

from vidcost.bench.count.counter import Count, count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.reconcile import flops
from vidcost.papers import catalog
from vidcost.papers.figures import Claim, Figure, Kind, Paper
from vidcost.papers.row import Row, Setting

CONVENTIONS = ("macs", "fvcore", "thop", "thop-2020")
"""What a printed FLOPs figure is compared with. torch's own counter, halved, prints our MACs."""
CLOSE = 0.01
"""The relative difference below which a count is close to a printed figure."""
HOLDS, HOLDS_NOT = "holds", "does not hold"
KINDS: dict[Kind, str] = {"params": "params", "flops": "FLOPs"}


# recipes


@dataclass(frozen=True)
class Figures:
    """What was counted: all parameters, FLOPs by convention, MACs of products of activations."""

    params: int
    flops: Mapping[str, int]
    matmul: int

    def of(self, kind: Kind) -> dict[str, int]:
        """What was counted as ``kind``, by convention."""
        return {"params": self.params} if kind == "params" else dict(self.flops)

    def met(self, kind: Kind, printed: Figure | None) -> tuple[str, ...]:
        """The conventions that give a printed figure, if any; of parameters "params"."""
        values = self.of(kind).items() if printed else ()
        return tuple(name for name, value in values if printed and printed.equals(value))

    def below(self, other: Figures) -> bool:
        """Whether FLOPs are fewer in every convention."""
        return all(value < other.flops[name] for name, value in self.flops.items())


@dataclass(frozen=True)
class Recipe:
    """A row and its departures, in the order of the paper's settings.

    ``r50-nl classes=1000 temporal-pools=both-before-res2`` is a recipe.
    """

    row: Row
    settings: tuple[Setting, ...] = ()

    @property
    def spec(self) -> str:
        """The recipe as it is written on the command line."""
        return " ".join((self.row.name, *(each.name for each in self.settings)))

    @property
    def words(self) -> str:
        """Its departures in words."""
        return ", ".join(each.words for each in self.settings) or "as described"

    @property
    def command(self) -> str:
        """The command that counts it."""
        return f"vidcost audit --recipe {shlex.quote(self.spec)}"

    @classmethod
    def parse(cls, spec: str) -> Recipe:
        """Read ``ROW AXIS=CHOICE ...``.

        Raises: ValueError that names the rows or settings there are.
        """
        name, *words = spec.split() or [""]
        (row, *others) = catalog.select([name])
        if others or row.name != name:
            raise ValueError(f"{name!r} is no single row: a recipe starts with one row's name")
        known = {each.name: each for each in settings(row)}
        for word in words:
            if word not in known:
                raise ValueError(
                    f"{name} has no setting {word!r}: it has {', '.join(known) or 'none'}"
                )
        axes = [word.partition("=")[0] for word in words]
        if twice := [axis for axis in axes if axes.count(axis) > 1]:
            raise ValueError(f"{twice[0]} is given twice")
        return cls(row, tuple(each for each in known.values() if each.name in words))


@cache
def settings(row: Row) -> tuple[Setting, ...]:
    """How ``row`` can differ, by the settings of its paper; none if it has no recipes.

    Raises: ValueError if the row has no public definition.
    """
    with torch.device("meta"):
        network = row.model()
    paper = catalog.paper_of(row.name)
    module = paper and catalog.module_of(paper.name, "recipes")
    every: tuple[Setting, ...] = module.SETTINGS if module else ()
    return tuple(each for each in every if any(isinstance(m, each.of) for m in network.modules()))


def built(recipe: Recipe) -> tuple[nn.Module, Count]:
    """The recipe's network, on the meta device, and its count at batch 1.

    Raises: ValueError if the network does not take its settings.
    """
    row = recipe.row
    for setting in recipe.settings:
        row = row.at(**setting.at)
    model, clips = on_meta(row)
    with torch.device("meta"):
        for setting in recipe.settings:
            if setting.edit:
                setting.edit(model)
    return model, count(model, *clips)


@cache
def figures(recipe: Recipe) -> Figures:
    """Build the recipe's network, count one clip, and give its FLOPs in every convention.

    Raises: ValueError if the network does not take its settings.
    """
    model, counted = built(recipe)
    by_convention = {name: flops(name, model, counted) for name in CONVENTIONS}
    return Figures(counted.params, by_convention, counted.total.matmul)


def ours(spec: str) -> Figures:
    """What is counted for a recipe, or a row as described.  Raises: ValueError as it does."""
    return figures(Recipe.parse(spec))


# figures


class Verdict(StrEnum):
    """Whether a printed figure is met if the network is built as described."""

    EXACT = "exact"
    BOUND_HOLDS = "bound holds"
    CLOSE = "close"
    NOT_REPRODUCED = "not reproduced"


@dataclass(frozen=True)
class Judged:
    """A printed figure beside the network as described; ``ours`` is None if it cannot be built.

    ``recipe`` gives the figure, if one is known; nobody documents it. It was found among ``tried``.
    """

    table: int | str
    label: str
    row: Row
    kind: Kind
    printed: Figure
    note: str
    recipe: Recipe | None
    tried: int | None
    ours: Figures | None

    @property
    def met(self) -> tuple[str, ...]:
        """The conventions that give it; of parameters "params" if they do."""
        return self.ours.met(self.kind, self.printed) if self.ours else ()

    @property
    def nearest(self) -> tuple[str, int] | None:
        """The convention that comes nearest, and its value; None if there is no network."""
        values, far = self.ours.of(self.kind) if self.ours else {}, self.printed.difference
        return min(values.items(), key=lambda each: abs(far(each[1])), default=None)

    @property
    def difference(self) -> float | None:
        """Of the nearest from the printed figure, relative to it, with its sign."""
        return None if self.nearest is None else self.printed.difference(self.nearest[1])

    @property
    def verdict(self) -> Verdict:
        """Exact to the printed precision in some convention, else close, else not reproduced.

        A bound holds if all conventions meet it; else it is not reproduced.
        """
        if self.printed.is_bound:
            holds = self.ours is not None and len(self.met) == len(self.ours.of(self.kind))
            return Verdict.BOUND_HOLDS if holds else Verdict.NOT_REPRODUCED
        if self.met:
            return Verdict.EXACT
        if self.difference is not None and abs(self.difference) < CLOSE:
            return Verdict.CLOSE
        return Verdict.NOT_REPRODUCED

    def given(self) -> tuple[str, int] | None:
        """The convention in which the recipe gives the figure, and its value; None if in none."""
        values = figures(self.recipe).of(self.kind) if self.recipe else {}
        return next((each for each in values.items() if self.printed.equals(each[1])), None)


def judge(
    paper: Paper, *, advance: Callable[[str], None] = lambda what: None
) -> tuple[Judged, ...]:
    """Every printed parameter and FLOPs figure of the paper with its verdict, in order.

    ``advance`` is called for each row of its tables.
    Raises: ValueError if a figure or a recipe is of a row that no paper has.
    """
    rows, judged = catalog.printed_rows(paper), []
    for entry in paper.figures:
        row = rows[entry.row]
        for kind, figure, note, recipe in entry.figures():
            ours = figures(Recipe(row)) if row.build else None
            known = Recipe.parse(recipe.spec) if recipe else None
            tried = recipe.tried if recipe else None
            judged.append(
                Judged(entry.table, entry.label, row, kind, figure, note, known, tried, ours)
            )
        advance(f"counted {row.name}")
    return tuple(judged)


def problems(paper: Paper, judged: Sequence[Judged]) -> list[str]:
    """What is wrong with notes and recipes, a line each, naming table, row and figure."""
    lines = []
    for each in judged:
        is_exact = each.verdict in (Verdict.EXACT, Verdict.BOUND_HOLDS)
        printed = each.printed.printed
        place = f"Table {each.table}, {each.row.name}, {KINDS[each.kind]}: "
        if not is_exact and not each.note:
            file = f"papers/{paper.name}/figures.toml"
            lines.append(
                f"{place}{printed} is {each.verdict}, and no note in {file} says how ours differs"
            )
        if is_exact and each.note:
            met = " and ".join(each.met)
            lines.append(f"{place}{printed} is met by {met}, but a note says how ours differs")
        if each.recipe and is_exact:
            lines.append(f"{place}{printed} needs no recipe, but has one")
        if each.recipe and each.given() is None:
            counts = ", ".join(f"{n:,}" for n in figures(each.recipe).of(each.kind).values())
            lines.append(f"{place}recipe `{each.recipe.spec}` gives {counts}, no longer {printed}")
    return lines


# claims


class Said(NamedTuple):
    """What is left of a claim: by the paper's own figures or forms, and by the count."""

    by_paper: str
    by_count: str
    because: str


def judge_claims(paper: Paper) -> list[tuple[Claim, Said]]:
    """A verdict on every claim of the paper, in its order, by the functions of its claims.py.

    Raises: ValueError if there is no such function.
    """
    module, found = catalog.module_of(paper.name, "claims"), []
    for claim in paper.claims:
        check: Callable[[Claim, Paper], Said] | None = getattr(module, claim.check, None)
        if check is None:
            raise ValueError(
                f"no code checks the claim {claim.printed!r} of {claim.where}: add a function "
                f"{claim.check} to papers/{paper.name}/claims.py"
            )
        found.append((claim, check(claim, paper)))
    return found


def holds(is_so: bool) -> str:
    """The verdict in words."""
    return HOLDS if is_so else HOLDS_NOT
