"""A row on the meta device: as it is anywhere else, but for the values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidcost.bench.count.meta import _Unfilled, on_meta
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


@pytest.mark.parametrize("name", ["mfnet-pnl-x5", "r50-cgd", "r50-cgnl", "mfnet-nl", "r3d18"])
def test_a_row_is_the_same_as_on_the_cpu(name):
    (row,) = select([name])
    model, _ = on_meta(row)
    assert described(row.model()) == described(model)
    assert {True} == {x.is_meta for x in model.state_dict().values()}


def test_every_way_to_fill_a_weight():
    model, clips = on_meta(ROW)
    assert described(ROW.model()) == described(model)
    on_cpu = [name for name, x in model.state_dict().items() if not x.is_meta]
    assert ["here", "there"] == on_cpu
    # 2 x 7 x 27 and 7; 2 x 7; 3 x 49 and 21; 49 and 7; 5
    assert 378 + 7 + 14 + 147 + 21 + 49 + 7 + 5 == sum(p.numel() for p in model.parameters())
    assert [((1, 2, 5, 11, 11), True), ((1, 3, 1, 11, 11), True)] == [
        (clip.shape, clip.is_meta) for clip in clips
    ]


def test_tensors_elsewhere_are_filled():
    model, _ = on_meta(ROW)
    assert [7.0] * 5 == model.here.tolist()
    assert [11.0] * 3 == model.there.tolist()


def test_nothing_is_filled_on_the_meta_device():
    """Else the mode would do nothing, and no other test would notice."""
    with _Unfilled():
        weight = torch.empty(3, 5, device="meta")
        for fill in (nn.init.kaiming_uniform_, nn.init.ones_, torch.Tensor.zero_):
            assert weight is fill(weight)
    assert 0 == weight._version
    nn.init.ones_(weight)
    assert 1 == weight._version


def check_that_weights_are_filled_on_the_cpu():
    torch.manual_seed(3)
    layer, norm = nn.Linear(3, 5), nn.BatchNorm1d(7)
    assert (torch.device("cpu"), torch.device("cpu")) == (layer.weight.device, torch.ones(1).device)
    torch.manual_seed(5)
    assert not torch.equal(layer.weight, nn.Linear(3, 5).weight)
    assert [1.0] * 7 == norm.weight.tolist()
    assert [1.0] * 2 == torch.empty(2).fill_(1).tolist()


def test_afterwards_torch_is_as_it_was():
    on_meta(ROW)
    check_that_weights_are_filled_on_the_cpu()


def test_afterwards_torch_is_as_it_was_even_if_the_row_was_refused():
    (row,) = select(["mfnet"])
    with pytest.raises(ValueError, match="classes"):
        on_meta(row.at(classes=0))
    check_that_weights_are_filled_on_the_cpu()


def test_a_device_around_it_stays():
    with torch.device("meta"):
        on_meta(ROW)
        assert torch.empty(2).is_meta


def test_a_row_without_a_network_is_refused():
    (row,) = select(["2plus-c1-d"])
    with pytest.raises(ValueError, match=r"^2plus-c1-d cannot be built: published only"):
        on_meta(row)
