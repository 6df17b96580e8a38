from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from vidcost.bench.call import name_inside, positional, tensors_in

FIRST, SECOND = torch.randn(2, 3), torch.randn(2, 5)
Pair = namedtuple("Pair", "left right")


@dataclass(frozen=True)
class Batch:
    clips: list
    rate: float = 2.0
    mask: torch.Tensor | None = None


class Echo(nn.Module):
    """Returns its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 5)

    def forward(self, *args, **kwargs):
        return args, kwargs


@pytest.mark.parametrize("inputs", [FIRST, [FIRST], (FIRST,)])
def test_tensors_by_position_leave_the_network_itself(inputs):
    network = nn.Linear(3, 5)
    called, values = positional(network, inputs)
    assert network is called
    assert FIRST is values[0]
    assert name_inside(called, "weight") == "weight"


@pytest.mark.parametrize(
    ("inputs", "kwargs", "expected"),
    [
        ({"b": SECOND, "a": FIRST}, None, ((), {"b": SECOND, "a": FIRST})),
        (FIRST, {"mask": SECOND, "flag": True}, ((FIRST,), {"mask": SECOND, "flag": True})),
        (([FIRST, SECOND], 3, None), None, (([FIRST, SECOND], 3, None), {})),
        (
            (Pair(FIRST, "x"), {"ids": (SECOND,)}),
            None,
            ((Pair(FIRST, "x"), {"ids": (SECOND,)}), {}),
        ),
        (UserDict(a=FIRST), {"b": UserDict(c=SECOND)}, ((), {"a": FIRST, "b": {"c": SECOND}})),
    ],
)
def test_arguments_are_trees(inputs, kwargs, expected):
    called, values = positional(Echo(), inputs, kwargs)
    assert all(isinstance(value, torch.Tensor) for value in values)
    # the same tensors at the same places
    assert repr(expected).replace("UserDict", "") == repr(called(*values)).replace("UserDict", "")
    # and others in their places, as shapes have
    changed = called(*(value + 1 for value in values))
    assert repr(expected) != repr(changed)


def test_dataclasses_and_types_of_containers_stay():
    called, values = positional(Echo(), (Batch([FIRST, SECOND]), Pair(FIRST, 1)))
    (batch, pair), _ = called(*values)
    assert (Batch, Pair, 2.0, None) == (type(batch), type(pair), batch.rate, batch.mask)
    assert SECOND is batch.clips[1]
    names = [name_inside(called, name) for name, _ in called.named_modules()]
    assert names == ["", "", "inner"]


A, B, C = (torch.empty(n) for n in (2, 3, 5))


@dataclass
class Found:
    boxes: object
    note: str = "no tensor"
    scores: object = None


PACKED = pack_padded_sequence(torch.ones(2, 3, 5), [3, 2], batch_first=True)


@pytest.mark.parametrize(
    ("expected", "output"),
    [
        ([A], A),
        ([A, B, C], [A, (B, {"c": C})]),
        ([B, A], Found(boxes=Pair(B, None), scores=OrderedDict(a=A, n=3))),
        ([A, B, C], {"found": Found(boxes=[A, B]), "c": C}),
        # each once
        ([A, B], (A, [B, A], {"again": B})),
        ([PACKED.data], PACKED),
        ([], None),
        ([], {"n": 3, "s": "text", "type": Found}),
    ],
)
def test_the_tensors_of_an_output_in_order(expected, output):
    assert list(map(id, expected)) == list(map(id, tensors_in(output)))
