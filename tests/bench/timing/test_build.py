"""What a cell times, built."""

from __future__ import annotations

import pytest
import torch

from vidcost.bench.timing.build import build
from vidcost.bench.timing.cell import Cell
from vidcost.models.blocks.pnl import PNL
from vidcost.papers.catalog import select
from vidcost.papers.pnl2020.rows import ROWS

SMALL = {"row": "mfnet-nl", "frames": 4, "size": 64, "classes": 7}


def test_a_row_at_its_clip_and_batch():
    built = build(Cell(**SMALL, batch=3))
    assert [(3, 3, 4, 64, 64)] == [tuple(clip.shape) for clip in built.inputs]
    assert 7 == built.model.classifier.out_features
    assert not built.model.training
    assert None is built.without


def test_a_block_alone():
    built = build(Cell(block="pnl:n=3", shape=(12, 2, 5, 7), batch=2))
    assert isinstance(built.model, PNL)
    assert [(2, 12, 2, 5, 7)] == [tuple(x.shape) for x in built.inputs]


def test_the_same_seed_gives_the_same_numbers_and_no_zeros():
    first, again, other = (build(Cell(**SMALL), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.inputs[0], again.inputs[0])
    assert not torch.equal(first.inputs[0], other.inputs[0])
    assert first.inputs[0].abs().min() > 0
    weights = [dict(b.model.named_parameters())["conv1.conv.weight"] for b in (first, again)]
    assert torch.equal(*weights)


def test_a_share_has_the_network_without_its_blocks():
    built = build(Cell(**SMALL, contribution=True))
    blocks = [name for name, _ in built.model.named_modules() if name.endswith("after_B05")]
    assert ["conv4.after_B05"] == blocks
    bare = dict(built.without.named_modules())
    assert "conv4.after_B05" not in bare
    assert "conv4.B06" in bare
    plain = build(Cell(**(SMALL | {"row": "mfnet"})))
    assert plain.weights_bytes == sum(
        t.numel() * t.element_size()
        for t in (*built.without.parameters(), *built.without.buffers())
    )


def test_the_weights_are_parameters_and_buffers():
    built = build(Cell(block="nl", shape=(4, 1, 3, 5)))
    # 2 x 4^2 and 2 x 4 parameters; two running statistics of 4, and a counter of 8 bytes
    assert 4 * (32 + 8 + 8) + 8 == built.weights_bytes


@pytest.mark.parametrize(
    ("dtype", "torchs"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.half)]
)
def test_weights_and_inputs_are_of_the_cells_type(dtype, torchs):
    built = build(Cell(block="cgnl", shape=(16, 2, 3, 5), dtype=dtype))
    assert {torchs} == {p.dtype for p in built.model.parameters()} | {built.inputs[0].dtype}


def test_channels_last():
    built = build(Cell(**SMALL, memory_format="channels_last_3d"))
    assert built.inputs[0].is_contiguous(memory_format=torch.channels_last_3d)
    kernels = [p for p in built.model.parameters() if p.dim() == 5]
    assert kernels
    assert all(p.is_contiguous(memory_format=torch.channels_last_3d) for p in kernels)
    built.model(*built.inputs)


def test_training_is_a_mode():
    assert build(Cell(**SMALL, phase="training")).model.training


def test_two_streams_have_two_inputs():
    built = build(Cell(row="i3d-ts", frames=16, size=224))
    assert [(1, 3, 16, 224, 224), (1, 2, 16, 224, 224)] == [tuple(x.shape) for x in built.inputs]


@pytest.mark.parametrize("row", [row for row in ROWS if row.build], ids=lambda row: row.name)
def test_every_row_has_blocks_to_leave_out_or_none(row):
    blocks = getattr(row.build, "keywords", {}).get("blocks")
    if not blocks:
        with pytest.raises(ValueError, match="has no blocks: choose a row with one"):
            row.without_blocks()
        return
    with torch.device("meta"):
        without, with_ = row.without_blocks().model(), row.model()
    less = sum(p.numel() for p in with_.parameters()) - sum(p.numel() for p in without.parameters())
    assert less > 0
    assert row == row.without_blocks().__class__(**vars(row))


def test_a_row_without_blocks_keeps_the_rest():
    (row,) = select(["r50-nl"])
    bare = row.at(classes=7, frames=16).without_blocks()
    assert (7, 16, "r50-nl", {}) == (
        bare.classes,
        bare.frames,
        bare.name,
        bare.build.keywords["blocks"],
    )
