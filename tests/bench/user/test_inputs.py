import pytest
import torch

from vidcost.bench.user.inputs import Input, parse, parse_all, tensors


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
    first, second = (tensors(parse_all(texts), seed=3) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other)
    normal, whole, mask, half = first
    assert abs(normal.mean()) < 0.1
    assert abs(normal.std() - 1) < 0.1
    assert set(whole.unique().tolist()) == set(range(7))
    assert set(mask.unique().tolist()) == {False, True}
    assert half.dtype is torch.float16
    other = tensors(parse_all(texts), seed=4)
    assert not torch.equal(other[0], normal)
