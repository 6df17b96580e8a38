from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from vidcost.bench.call import TensorsOut, tensors_in

A, B, C = (torch.empty(n) for n in (2, 3, 5))


@dataclass
class Found:
    boxes: object
    note: str = "no tensor"
    scores: object = None


Pair = namedtuple("Pair", "left right")
PACKED = pack_padded_sequence(torch.ones(2, 3, 5), [3, 2], batch_first=True)
CYCLE = [A]
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("expected", "output"),
    [
        ([A], A),
        ([A, B, C], [A, (B, {"c": C})]),
        ([B, A], Found(boxes=Pair(B, None), scores=OrderedDict(a=A, n=3))),
        ([A, B, C], {"found": Found(boxes=[A, B]), "c": C}),
        # each once
        ([A, B], (A, [B, A], {"again": B})),
        ([A], CYCLE),
        ([PACKED.data], PACKED),
        ([], None),
        ([], {"n": 3, "s": "text", "type": Found}),
    ],
)
def test_the_tensors_of_an_output_in_order(expected, output):
    assert list(map(id, expected)) == list(map(id, tensors_in(output)))


def test_a_network_that_returns_anything_returns_tensors():
    class Nested(nn.Module):
        def forward(self, x, y):
            return {"sum": Found(boxes=x + y), "x": x}

    summed, x = TensorsOut(Nested())(A, A)
    assert (2,) == summed.shape
    assert A is x
