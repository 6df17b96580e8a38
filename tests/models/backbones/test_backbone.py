import pytest
from torch import nn

from vidcost.models.backbones.backbone import Backbone


class Small(Backbone):
    """No layers; two stages, and a position inside units."""

    title = "Small"
    stages = {"conv2": 1, "conv3": 3}  # noqa: RUF012
    inside = ("unit:in",)

    def layers(self, classes, clip, blocks):
        return iter(())


def with_blocks(stage, units, blocks):
    return list(Small().with_blocks(stage, units, blocks))


def units(count):
    """Units B01, B02, ... with 10, 20, ... channels."""
    return [(f"B{n:02d}", nn.Identity(), 10 * n) for n in range(1, count + 1)]


@pytest.mark.parametrize(
    ("count", "place", "behind"),
    [
        (5, "before-last", [4]),
        (5, "every-other", [2, 4]),
        (6, "every-other", [2, 4, 6]),
        (5, "after-1", [1]),
        (5, "after-5", [5]),
        (2, "before-last", [1]),
        (2, "every-other", [2]),
    ],
)
def test_places(count, place, behind):
    expected = []
    for n in range(1, count + 1):
        expected += [f"B{n:02d}", f"after_B{n:02d}"] if n in behind else [f"B{n:02d}"]
    modules = with_blocks("conv4", units(count), {f"conv4:{place}": nn.BatchNorm3d})
    assert expected == [name for name, _ in modules]


def test_a_block_gets_the_channels_of_the_unit_before_it_and_other_stages_are_left_alone():
    blocks = {
        "conv4:after-3": nn.BatchNorm3d,
        "conv4:before-last": nn.BatchNorm3d,
        "conv40:after-1": nn.BatchNorm3d,
    }
    modules = dict(with_blocks("conv4", units(3), blocks))
    assert ["B01", "B02", "after_B02", "B03", "after_B03"] == list(modules)
    assert (20, 30) == tuple(modules[f"after_B0{n}"].num_features for n in (2, 3))


def test_two_blocks_behind_one_unit_are_refused():
    blocks = {"conv4:before-last": nn.BatchNorm3d, "conv4:every-other": nn.BatchNorm3d}
    with pytest.raises(ValueError, match="two blocks after unit 2 of conv4"):
        with_blocks("conv4", units(3), blocks)


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ("conv6:before-last", "no position 'conv6:before-last': stages are conv2, conv3$"),
        ("", "no position '': stages are conv2, conv3$"),
        (
            "conv3:before-lst",
            "choose from conv3:before-last, conv3:every-other, conv3:after-1 to after-3, unit:in$",
        ),
        ("conv3", "no position 'conv3': choose from conv3:before-last"),
        *(
            (f"conv3:{place}", f"no position 'conv3:{place}': choose from")
            for place in ("3", "after-0", "after-4", "after--1", "after-")
        ),
        ("conv2:before-last", "choose from conv2:after-1, unit:in$"),
        ("conv2:every-other", "choose from conv2:after-1, unit:in$"),
    ],
)
def test_positions_that_do_not_exist_are_refused(position, message):
    Small(blocks={"conv3:after-3": nn.Identity, "unit:in": nn.Identity})
    with pytest.raises(ValueError, match=message):
        Small(blocks={position: nn.Identity})
