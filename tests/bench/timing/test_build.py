"""What a cell times, built."""

import pytest
import torch

from vidcost.bench.timing.build import build
from vidcost.bench.timing.cell import Cell

SMALL = {"row": "mfnet-nl", "frames": 4, "size": 64, "classes": 7}


def test_the_same_seed_gives_the_same_numbers_and_no_zeros():
    first, again, other = (build(Cell(**SMALL), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.inputs[0], again.inputs[0])
    assert not torch.equal(first.inputs[0], other.inputs[0])
    assert first.inputs[0].abs().min() > 0
    weights = [dict(b.model.named_parameters())["conv1.conv.weight"] for b in (first, again)]
    assert torch.equal(*weights)


def test_a_contribution_has_the_network_without_its_blocks():
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
