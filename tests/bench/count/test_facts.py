import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vidcost.bench.count.counter import count
from vidcost.bench.count.record import count_row
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.pnl import PNL
from vidcost.papers.catalog import select
from vidcost.papers.pnl2020.rows import ROWS

BUILDABLE = [row.name for row in ROWS if row.build is not None]


def only(name):
    (row,) = select([name])
    return row


# 200 classes, 1 x 3 x 16 x 224 x 224, counted on the authors' public code and, for the blocks, on
# a rebuild of the text; bn is BatchNorm as counters count it, two for each element
@pytest.mark.parametrize(
    ("name", "params", "conv", "bn", "linear", "matmul"),
    [
        ("mfnet", 7_842_568, 11_045_142_528, 131_059_712, 153_600, 0),
        ("mfnet-nl", 8_138_248, 11_507_564_544, 132_263_936, 153_600, 944_111_616),
        ("mfnet-pnl-concat", 7_861_768, 11_082_743_808, 132_263_936, 153_600, 251_283_456),
        ("mfnet-pnl", 7_870_984, 11_082_743_808, 132_263_936, 190_464, 253_692_672),
        ("mfnet-pnl-x5", 7_942_408, 11_234_476_032, 139_489_280, 282_624, 4_798_436_352),
    ],
)
def test_mfnet_and_its_blocks(name, params, conv, bn, linear, matmul):
    record = count_row(only(name))
    counted = (record.params, record.conv, 2 * record.norm, record.linear, record.matmul)
    assert (params, conv, bn, linear, matmul) == counted


@pytest.mark.parametrize(
    ("name", "classes", "params", "macs"),
    [
        # counted on the authors' public code
        ("i3d-rgb", 400, 12_697_264, 111_153_143_808),
        ("s3d", 400, 8_320_048, 71_916_314_624),
        ("c3d", 200, 78_815_176, 38_547_783_680),
        ("r3d18", 200, 33_306_504, 8_307_904_512),
        ("mars", 200, 47_931_016, 9_567_305_728),
        # ResNet-50 without its 2D head, and 2049 for each class
        ("r50-ucf101", 200, 23_917_832, 20_436_893_696),
    ],
)
def test_networks(name, classes, params, macs):
    record = count_row(only(name).at(classes=classes))
    assert (params, macs) == (record.params, record.macs)


@pytest.mark.parametrize(
    ("name", "params"), [("r50-nl", 27_656_232), ("r50-cgnl", 27_197_480), ("r50-cgd", 25_579_688)]
)
def test_blocks_in_resnet50_with_an_imagenet_head(name, params):
    assert params == count_row(only(name).at(classes=1000)).params


@pytest.mark.parametrize(
    ("block", "macs"),
    [
        (NonLocal, 1_406_533_632),
        (lambda channels: PNL(channels, n=2, combine="concat"), 646_066_176),
        (lambda channels: PNL(channels, n=3, combine="concat"), 401_620_992),
        (lambda channels: PNL(channels, n=4, combine="concat"), 288_884_736),
    ],
)
def test_blocks_on_the_map_of_conv4(block, macs):
    with torch.device("meta"):
        assert macs == count(block(384), torch.empty(1, 384, 8, 14, 14)).total.macs


def torchs_macs(row):
    """What torch's own counter, which knows convolutions and products, says on the meta device."""
    with torch.device("meta"):
        model, clips = row.model().eval(), row.clips()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*clips)
    flops = counter.get_total_flops()
    assert 0 == flops % 2
    return flops // 2


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        *((name, {}) for name in BUILDABLE),
        ("mfnet-pnl-x5", {"frames": 7, "size": 160}),
        ("r50-nl-ucf101", {"frames": 11, "size": 112}),
        ("i3d-ts", {"frames": 16}),
        ("c3d", {"frames": 17, "size": 80}),
        ("resframe-ts", {"frames": 8, "size": 96}),
        ("r3d18", {"frames": 5, "classes": 13}),
    ],
)
@pytest.mark.slow
def test_torchs_own_counter_agrees_on_every_row(name, clip):
    row = only(name).at(**clip)
    assert torchs_macs(row) == count_row(row).macs
    assert row.inputs == count_row(row).inputs
