"""The rows of the paper: which there are, what they take, where their blocks sit."""

import pytest
import torch

from vidcost.bench.count import record
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import NonLocal, NonLocalOperation
from vidcost.models.blocks.pnl import PNL
from vidcost.papers.catalog import every_row, tables_of
from vidcost.papers.pnl2020.rows import ROWS


def on_meta(row):
    with torch.device("meta"):
        return row.model(), row.clips()


def test_a_row_stands_in_a_table_or_says_that_it_is_a_variant():
    assert len(ROWS) == len({row.name for row in ROWS})
    for row in ROWS:
        assert bool(tables_of(row.name)) != row.note.startswith("variant: "), row.name


def test_an_optimized_row_differs_in_its_implementation_alone():
    for optimized in (row for row in ROWS if row.is_optimized):
        plain = every_row()[optimized.name.removesuffix("-optimized")]
        assert (optimized.classes, optimized.inputs) == (plain.classes, plain.inputs)
        for row, impl in ((optimized, "optimized"), (plain, "reference")):
            kinds = (CGNL, NonLocalOperation)
            assert {impl} == {m.impl for m in on_meta(row)[0].modules() if isinstance(m, kinds)}


def test_a_row_takes_its_own_clips_alone():
    for row in ROWS:
        if row.build is None:
            assert "2plus-c1-d" == row.name
            continue
        model, clips = on_meta(row)
        with torch.no_grad():
            assert (1, row.classes) == model.eval()(*clips).shape
            with pytest.raises(ValueError, match="built for clips of shape"):
                model(*(clip[..., :-1] for clip in clips))


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        # of the authors' code: without the padding of the max-pools; torchvision's r3d_18
        ("r50-unpadded", 20_233_617_408),
        ("r3d18-torchvision", 40_696_451_072),
        # the same without its head of 200 classes, and a ResNet-50 on one frame of 112x112
        ("resframe-ts-torchvision", 40_696_348_672 + 200 * 512 + 1_076_260_864),
        ("resframe-ts", 8_307_904_512 + 1_076_260_864),
    ],
)
def test_macs_of_variants(name, macs):
    assert macs == record.counted(every_row()[name])[0].macs


BOTTLENECKS = [
    f"layer{stage}.{unit}.after_conv1"
    for stage, units in ((1, 3), (2, 4), (3, 6), (4, 3))
    for unit in range(units)
]
X5 = [
    *("conv3.after_B02", "conv3.after_B04"),
    *("conv4.after_B02", "conv4.after_B04", "conv4.after_B06"),
]


@pytest.mark.parametrize(
    ("name", "kind", "places"),
    [
        ("mfnet-nl", NonLocal, ["conv4.after_B05"]),
        ("mfnet-pnl-x5", PNL, X5),
        ("mfnet-pnl-n2-conv4", PNL, ["conv4.after_B05"]),
        ("r50-nl", NonLocal, ["layer3.after_4"]),
        ("r50-cgnl", CGNL, ["layer3.after_4"]),
        ("r50-cgd", CGD, BOTTLENECKS),
    ],
)
def test_where_the_blocks_sit(name, kind, places):
    model, _ = on_meta(every_row()[name])
    blocks = [
        (key, m) for key, m in model.named_modules() if isinstance(m, (NonLocal, PNL, CGNL, CGD))
    ]
    assert places == [key for key, _ in blocks]
    assert {kind} == {type(block) for _, block in blocks}
