"""The hand-worked MACs against arithmetic that counts nothing.

A convolution or matrix product of ones adds up as many ones as it has multiply-accumulates, and so
does each of its gradients.
"""

import pytest
import torch
from conformance.operators import CONVOLUTIONS, NO_PRODUCTS, OPERATORS, PRODUCTS

from vidcost.bench.count.counter import count
from vidcost.bench.count.training import count_training

ADDENDS = {"torch.addmm", "torch.baddbmm"}
NOT_BILINEAR = {"F.scaled_dot_product_attention", "nn.MultiheadAttention"}
PADDED = "nn.Conv3d, padding (1, 1, 3)"
BILINEAR = [o for o in (*CONVOLUTIONS, *PRODUCTS) if o.name not in {*NOT_BILINEAR, PADDED}]


def ones(operator):
    """The operator on ones in double precision, and its operands; nothing is added to products."""
    network = operator.network().double()
    inputs = [x.detach().double().requires_grad_() for x in operator.inputs()]
    operands = []
    for name, parameter in network.named_parameters():
        # F.linear's second parameter is its bias
        is_bias = name.endswith("bias") or (operator.name, name[-1]) == ("F.linear", "1")
        parameter.data.fill_(0 if is_bias else 1)
        operands += [] if is_bias else [parameter]
    if operator.name in ADDENDS:
        inputs[0] = torch.zeros_like(inputs[0])
    return network(*inputs), [*operands, *(x for x in inputs if x.requires_grad)]


@pytest.mark.parametrize("operator", BILINEAR, ids=lambda operator: operator.name)
def test_a_product_of_ones_adds_up_to_its_macs(operator):
    out, operands = ones(operator)
    assert operator.macs == out.sum().item()
    assert 2 == len(operands)
    gradients = torch.autograd.grad(out.sum(), operands)
    # each MAC is one in the gradient of either operand
    assert 2 * operator.macs == sum(gradient.sum().item() for gradient in gradients)


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_the_counter_counts_what_was_worked_out(operator, device):
    with torch.device(device):
        network, inputs = operator.network(), operator.inputs()
    assert operator.macs == count(network, *inputs).total.macs
    assert 2 * operator.macs == count_training(network, *inputs).backward.total.macs


def test_attention_by_its_products():
    # 2 clips of 3 heads, 5 queries, 7 keys, width 11: (5 x 11) @ (11 x 7) and (5 x 7) @ (7 x 11)
    scores = torch.ones(6, 5, 11) @ torch.ones(6, 11, 7)
    values = torch.ones(6, 5, 7) @ torch.ones(6, 7, 11)
    by_name = {operator.name: operator for operator in PRODUCTS}
    attention = by_name["F.scaled_dot_product_attention"]
    assert attention.macs == scores.sum().item() + values.sum().item()
    # 15 positions in four projections; 3 x 2 heads of 5 positions, width 7
    projection = torch.ones(15, 14) @ torch.ones(14, 14)
    product = torch.ones(6, 5, 7) @ torch.ones(6, 7, 5)
    macs = 4 * projection.sum().item() + 2 * product.sum().item()
    assert macs == by_name["nn.MultiheadAttention"].macs


def test_what_has_no_products_has_no_macs():
    assert {0} == {operator.macs for operator in NO_PRODUCTS}
    by_name = {operator.name: operator for operator in CONVOLUTIONS}
    # padding counts as the unpadded convolution of the same output
    assert by_name["nn.Conv3d"].macs == by_name[PADDED].macs
    assert ones(by_name["nn.Conv3d"])[0].shape == ones(by_name[PADDED])[0].shape
