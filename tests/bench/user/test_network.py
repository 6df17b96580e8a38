import pytest
import torch
from torch import nn

from vidcost.bench.user.network import called, called_on_meta
from vidcost.bench.user.reference import UserCodeError

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv3d(3, 5, 1)
        self.body = nn.Sequential(nn.Conv3d(5, 7, 1), nn.ReLU())
        self.head = nn.Linear(7, 2)

    def forward(self, x):
        return {"logits": self.head(self.body(self.stem(x)).mean((2, 3, 4)))}

class Named(Net):
    def forward(self, *, clip, scale):
        return super().forward(clip)["logits"] * scale

class ReadsValues(Net):
    def __init__(self):
        super().__init__()
        self.rate = torch.linspace(0, 1, 3)[1].item()

def make():
    return Net()

def make_nothing():
    return 3

def fails():
    raise ValueError("theirs")

instance = Net()
number = 3
"""
CLIP = ("2x3x4x5x6",)


@pytest.fixture(autouse=True)
def nets(put):
    put("nets.py", NETS)


@pytest.mark.parametrize("name", ["Net", "make", "instance", "ReadsValues"])
def test_a_class_a_function_or_the_network_itself(name):
    model, (x,) = called(f"nets.py:{name}", CLIP)
    assert (2, 3, 4, 5, 6) == tuple(x.shape)
    assert (2, 2) == tuple(model(x)["logits"].shape)
    outline, (shape,) = called_on_meta(f"nets.py:{name}", CLIP)
    assert {"meta"} == {tensor.device.type for tensor in (*outline.parameters(), shape)}
    assert (2, 2) == tuple(outline(shape)["logits"].shape)


def test_the_object_itself_keeps_its_weights():
    called_on_meta("nets.py:instance", CLIP)
    model, _ = called("nets.py:instance", CLIP, {"stem": nn.BatchNorm3d})
    assert isinstance(model.stem, nn.Sequential)
    itself, _ = called("nets.py:instance", CLIP)
    assert isinstance(itself.stem, nn.Conv3d)
    assert itself.stem.weight.device.type == "cpu"


def test_the_seed_decides_weights_and_inputs():
    first, again, other = (called("nets.py:Net", CLIP, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first[0].stem.weight, again[0].stem.weight)
    assert torch.equal(first[1][0], again[1][0])
    assert not torch.equal(first[0].stem.weight, other[0].stem.weight)
    assert not torch.equal(first[1][0], other[1][0])


def test_inputs_with_names():
    model, inputs = called("nets.py:Named", ("scale=2x1", "clip=2x3x4x5x6"))
    assert (2, 2) == tuple(model(*inputs).shape)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("number", ValueError, "is no network and makes none: it is a int"),
        ("make_nothing", UserCodeError, "returned no nn.Module but a int"),
        ("fails", UserCodeError, "ValueError: theirs"),
    ],
)
def test_objects_that_make_no_network(name, error, message):
    for call in (called, called_on_meta):
        with pytest.raises(error, match=message):
            call(f"nets.py:{name}", CLIP)


@pytest.mark.parametrize("call", [called, called_on_meta])
def test_blocks_go_behind_modules_with_their_channels(call):
    model, inputs = call("nets.py:Net", CLIP, {"stem": nn.BatchNorm3d, "body.0": nn.BatchNorm3d})
    widths = {
        name: module.num_features
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm3d)
    }
    assert {"stem.block": 5, "body.0.block": 7} == widths
    assert (2, 2) == tuple(model(*inputs)["logits"].shape)


def test_blocks_go_into_a_network_with_named_inputs():
    named = ("scale=2x1", "clip=2x3x4x5x6")
    model, inputs = called("nets.py:Named", named, {"stem": nn.BatchNorm3d})
    assert 5 == model.model.stem.block.num_features
    assert (2, 2) == tuple(model(*inputs).shape)


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ("trunk", "no module 'trunk' to put a block behind: choose from stem, body, head"),
        ("body.7", r"choose from body\.0, body\.1"),
        ("", "no module ''"),
        ("head", "head returns no feature map in this network"),
    ],
)
def test_unknown_positions(position, message):
    with pytest.raises(ValueError, match=message):
        called("nets.py:Net", CLIP, {position: nn.BatchNorm3d})
