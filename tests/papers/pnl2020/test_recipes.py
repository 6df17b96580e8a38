"""Recipes: each edit changes what it names, and nothing else."""

from functools import partial

import pytest
import torch
from torch import nn

from vidcost.bench.audit import Recipe, built, settings
from vidcost.bench.count.counter import count
from vidcost.models.backbones.inception import S3D
from vidcost.models.backbones.mfnet import MFNet
from vidcost.papers.catalog import select
from vidcost.papers.pnl2020 import recipes as edits


def counted(model, *shape):
    with torch.device("meta"):
        x = torch.empty(1, *shape)
    return count(model.to("meta"), x)


def edited(model, edit):
    edit(model)
    return model


def kernels(model):
    return [tuple(m.kernel_size) for m in model.modules() if isinstance(m, nn.Conv3d)]


def test_full_3d_above_and_2d_below():
    model = edited(S3D(frames=16, size=32), partial(edits.unseparated, from_unit="5b"))
    # 5b and 5c have two separable pairs each; two in the stem and 2 x 7 below become 2D
    found = kernels(model)
    assert (4, 0, 15, 1) == tuple(
        found.count(kernel) for kernel in ((3, 3, 3), (3, 1, 1), (1, 3, 3), (1, 7, 7))
    )
    # frames are still left out where the stem strode over them
    plain = counted(S3D(frames=16, size=32), 3, 16, 32, 32).calls
    changed = counted(model, 3, 16, 32, 32).calls
    last = [next(c.input for c in calls if c.module == "avgpool") for calls in (plain, changed)]
    assert last[0] == last[1]


@pytest.mark.parametrize("name", ["mfnet", "mfnet-pnl", "r50-nl", "s3d", "i3d-rgb"])
def test_every_setting_changes_the_count_of_a_row_that_it_suits(name):
    (row,) = select([name])
    plain = built(Recipe(row))[1].total
    for each in settings(row):
        if not any(getattr(row, key) == value for key, value in each.at.items()):
            assert plain != built(Recipe(row, (each,)))[1].total, each.name


def test_an_edit_leaves_other_networks_alone():
    def model():
        return MFNet(classes=3, frames=4, size=32)

    before = counted(model(), 3, 4, 32, 32)
    for each in edits.SETTINGS:
        if each.edit and each.name != "norm=none":
            assert before == counted(edited(model(), each.edit), 3, 4, 32, 32), each.name
