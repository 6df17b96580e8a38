import re
import shlex

import pytest

from vidcost.bench.audit.recipes import AXES, CONVENTIONS, Recipe, axes, built, figures
from vidcost.papers.catalog import select
from vidcost.papers.pnl2020.rows import ROWS

# ResNet-50 without its head has 23,508,032 parameters, a head 2049 for each class; the non-local
# block on 1024 channels 2 x 1024^2 and BatchNorm's 2 x 1024
R50, HEAD, NL = 23_508_032, 2049, 2 * 1024**2 + 2 * 1024


@pytest.mark.parametrize(
    ("spec", "params"),
    [
        ("r50-nl", R50 + 200 * HEAD + NL),
        ("r50-nl classes=1000", R50 + 1000 * HEAD + NL),
        ("r50-nl classes=1000 bias=yes", R50 + 1000 * HEAD + NL + 3 * 512 + 1024),
        ("r50-nl classes=1000 block-norm=none", R50 + 1000 * HEAD + NL - 2048),
        ("r50-nl inner=full", R50 + 200 * HEAD + 4 * 1024**2 + 2048),
        ("r50-nl temporal-pools=none keys=pooled stride=1x1 frames=16", R50 + 200 * HEAD + NL),
        ("r50-ucf101", R50 + 101 * HEAD),
        ("mfnet-pnl-x5 weights=per-scale", 8_135_944),
        ("i3d-rgb classes=400 norm=none", 12_682_704),
        ("r3d18", 33_306_504),
    ],
)
def test_parameters_of_a_recipe(spec, params):
    assert params == figures(Recipe.parse(spec)).params


@pytest.mark.parametrize(
    ("spec", "macs"),
    [
        # from the authors' networks, counted apart
        ("mfnet", 11_045_296_128),
        ("r50-ucf101 classes=200 frames=16", 10_218_651_648),
        ("i3d-rgb classes=400", 111_153_143_808),
    ],
)
def test_macs_of_a_recipe(spec, macs):
    assert macs == figures(Recipe.parse(spec)).flops["macs"]


def test_every_convention_is_given():
    counted = figures(Recipe.parse("mfnet"))
    assert CONVENTIONS == tuple(counted.flops)
    # thop of May 2020 prints 11.176G for MFNet
    assert 11_176_356_608 == counted.flops["thop-2020"]


def test_a_recipe_is_read_as_it_is_written():
    spec = "r50-nl classes=1000 temporal-pools=both-before-res2 keys=pooled"
    recipe = Recipe.parse(spec)
    assert spec == recipe.spec
    assert recipe == Recipe.parse(
        "r50-nl keys=pooled  temporal-pools=both-before-res2 classes=1000"
    )
    assert f"vidcost audit --recipe '{spec}'" == recipe.command
    assert ["vidcost", "audit", "--recipe", spec] == shlex.split(recipe.command)


def test_a_recipe_in_words():
    assert "as described" == Recipe.parse("mfnet").words
    assert "1000 classes, both temporal poolings before res2, keys and values pooled 2x2" == (
        Recipe.parse("r50-nl classes=1000 temporal-pools=both-before-res2 keys=pooled").words
    )


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("", "no row ''"),
        ("mfnett", "did you mean 'mfnet'?"),
        ("r50*", "'r50*' is no single row: a recipe starts with one row's name"),
        ("c3*", "'c3*' is no single row"),
        ("2plus-c1-d", "2plus-c1-d cannot be built"),
        ("mfnet keys=pooled", "mfnet has no axis 'keys': it has classes, frames"),
        ("r50-nl key=pooled", "r50-nl has no axis 'key': did you mean 'keys'?"),
        ("r50-nl keys=large", "keys cannot be 'large': choose from pooled"),
        ("r50-nl keys", "keys cannot be '': choose from pooled"),
        ("r50-nl classes=7", "classes cannot be '7': choose from 101, 200, 400, 1000"),
        ("r50-nl keys=pooled keys=pooled", "keys is given twice"),
    ],
)
def test_what_is_no_recipe(spec, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        Recipe.parse(spec)


@pytest.mark.parametrize(
    ("row", "offered"),
    [
        ("mfnet", "classes frames"),
        ("mfnet-nl", "classes frames inner bias keys block-norm"),
        ("mfnet-pnl", "classes frames inner bias block-norm weights query"),
        # vanilla concatenation has no linear layers
        ("mfnet-pnl-concat", "classes frames inner bias block-norm weights"),
        ("r50-cgnl", "classes frames temporal-pools stride bias block-norm groups"),
        ("r50-cgd", "classes frames temporal-pools stride average"),
        ("i3d-ts", "classes frames third-branch norm"),
        ("s3d", "classes frames third-branch norm full-3d-from"),
    ],
)
def test_the_axes_of_a_row(row, offered):
    assert offered.split() == list(axes(select([row])[0]))


def test_a_setting_of_a_block_is_known_as_one():
    of_block = "inner bias keys block-norm groups weights query average"
    assert of_block.split() == [name for name, axis in AXES.items() if axis.of_block]


CHOICES = [
    pytest.param(row, axis, choice, id=f"{row.name} {axis}={choice}")
    for row in ROWS
    if row.name in ("mfnet-nl", "mfnet-pnl", "r50-cgnl", "r50-cgd", "s3d", "i3d-rgb")
    for axis in axes(row)
    for choice in AXES[axis].choices
    if choice not in (str(row.classes), str(row.frames)) and axis != "average"
]


@pytest.mark.parametrize(("row", "axis", "choice"), CHOICES)
def test_every_setting_changes_what_is_counted(row, axis, choice):
    plain, changed = built(Recipe(row))[1].total, built(Recipe(row, ((axis, choice),)))[1].total
    assert plain != changed


def test_an_average_by_a_module_is_seen_by_counters_of_modules():
    plain, changed = (figures(Recipe.parse(s)) for s in ("r50-cgd", "r50-cgd average=module"))
    assert (plain.params, plain.flops["macs"]) == (changed.params, changed.flops["macs"])
    assert plain.flops["thop-2020"] < changed.flops["thop-2020"]
