"""Networks on the meta device: as anywhere else, but for the values."""

import pytest
import torch
from torch import nn

from vidcost.bench.count.meta import on_meta
from vidcost.papers.catalog import select
from vidcost.papers.row import Row


class Filled(nn.Module):
    """Fills its weights in every way there is, on the current device and on the CPU."""

    def __init__(self, *, classes, frames, size):
        super().__init__()
        self.conv = nn.Conv3d(2, classes, 3)
        self.norm = nn.BatchNorm3d(classes)
        self.heads = nn.MultiheadAttention(classes, 1)
        self.scale = nn.Parameter(torch.zeros(frames, dtype=torch.float64), requires_grad=False)
        self.register_buffer("table", torch.arange(size))
        self.register_buffer("here", torch.empty(5, device="cpu").fill_(7))
        self.register_buffer("there", nn.init.constant_(torch.empty(3, device="cpu"), 11))
        nn.init.orthogonal_(self.conv.weight)
        nn.init.trunc_normal_(tensor=self.norm.bias, std=0.5)
        with torch.no_grad():
            self.norm.weight.normal_().uniform_().fill_(2).zero_()


ROW = Row("filled", Filled, 7, ((2, 5, 11, 11), (3, 1, 11, 11)))


def described(model):
    state = model.state_dict(keep_vars=True)
    return {name: (x.shape, x.dtype, type(x), x.requires_grad) for name, x in state.items()}


def test_a_row_is_the_same_as_on_the_cpu():
    (row,) = select(["mfnet-pnl-x5"])
    for each in (row, ROW):
        model, clips = on_meta(each)
        assert described(each.model()) == described(model)
        assert [(1, *clip) for clip in each.inputs] == [clip.shape for clip in clips]
    # what the network puts on the CPU is filled
    on_cpu = {name: x.tolist() for name, x in model.state_dict().items() if not x.is_meta}
    assert {"here": [7.0] * 5, "there": [11.0] * 3} == on_cpu


def test_afterwards_torch_is_as_it_was():
    on_meta(ROW)
    (row, published) = select(["mfnet", "2plus-c1-d"])
    with pytest.raises(ValueError, match="classes"):
        on_meta(row.at(classes=0))
    with pytest.raises(ValueError, match=r"^2plus-c1-d cannot be built: published only"):
        on_meta(published)
    assert torch.device("cpu") == nn.Linear(3, 5).weight.device
    assert [1.0] * 7 == nn.BatchNorm1d(7).weight.tolist()
