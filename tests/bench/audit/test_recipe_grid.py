from functools import partial

import pytest

from vidcost.bench.audit import recipe_grid, recipes
from vidcost.bench.audit.recipe_grid import grid, size
from vidcost.bench.audit.recipes import Recipe, figures
from vidcost.models.backbones.c2d import C2DResNet50
from vidcost.models.backbones.mfnet import MFNet
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.pnl import PNL
from vidcost.papers.catalog import select
from vidcost.papers.row import Row

CONV4, RES4 = "conv4:before-last", "res4:before-last"


def row(network, block, *, position, side=32):
    return Row("made up", partial(network, blocks={position: block}), 3, ((3, 4, side, side),))


@pytest.fixture
def without(monkeypatch):
    """Leave axes out."""

    def leave_out(*names):
        kept = {name: axis for name, axis in recipes.AXES.items() if name not in names}
        monkeypatch.setattr(recipes, "AXES", kept)
        recipes.axes.cache_clear()

    yield leave_out
    recipes.axes.cache_clear()


@pytest.mark.parametrize(
    "made_up",
    [
        row(MFNet, NonLocal, position=CONV4),
        row(MFNet, PNL, position="conv3:every-other", side=128),
        row(C2DResNet50, CGNL, position=RES4),
        row(C2DResNet50, CGD, position="bottlenecks:after-conv1"),
    ],
    ids=["nl", "pnl", "cgnl", "cgd"],
)
def test_the_sum_of_parts_is_the_count_of_the_whole(made_up, without):
    without("classes", "frames", *(["temporal-pools"] if made_up.build.func is C2DResNet50 else []))
    found = dict(grid(made_up))
    assert size(made_up) == len(found)
    for recipe, counted in found.items():
        assert figures(recipe) == counted, recipe.spec


def test_a_wrong_part_would_be_noticed(monkeypatch, without):
    without("classes", "frames")
    made_up = row(MFNet, NonLocal, position=CONV4)
    monkeypatch.setattr(recipe_grid, "edit", lambda module, settings: None)
    assert [recipe for recipe, counted in grid(made_up) if figures(recipe) != counted], (
        "the parts were counted without their edits"
    )


def test_every_combination_once_and_the_row_first():
    (mfnet,) = select(["mfnet"])
    # 200 classes or three other numbers, 16 frames or two others
    assert 12 == size(mfnet)
    found = [recipe.settings for recipe, _ in grid(mfnet)]
    assert () == found[0]
    assert 12 == len(set(found))
    assert (("classes", "101"), ("frames", "64")) in found
    assert (("classes", "200"),) not in found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mfnet-nl", 4 * 3 * 2**4),
        ("r50-nl", 4 * 3 * 4 * 2 * 2**4),
        ("s3d", 4 * 3 * 2 * 2 * 10),
        ("r50-ucf101", 4 * 3 * 4 * 2),
    ],
)
def test_how_many_recipes_there_are(name, expected):
    assert expected == size(select([name])[0])


def test_a_recipe_that_cannot_be_built_is_refused(without):
    without("classes", "frames")
    # conv4 leaves one pixel, which has no 2x2 to pool
    found = dict(grid(row(MFNet, NonLocal, position=CONV4, side=16)))
    refused = [recipe for recipe, counted in found.items() if counted is None]
    assert len(found) == 2 * len(refused)
    assert all(("keys", "pooled") in recipe.settings for recipe in refused)


def test_a_network_that_cannot_be_built_is_refused_with_any_block(without):
    without("classes")
    # C3D needs 16 frames; MFNet with PNL of 4 scales a map of 8x8
    made_up = row(MFNet, PNL, position=CONV4, side=32)
    found = dict(grid(made_up))
    assert size(made_up) == len(found)
    assert {None} == set(found.values())


def test_a_row_without_a_definition():
    with pytest.raises(ValueError, match="2plus-c1-d cannot be built"):
        size(select(["2plus-c1-d"])[0])


def test_recipes_of_a_row_belong_to_it():
    (mfnet,) = select(["mfnet"])
    assert Recipe(mfnet) == next(grid(mfnet))[0]
