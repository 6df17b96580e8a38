"""Networks with any signature, called by position."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidcost.bench.call import name_inside, positional


class TwoNamed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 5)

    def forward(self, first: torch.Tensor, *, second: torch.Tensor) -> torch.Tensor:
        return self.inner(first) - second


FIRST, SECOND = torch.randn(2, 3), torch.randn(2, 5)


@pytest.mark.parametrize("inputs", [FIRST, [FIRST], (FIRST,)])
def test_without_names_the_network_stays_itself(inputs):
    network = nn.Linear(3, 5)
    called, values = positional(network, inputs)
    assert network is called
    assert FIRST is values[0]
    assert name_inside(called, "weight") == "weight"


def test_names_become_keywords():
    network = TwoNamed()
    # not in the order of the signature
    called, values = positional(network, {"second": SECOND, "first": FIRST})
    torch.testing.assert_close(called(*values), network(FIRST, second=SECOND))


def test_names_of_modules_are_those_inside():
    called, _ = positional(TwoNamed(), {"first": FIRST, "second": SECOND})
    names = [name_inside(called, name) for name, _ in called.named_modules()]
    assert names == ["", "", "inner"]


def test_an_input_that_is_no_tensor_is_refused():
    with pytest.raises(ValueError, match="an input is a tensor, not list"):
        positional(nn.Linear(3, 5), [[1, 2, 3]])
