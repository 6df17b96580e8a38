"""A row: at other clips, with other blocks, built."""

import pytest
import torch

from vidcost.papers.catalog import every_row, select
from vidcost.papers.row import Row

SLOW_FAST = Row("slowfast", dict, 400, ((3, 8, 224, 224), (3, 32, 224, 224)))
WIDE = Row("wide", dict, 5, ((3, 16, 112, 160),))


@pytest.mark.parametrize(
    ("change", "classes", "clip"),
    [({"classes": 7}, 7, (3, 16, 224, 224)), ({"frames": 5, "size": 96}, 200, (3, 5, 96, 96))],
)
def test_at_replaces_what_is_given_and_keeps_the_rest(change, classes, clip):
    original = every_row()["mfnet"]
    row = original.at(**change)
    assert ("mfnet", classes, (clip,)) == (row.name, row.classes, row.inputs)
    assert ((3, 16, 224, 224),) == original.inputs


def test_at_its_own_clip_a_row_is_the_same():
    for row in (SLOW_FAST, WIDE, *select()):
        assert row == row.at()
        if row.inputs:
            assert row == row.at(classes=row.classes, frames=row.frames, size=row.size)


def test_inputs_of_different_lengths_keep_their_ratio():
    assert 32 == SLOW_FAST.frames
    assert ((3, 4, 224, 224), (3, 16, 224, 224)) == SLOW_FAST.at(frames=16).inputs
    assert ((3, 16, 112, 112), (3, 64, 112, 112)) == SLOW_FAST.at(frames=64, size=112).inputs


def test_a_clip_that_is_not_square_keeps_its_shape():
    assert 112 == WIDE.size
    assert ((3, 16, 224, 320),) == WIDE.at(size=224).inputs
    assert ((3, 8, 112, 160),) == WIDE.at(frames=8).inputs


@pytest.mark.parametrize(
    ("row", "change", "message"),
    [
        (SLOW_FAST, {"frames": 30}, "slowfast: an input of 8x224x224 would be 15/2x224x224"),
        (WIDE, {"size": 100}, "wide: an input of 16x112x160 would be 16x100x1000/7"),
    ],
)
def test_an_input_that_would_not_be_whole_is_rejected(row, change, message):
    with pytest.raises(ValueError, match=message):
        row.at(**change)


def test_clips_are_random_and_have_the_batch_in_front():
    first, second = every_row()["resframe-ts"].at(frames=5, size=7).clips(batch=11)
    assert ((11, 3, 5, 7, 7), (11, 3, 1, 7, 7)) == (first.shape, second.shape)
    assert not torch.equal(
        first, every_row()["resframe-ts"].at(frames=5, size=7).clips(batch=11)[0]
    )


def test_build_gets_the_classes_and_the_clip():
    assert {"classes": 400, "frames": 32, "size": 224} == SLOW_FAST.model()
    assert {"classes": 5, "frames": 16, "size": 112} == WIDE.model()


def test_a_row_that_is_only_published_cannot_be_built():
    message = "^2plus-c1-d cannot be built: published only: no public definition of the network"
    with pytest.raises(ValueError, match=message):
        every_row()["2plus-c1-d"].model()


def test_blocks_are_taken_out():
    row = every_row()["mfnet-nl"].without_blocks()
    assert (False, every_row()["mfnet"].network) == (row.has_blocks, row.network)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mfnet", "without_blocks", "mfnet has no blocks: choose a row with one"),
        ("mfnet", "optimized", "mfnet has no blocks: choose a row with one"),
        ("mfnet-nl-optimized", "optimized", "mfnet-nl-optimized is optimized already"),
        ("r50-cgd", "optimized", "r50-cgd has a block of one implementation"),
    ],
)
def test_a_change_of_blocks_that_a_row_does_not_allow(name, change, message):
    with pytest.raises(ValueError, match=message):
        getattr(every_row()[name], change)()


def test_a_network_that_takes_no_blocks_gets_none():
    with pytest.raises(ValueError, match="i3d-ts takes no blocks: choose a network of one stream"):
        every_row()["i3d-ts"].with_blocks({})
