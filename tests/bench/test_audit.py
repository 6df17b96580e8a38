import re
import shlex
from dataclasses import replace

import pytest

from vidcost.bench.audit import (
    CONVENTIONS,
    Figures,
    Judged,
    Recipe,
    Verdict,
    figures,
    judge,
    judge_claims,
    problems,
)
from vidcost.papers import catalog
from vidcost.papers.catalog import select
from vidcost.papers.figures import Figure

# ResNet-50 without its head has 23,508,032 parameters, a head 2049 for each class; the non-local
# block on 1024 channels 2 x 1024^2 and BatchNorm's 2 x 1024
R50, HEAD, NL = 23_508_032, 2049, 2 * 1024**2 + 2 * 1024


@pytest.mark.parametrize(
    ("spec", "params"),
    [
        ("r50-nl", R50 + 200 * HEAD + NL),
        ("r50-nl keys=pooled stride=1x1 frames=16 classes=1000", R50 + 1000 * HEAD + NL),
        ("mfnet-pnl-x5 weights=per-scale", 8_135_944),
        ("i3d-rgb classes=400 norm=none", 12_682_704),
        ("r3d18", 33_306_504),
    ],
)
def test_parameters_of_a_recipe(spec, params):
    assert params == figures(Recipe.parse(spec)).params


def test_a_recipe_is_read_as_it_is_written():
    spec = "r50-nl classes=1000 temporal-pools=both-before-res2 keys=pooled"
    recipe = Recipe.parse(spec)
    assert spec == recipe.spec
    other = "r50-nl keys=pooled  temporal-pools=both-before-res2 classes=1000"
    assert recipe == Recipe.parse(other)
    assert f"vidcost audit --recipe '{spec}'" == recipe.command
    assert ["vidcost", "audit", "--recipe", spec] == shlex.split(recipe.command)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("", "no row ''"),
        ("mfnett", "did you mean 'mfnet'?"),
        ("r50*", "'r50*' is no single row: a recipe starts with one row's name"),
        ("2plus-c1-d", "2plus-c1-d cannot be built"),
        ("mfnet keys=pooled", "mfnet has no setting 'keys=pooled': it has classes=101, "),
        ("r50-nl keys", "r50-nl has no setting 'keys': it has classes=101, "),
        ("r50-nl classes=7", "r50-nl has no setting 'classes=7': it has classes=101, "),
        ("example-r3d18 classes=101", "has no setting 'classes=101': it has none"),
        ("r50-nl classes=101 classes=400", "classes is given twice"),
    ],
)
def test_what_is_no_recipe(spec, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        Recipe.parse(spec)


@pytest.fixture(scope="module")
def judged():
    return judge(catalog.paper())


def place(judged, table, row, kind):
    (each,) = (j for j in judged if (j.table, j.row.name, j.kind) == (table, row, kind))
    return each


def figure(printed, *, kind="params", params=0, note="", **flops):
    (row,) = select(["mfnet"])
    ours = Figures(params, flops, 0)
    return Judged(3, "label", row, kind, Figure.parse(printed), note, None, None, ours)


@pytest.mark.parametrize(
    ("printed", "params", "verdict"),
    [
        ("8.00M", 8_004_999, Verdict.EXACT),
        ("8.00M", 8_005_001, Verdict.CLOSE),
        ("8.00M", 8_079_999, Verdict.CLOSE),
        ("8.00M", 7_920_001, Verdict.CLOSE),
        ("8.00M", 8_080_001, Verdict.NOT_REPRODUCED),
        ("8.00M", 7_919_999, Verdict.NOT_REPRODUCED),
        # a bound says less than a figure
        (">8.00M", 8_000_001, Verdict.BOUND_HOLDS),
        (">8.00M", 16_000_000, Verdict.BOUND_HOLDS),
        (">8.00M", 5_000_000, Verdict.NOT_REPRODUCED),
    ],
)
def test_verdicts_on_parameters(printed, params, verdict):
    assert verdict == figure(printed, params=params).verdict


def test_a_recipe_gives_its_figure_and_says_among_how_many(judged):
    cgnl = place(judged, 5, "r50-cgnl", "flops")
    assert (("fvcore", 19_164_262_400), 768) == (cgnl.given(), cgnl.tried)


def test_a_claim_is_checked_by_the_code_of_its_paper(tiny):
    tiny()
    ((_, said),) = judge_claims(catalog.paper("tiny"))
    assert "does not hold" == said.by_count


def test_a_claim_that_no_code_checks_is_an_error_that_says_so(tiny, complaint):
    tiny(claims="is_large = None")
    said = "no code checks the claim 'small' of Abstract: add a function is_small to papers/tiny"
    assert said in complaint("audit", "tiny")


def test_the_convention_that_gives_flops_or_is_nearest_is_named():
    counted = figures(Recipe.parse("mfnet")).flops
    assert (CONVENTIONS, 11_176_356_608) == (tuple(counted), counted["thop-2020"])
    each = figure("2.00G", kind="flops", macs=10**9, fvcore=2 * 10**9, thop=2_004_000_000)
    assert (Verdict.EXACT, ("fvcore", "thop")) == (each.verdict, each.met)
    each = figure("2.00G", kind="flops", macs=10**9, fvcore=2_010_000_000, thop=3 * 10**9)
    assert (Verdict.CLOSE, ("fvcore", 2_010_000_000)) == (each.verdict, each.nearest)
    assert 0.005 == pytest.approx(each.difference)
    # what cannot be built
    each = replace(figure("8.00M"), ours=None)
    assert (Verdict.NOT_REPRODUCED, None, None) == (each.verdict, each.nearest, each.difference)


def test_every_printed_figure_is_judged_and_no_note_or_recipe_is_wrong(judged):
    # Table 3 prints 6, Table 5 two for 11 rows and one for C3D, of which I3D (TS) has a bound,
    # Table 6 prints 8
    assert 6 + 2 * 11 + 1 + 8 == len(judged)
    assert [] == problems(catalog.paper(), judged)


@pytest.mark.parametrize(
    ("where", "wrong", "said"),
    [
        ((5, "c3d", "params"), {"note": ""}, "33.3M is not reproduced, and no note"),
        ((3, "mfnet-pnl", "flops"), {"note": ""}, "11.218G is close, and no note"),
        ((3, "mfnet", "params"), {"note": "n"}, "7.843M is met by params, but a note"),
        ((3, "mfnet", "flops"), {"note": "n"}, "11.176G is met by fvcore and thop-2020, but"),
        (
            (5, "r50-nl", "params"),
            {"recipe": Recipe.parse("r50-nl classes=400")},
            "recipe `r50-nl classes=400` gives 26,426,832, no longer 27.66M",
        ),
        (
            (3, "mfnet", "params"),
            {"recipe": Recipe.parse("mfnet"), "tried": 1},
            "7.843M needs no recipe, but has one",
        ),
    ],
)
def test_a_wrong_note_or_recipe_is_named(judged, where, wrong, said):
    table, row, kind = where
    if "note" in wrong:
        wrong["recipe"] = None
    (problem,) = problems(catalog.paper(), [replace(place(judged, *where), **wrong)])
    kind = {"flops": "FLOPs"}.get(kind, kind)
    assert problem.startswith(f"Table {table}, {row}, {kind}: {said}")
