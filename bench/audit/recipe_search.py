"""The recipe search: every recipe around a row, ranked by the printed figures that it gives.

Enough recipes give any figure. So a search also says how many it tried, and how many of the figures
like the printed one, of as many digits and within 5% of it, the same recipes give. Where they give
3 in 100, a hit is worth little more than one in 30.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vidcost.bench.audit.recipe_grid import grid
from vidcost.bench.audit.recipes import Figures, Recipe
from vidcost.papers.figures import Figure, Paper
from vidcost.papers.row import Row

CLOSE = 0.01
"""The relative difference below which a count is close to a printed figure."""
NEAR = 0.05
"""The neighbourhood of a figure in which the density of recipes is taken: 5% to either side."""


@dataclass(frozen=True)
class Target:
    """The figures that the paper prints for a row; where two tables do, the more precise one."""

    params: Figure | None
    flops: Figure | None

    @property
    def printed(self) -> int:
        """How many of the two are printed."""
        return (self.params is not None) + (self.flops is not None)


@dataclass(frozen=True)
class Match:
    """A recipe's counts beside the target.

    ``conventions`` are those that give the printed FLOPs, else the nearest one. ``off`` is the
    relative difference of parameters and of FLOPs, None where nothing is printed.
    """

    recipe: Recipe
    figures: Figures
    params_hit: bool
    flops_hit: bool
    conventions: tuple[str, ...]
    off: tuple[float | None, float | None]

    @property
    def hits(self) -> int:
        """How many printed figures it gives."""
        return self.params_hit + self.flops_hit

    @property
    def rank(self) -> tuple[int, int, int, float]:
        """Sorts the best first: most figures hit, most close, fewest departures, least off."""
        off = [each for each in self.off if each is not None]
        close = sum(each < CLOSE for each in off)
        return -self.hits, -close, len(self.recipe.settings), sum(off)


@dataclass(frozen=True)
class Odds:
    """How many recipes hit, and how easy that was.

    ``like``: how many figures like the printed one there are, of as many digits and within
    ``NEAR`` of it. ``given``: how many of those some recipe gives.
    """

    hits: int
    given: int
    like: int

    @property
    def chance(self) -> float:
        """The share of such figures that the recipes give."""
        return self.given / self.like


@dataclass(frozen=True)
class Search:
    """All that was found: ``tried`` recipes, best first, and ``refused`` that cannot be built.

    ``params``, ``flops`` (in any convention) and ``both`` are None where nothing is printed.
    """

    row: Row
    target: Target
    refused: int
    matches: tuple[Match, ...]
    params: Odds | None
    flops: Odds | None
    both: Odds | None

    @property
    def tried(self) -> int:
        """How many recipes were counted."""
        return len(self.matches)


def target_of(row: Row, paper: Paper) -> Target:
    """The printed figures of ``row``.

    Raises: ValueError if the paper prints no costs of it, naming the rows of which it does.
    """
    entries = [printed for printed in paper.figures if printed.row == row.name]

    def finest(found: Sequence[Figure | None]) -> Figure | None:
        exact = [figure for figure in found if figure is not None and not figure.is_bound]
        return max(exact, key=lambda figure: len(figure.digits.as_tuple().digits), default=None)

    target = Target(finest([e.params for e in entries]), finest([e.flops for e in entries]))
    if not target.printed:
        known = dict.fromkeys(e.row for e in paper.figures if e.params or e.flops)
        raise ValueError(
            f"the paper prints no costs of {row.name} to search for: choose from {', '.join(known)}"
        )
    return target


def search(
    row: Row,
    paper: Paper,
    *,
    advance: Callable[[str], None] = lambda what: None,
) -> Search:
    """Count every recipe around ``row`` and hold it against what the paper prints.

    ``advance`` is called for each of the recipes, of which there are :func:`recipe_grid.size`.
    Raises: ValueError if the paper prints no costs of the row, or it has no public definition.
    """
    target = target_of(row, paper)
    matches, refused = [], 0
    for recipe, counted in grid(row):
        if counted is None:
            refused += 1
        else:
            matches.append(match(recipe, counted, target))
        advance("trying recipes")
    params = [([each.figures.params], each.params_hit) for each in matches]
    flops = [(each.figures.flops.values(), each.flops_hit) for each in matches]
    return Search(
        row=row,
        target=target,
        refused=refused,
        matches=tuple(sorted(matches, key=lambda each: each.rank)),
        params=_odds(target.params, params),
        flops=_odds(target.flops, flops),
        both=_odds_of_both(target.params, target.flops, matches),
    )


def match(recipe: Recipe, counted: Figures, target: Target) -> Match:
    """Hold what was counted for ``recipe`` against ``target``."""
    met = tuple(
        name
        for name, value in counted.flops.items()
        if target.flops is not None and target.flops.equals(value)
    )
    nearest = (
        min(counted.flops, key=lambda name: difference(target.flops, counted.flops[name]))
        if target.flops
        else ""
    )
    return Match(
        recipe=recipe,
        figures=counted,
        params_hit=target.params is not None and target.params.equals(counted.params),
        flops_hit=bool(met),
        conventions=met or ((nearest,) if nearest else ()),
        off=(
            difference(target.params, counted.params) if target.params else None,
            difference(target.flops, counted.flops[nearest]) if target.flops else None,
        ),
    )


def difference(figure: Figure | None, value: int) -> float:
    """How far ``value`` is from a printed figure, relative to it."""
    assert figure is not None
    return abs(value / figure.value - 1)


def _odds(figure: Figure | None, found: Sequence[tuple[Iterable[int], bool]]) -> Odds | None:
    if figure is None:
        return None
    given = set().union(*(_near(figure, values) for values, _ in found))
    return Odds(sum(hit for _, hit in found), len(given), _like(figure))


def _odds_of_both(
    params: Figure | None, flops: Figure | None, matches: Sequence[Match]
) -> Odds | None:
    if params is None or flops is None:
        return None
    given = {
        pair
        for each in matches
        for pair in itertools.product(
            _near(params, [each.figures.params]), _near(flops, each.figures.flops.values())
        )
    }
    hits = sum(each.hits == 2 for each in matches)
    return Odds(hits, len(given), _like(params) * _like(flops))


def _near(figure: Figure, values: Iterable[int]) -> set[int]:
    """``values`` in units of the last digit of ``figure``, as far as they are like it."""
    last_digits = {round(value / figure.step) for value in values}
    return {each for each in last_digits if abs(each - _index(figure)) <= _radius(figure)}


def _like(figure: Figure) -> int:
    return 2 * _radius(figure) + 1


def _radius(figure: Figure) -> int:
    return int(NEAR * _index(figure))


def _index(figure: Figure) -> int:
    return round(figure.value / figure.step)
