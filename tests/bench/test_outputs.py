"""The tensors in what networks return."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

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


def same(expected, output):
    found = tensors_in(output)
    assert [id(tensor) for tensor in expected] == [id(tensor) for tensor in found]


def test_nested_outputs_in_order():
    pair = namedtuple("pair", "left right")
    same([A, B, C], [A, (B, {"c": C})])
    same([B, A], Found(boxes=pair(B, None), scores=OrderedDict(a=A, n=3)))
    same([A, B, C], {"found": Found(boxes=[A, B]), "c": C})


def test_each_tensor_once():
    same([A, B], (A, [B, A], {"again": B}))


def test_what_holds_itself_ends():
    output = [A]
    output.append(output)
    same([A], output)


def test_a_packed_sequence_is_its_data():
    packed = pack_padded_sequence(torch.ones(2, 3, 5), [3, 2], batch_first=True)
    same([packed.data], packed)


def test_what_holds_no_tensor_gives_none():
    same([], None)
    same([], {"n": 3, "s": "text", "type": Found})


def test_a_network_that_returns_anything_returns_tensors():
    class Nested(nn.Module):
        def forward(self, x, y):
            return {"sum": Found(boxes=x + y), "x": x}

    summed, x = TensorsOut(Nested())(A, A)
    assert (2,) == summed.shape
    assert A is x
