import pytest
import torch
from torch import nn

from vidcost.bench.user.network import Input, called, given, parse, parse_all
from vidcost.bench.user.reference import UserCodeError

CLIP = ("2x3x4x5x6",)

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize("name", ["Net", "make", "instance", "ReadsAtStart"])
def test_a_class_a_function_or_the_network_itself(name):
    model, (x,) = called(f"theirs.py:{name}", CLIP)
    assert (2, 3, 4, 5, 6) == tuple(x.shape)
    assert (2, 2) == tuple(model(x)["logits"].shape)
    outline, (shape,) = called(f"theirs.py:{name}", CLIP, on_meta=True)
    assert {"meta"} == {tensor.device.type for tensor in (*outline.parameters(), shape)}
    assert (2, 2) == tuple(outline(shape)["logits"].shape)


def test_the_object_itself_keeps_its_weights():
    called("theirs.py:instance", CLIP, on_meta=True)
    model, _ = called("theirs.py:instance", CLIP, {"stem": nn.BatchNorm3d})
    assert isinstance(model.stem, nn.Sequential)
    itself, _ = called("theirs.py:instance", CLIP)
    assert isinstance(itself.stem, nn.Conv3d)
    assert itself.stem.weight.device.type == "cpu"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("number", ValueError, "is no network and makes none: it is a int"),
        ("make_nothing", UserCodeError, "returned no nn.Module but a int"),
        ("fails", UserCodeError, "RuntimeError: nothing to build"),
    ],
)
def test_objects_that_make_no_network(name, error, message):
    for on_meta in (False, True):
        with pytest.raises(error, match=message):
            called(f"theirs.py:{name}", CLIP, on_meta=on_meta)


@pytest.mark.parametrize("on_meta", [False, True])
def test_blocks_go_behind_modules_with_their_channels(on_meta):
    blocks = {"stem": nn.BatchNorm3d, "body.0": nn.BatchNorm3d}
    model, inputs = called("theirs.py:Net", CLIP, blocks, on_meta=on_meta)
    widths = {
        name: module.num_features
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm3d)
    }
    assert {"stem.block": 5, "body.0.block": 7} == widths
    assert (2, 2) == tuple(model(*inputs)["logits"].shape)


def test_blocks_go_into_a_network_with_named_inputs():
    named = ("scale=2x1", "clip=2x3x4x5x6")
    model, inputs = called("theirs.py:Named", named, {"stem": nn.BatchNorm3d})
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
        called("theirs.py:Net", CLIP, {position: nn.BatchNorm3d})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1x3x16x224x224", Input((1, 3, 16, 224, 224))),
        ("7", Input((7,))),
        ("2x5:int64<30000", Input((2, 5), torch.int64, None, 30000)),
        ("mask=2x5:bool", Input((2, 5), torch.bool, "mask")),
        ("x_1=2x3:bfloat16", Input((2, 3), torch.bfloat16, "x_1")),
    ],
)
def test_inputs(text, expected):
    assert expected == parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no input such as"),
        ("1x-3", "is no input such as"),
        ("1x0x3", "has an empty axis"),
        ("1x3:int7", "no type 'int7': choose from float32"),
        ("1x3:float32<5", "a bound above 0 is for integers"),
        ("1x3:int64<0", "a bound above 0 is for integers"),
    ],
)
def test_text_that_is_no_input(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "needs its inputs, batch first: --input 1x3x16x224x224"),
        (["1x3", "m=1x3"], "names to all inputs or to none"),
        (["m=1x3", "m=1x3"], "two inputs are called 'm'"),
    ],
)
def test_inputs_that_do_not_go_together(texts, message):
    with pytest.raises(ValueError, match=message):
        parse_all(texts)


def test_values_are_random_within_bounds_and_repeatable():
    texts = ["40x30", "40x30:int64<7", "40x30:bool", "40x30:float16"]
    first, second = (given(texts, seed=3) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other)
    normal, whole, mask, half = first
    assert abs(normal.mean()) < 0.1
    assert abs(normal.std() - 1) < 0.1
    assert set(whole.unique().tolist()) == set(range(7))
    assert set(mask.unique().tolist()) == {False, True}
    assert half.dtype is torch.float16
    other = given(texts, seed=4)
    assert not torch.equal(other[0], normal)
