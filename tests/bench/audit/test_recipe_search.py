import pytest

from vidcost.bench.audit import recipe_search
from vidcost.bench.audit.recipe_search import Odds, Target, match, search, target_of
from vidcost.bench.audit.recipes import Figures, Recipe
from vidcost.papers import catalog
from vidcost.papers.catalog import select
from vidcost.papers.figures import Figure

(MFNET,) = select(["mfnet"])


def named(name):
    return select([name])[0]


def counts(params, *flops):
    names = ("macs", "fvcore", "thop", "thop-2020")
    return Figures(params, dict(zip(names, flops, strict=False)))


def recipe(**settings):
    return Recipe(MFNET, tuple(settings.items()))


@pytest.fixture
def found(monkeypatch):
    """Search a made-up grid for made-up figures."""

    def run(grid, *, params="8.0M", flops="2.00G"):
        target = Target(
            Figure.parse(params) if params else None, Figure.parse(flops) if flops else None
        )
        monkeypatch.setattr(recipe_search, "target_of", lambda row, paper: target)
        monkeypatch.setattr(recipe_search, "grid", lambda row: iter(grid))
        return search(MFNET, catalog.paper())

    return run


# --- the target


@pytest.mark.parametrize(
    ("row", "params", "flops"),
    [
        # Table 3 prints 7.843M and 11.176G, Table 5 7.84M and 11.17G
        ("mfnet", "7.843M", "11.176G"),
        ("mfnet-pnl", "7.92M", "11.218G"),
        ("c3d", "33.3M", None),
        # a bound is nothing to search for
        ("i3d-ts", "25.0M", None),
    ],
)
def test_the_more_precise_figure_is_the_target(row, params, flops):
    target = target_of(named(row), catalog.paper())
    assert (params, flops) == tuple(
        figure and figure.printed for figure in (target.params, target.flops)
    )


@pytest.mark.parametrize("row", ["mars", "mfnet-pnl-n2", "r3d18"])
def test_a_row_without_printed_costs(row):
    with pytest.raises(ValueError, match=f"prints no costs of {row} to search for: .*r50-nl"):
        target_of(named(row), catalog.paper())


# --- one match


@pytest.mark.parametrize(
    ("counted", "hits", "conventions"),
    [
        (counts(8_000_000, 2 * 10**9), 2, ("macs",)),
        (counts(8_049_999, 1, 2_004_999_999, 3), 2, ("fvcore",)),
        (counts(8_050_001, 1, 2_000_000_000, 1_999_999_999), 1, ("fvcore", "thop")),
        (counts(8_000_000, 1, 2_005_000_001, 3 * 10**9), 1, ("fvcore",)),
        (counts(9_000_000, 1, 10**9), 0, ("fvcore",)),
    ],
)
def test_what_a_recipe_hits(counted, hits, conventions):
    target = Target(Figure.parse("8.0M"), Figure.parse("2.00G"))
    assert (hits, conventions) == (
        (found := match(recipe(), counted, target)).hits,
        found.conventions,
    )


def test_how_far_off_a_recipe_is():
    target = Target(Figure.parse("8.0M"), Figure.parse("2.00G"))
    found = match(recipe(), counts(10_000_000, 10**9, 3 * 10**9), target)
    assert (0.25, 0.5) == found.off


def test_no_printed_flops():
    found = match(recipe(), counts(8_000_000, 2 * 10**9), Target(Figure.parse("8.0M"), None))
    assert (1, (), None) == (found.hits, found.conventions, found.off[1])


# --- the ranking


def test_best_first(found):
    both = recipe(frames="32"), counts(8_000_000, 2 * 10**9)
    both_with_more = recipe(classes="101", frames="32"), counts(8_000_000, 2 * 10**9)
    one_and_close = recipe(classes="101", frames="64"), counts(8_000_000, 2_010_000_000)
    one = recipe(), counts(8_000_000, 3 * 10**9)
    none_but_close = recipe(classes="101"), counts(8_060_000, 2_010_000_000)
    none = recipe(classes="400"), counts(9_000_000, 3 * 10**9)
    worse = recipe(classes="1000"), counts(10_000_000, 3 * 10**9)
    order = [both, both_with_more, one_and_close, one, none_but_close, none, worse]
    search = found([*reversed(order)])
    assert [each for each, _ in order] == [each.recipe for each in search.matches]
    assert 7 == search.tried


def test_what_cannot_be_built_is_not_tried(found):
    search = found([(recipe(), counts(8_000_000, 1)), (recipe(classes="101"), None)])
    assert (1, 1) == (search.tried, search.refused)


# --- what a hit is worth


def test_odds_by_hand(found):
    # 8.0M within 5% are 7.6M to 8.4M: 9 figures; 2.00G are 1.90G to 2.10G: 21
    search = found(
        [
            (recipe(), counts(7_500_000, 1_900_000_000)),
            (recipe(classes="101"), counts(7_610_000, 2_000_000_000, 2_049_000_000)),
            (recipe(classes="400"), counts(8_020_000, 2_051_000_000)),
            (recipe(classes="1000"), counts(8_040_000, 1_890_000_000)),
        ]
    )
    # 7.6M and, twice, 8.0M
    assert Odds(hits=2, given=2, like=9) == search.params
    # 1.90G, 2.00G, and 2.05G twice
    assert Odds(hits=1, given=3, like=21) == search.flops
    # 7.6M with 2.00G or 2.05G, 8.0M with 2.05G; the last has FLOPs that are not near
    assert Odds(hits=0, given=3, like=189) == search.both
    assert 2 / 9 == search.params.chance


def test_no_odds_where_nothing_is_printed(found):
    search = found([(recipe(), counts(8_000_000, 1))], flops=None)
    assert search.params
    assert None is search.flops is search.both


def test_many_recipes_give_many_figures(found):
    """The more is tried, the less a hit is worth."""
    few = found([(recipe(), counts(8_000_000, 1))])
    many = found([(recipe(), counts(7_600_000 + 100_000 * k, 1)) for k in range(9)])
    assert (1, 1) == (few.params.hits, many.params.hits)
    assert (1 / 9, 1.0) == (few.params.chance, many.params.chance)


def test_progress_is_told(found):
    told = []
    search(MFNET, catalog.paper(), advance=told.append)
    assert 12 == len(told)


# --- on real rows


def test_a_row_that_is_as_printed_is_found_first():
    search_ = search(MFNET, catalog.paper())
    assert (2, ()) == (search_.matches[0].hits, search_.matches[0].recipe.settings)


def test_table_6s_baseline_is_found_in_the_grid():
    found = search(named("r50-ucf101"), catalog.paper())
    assert [(("classes", "200"), ("frames", "16"))] == [
        each.recipe.settings for each in found.matches if each.hits == 2
    ]
    assert 96 == found.tried
