"""Operators that networks of others use: their MACs by hand, and equal on every device."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from vidcost.bench.count.counter import FunctionCall, UncountedOperator, count
from vidcost.bench.count.references.asking import REFERENCE_COUNTERS
from vidcost.models.cost import Cost


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


@pytest.fixture(params=["meta", "cpu"])
def counted(request):
    def total(model, *inputs):
        model = copy.deepcopy(model).to(request.param)
        return count(model, *(x.to(request.param) for x in inputs)).total

    return total


def test_an_affine_grid_is_a_product(counted):
    # 2 grids of 5x7 points, two coordinates each from three products
    grid = Calls(lambda theta: F.affine_grid(theta, [2, 3, 5, 7], align_corners=False))
    assert Cost(matmul=2 * 35 * 2 * 3) == counted(grid, torch.zeros(2, 2, 3))
    # 2 of 5x7x11 points, three coordinates from four
    deep = Calls(lambda theta: F.affine_grid(theta, [2, 3, 5, 7, 11], align_corners=False))
    assert Cost(matmul=2 * 385 * 3 * 4) == counted(deep, torch.zeros(2, 3, 4))


def test_experts_take_one_matrix_a_row():
    if not hasattr(torch, "_grouped_mm"):
        pytest.skip("this torch has no _grouped_mm")
    ends = torch.tensor([3, 16], dtype=torch.int32)
    rows, matrices = (torch.zeros(s, dtype=torch.bfloat16) for s in ((16, 8), (2, 8, 24)))
    experts = Calls(lambda a, b: torch._grouped_mm(a, b, offs=ends))
    # 16 rows of 8 to 24
    assert Cost(matmul=16 * 8 * 24) == count(experts, rows, matrices).total


def test_an_lstm_counts_the_same_everywhere(counted):
    # 13 steps of 2 clips: four gates from 5 inputs and 7 of the state, five nonlinearities
    lstm = nn.LSTM(5, 7)
    expected = Cost(params=28 * 14, linear=26 * 28 * 12, activation=26 * 5 * 7)
    assert expected == counted(lstm, torch.zeros(13, 2, 5))


def test_the_cpu_computes_with_mkldnn_afterwards():
    before = torch._C._get_mkldnn_enabled()
    count(nn.LSTM(5, 7), torch.zeros(3, 2, 5))
    assert before == torch._C._get_mkldnn_enabled()


def test_a_weight_by_direction_and_length_is_a_weight(counted):
    # 11x5x7; its norm is free
    model = weight_norm(nn.Linear(5, 7))
    assert 11 * 5 * 7 == counted(model, torch.zeros(11, 5)).linear
    # the old way is one operator, with the weight and the norms as results
    direction, length = nn.Parameter(torch.ones(7, 5)), nn.Parameter(torch.ones(7, 1))
    old = Calls(lambda x: x @ torch._weight_norm_interface(direction, length, 0)[0].T)
    old.direction, old.length = direction, length
    assert Cost(params=42, linear=11 * 5 * 7) == count(old, torch.zeros(11, 5)).total


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda x: torch.unique(x, dim=0), [(3, 5)]),
        (lambda x: torch.median(x, 1).values, [(3, 5)]),
        (lambda x: torch.cummax(x, 1).values, [(3, 5)]),
        (lambda x, i: torch.scatter_reduce(x, 0, i.long(), x, "amax"), [(3, 5), (3, 5)]),
        (lambda x: F.mse_loss(x, x), [(3, 5)]),
        (lambda x: F.binary_cross_entropy(x, x), [(3, 5)]),
        (lambda x: F.cross_entropy(x, torch.zeros(3, dtype=torch.long, device=x.device)), [(3, 5)]),
        (lambda x: F.channel_shuffle(x, 3), [(2, 6, 5)]),
        (lambda x, w: F.embedding_bag(x.long(), w), [(3, 5), (7, 11)]),
        (lambda x: x[x > 0], [(3, 5)]),
        (lambda x: torch.bucketize(x, torch.arange(3, device=x.device)), [(3, 5)]),
        (lambda x, y: F.grid_sample(x, y, align_corners=False), [(2, 3, 5, 7), (2, 11, 13, 2)]),
    ],
)
def test_what_has_no_products_counts_none(function, shapes):
    assert 0 == count(Calls(function), *map(torch.zeros, shapes)).total.macs


def test_all_operators_without_a_rule_are_named_at_once():
    def spectrum(x):
        return torch.linalg.qr(torch.fft.rfft(x).abs())[0].matrix_exp()

    with pytest.raises(UncountedOperator) as caught:
        count(Calls(spectrum), torch.zeros(4, 6))
    # the exponential of what is no square matrix is never reached, and it is not the last word
    assert (
        "no counting rule for operators aten._fft_r2c, aten.linalg_qr, aten.linalg_matrix_exp: add "
        "theirs to bench/count/rules.py, or their names to FREE"
    ) == str(caught.value)


def test_an_error_of_the_network_is_its_own():
    def broken(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        count(Calls(broken), torch.zeros(1))


def test_functions_are_noted_with_their_operations():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(5, 5), Calls(lambda x: x @ x.mT)

        def forward(self, x):
            y = self.second(self.first(x))
            return F.interpolate(torch.einsum("bij,bjk->bik", y, y), scale_factor=2)

    found = count(Net(), torch.zeros(2, 3, 5))
    assert (
        FunctionCall("matmul", "second", "", ((2, 3, 5), (2, 5, 3)), (2, 3, 3), 1, 2),
        FunctionCall("einsum", "", "bij,bjk->bik", ((2, 3, 3), (2, 3, 3)), (2, 3, 3), 2, 3),
        FunctionCall("interpolate", "", "nearest", ((2, 3, 3),), (2, 3, 6), 3, 3),
    ) == found.functions


def test_what_numpy_rounds_is_a_term():
    # 2 of 7x11x13 by 3 are 6,006 products, printed twice as 1.201e+04; half of that is 6,005
    rounded = Calls(lambda x, y: torch.einsum("bijk,blk->bijl", x, y))
    found = count(rounded, torch.zeros(2, 7, 11, 13), torch.zeros(2, 3, 13))
    assert 6_006 == found.total.macs
    (term,) = REFERENCE_COUNTERS["fvcore"].explain(rounded, found).flops.terms
    assert ("einsum, as numpy rounds it", "products", -1) == (term.name, term.part, term.amount)
