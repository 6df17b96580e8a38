"""What a training step starts from."""

import math

import pytest
import torch
from torch import nn

from vidcost.bench.timing.build import Built
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.clock import HostClock
from vidcost.bench.timing.runner import Runner, loss_of, starts

CELL = Cell(row="mine", phase="training")


class Returns(nn.Module):
    """Two vectors of parameters, put together by ``function``; keeps the gradients of each step."""

    def __init__(self, function):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(5))
        self.function = function
        self.seen = []
        self.a.register_post_accumulate_grad_hook(lambda p: self.seen.append(("a", p.grad.clone())))
        self.b.register_post_accumulate_grad_hook(lambda p: self.seen.append(("b", p.grad.clone())))

    def forward(self, x):
        return self.function(self.a * x, self.b * x)


def gradients(function, steps=1):
    model = Returns(function)
    runner = Runner(CELL, Built(model, (torch.ones(()),)), HostClock())
    for _ in range(steps):
        runner.step()
    return model.seen, runner


def test_every_output_that_needs_a_gradient_is_given_one():
    nested = [lambda a, b: {"a": [a], "b": (b, torch.ones(7), 3)}, lambda a, b: (b, [{"a": a}])]
    for function in nested:
        seen, runner = gradients(function)
        assert {"a", "b"} == {name for name, _ in seen}
        assert all(gradient.abs().min() > 0 for _, gradient in seen)
        # momenta of 11 parameters and as many gradients to start from
        assert 4 * (11 + 11) == runner.state_bytes


def test_the_gradients_are_the_same_in_every_step():
    seen, _ = gradients(lambda a, b: [a, b], steps=2)
    by_name = {name: [g for other, g in seen if other == name] for name in "ab"}
    assert all(torch.equal(*both) for both in by_name.values())


def test_one_matrix_is_logits_and_starts_from_labels():
    seen, runner = gradients(lambda a, b: a)
    ((name, gradient),) = seen
    assert "a" == name
    # equal logits of two rows of three: a third each, less one at the label, over two rows
    assert sorted([1 / 6, 1 / 6, -1 / 3]) == pytest.approx(sorted(gradient[0].tolist()))
    # momentum of a, two labels of 8 bytes
    assert 4 * 6 + 16 == runner.state_bytes
    assert math.log(3) == pytest.approx(
        loss_of(starts(torch.ones(2, 3, requires_grad=True)), (torch.tensor([0, 2]),)).item()
    )


def test_nothing_to_start_from_is_said():
    with pytest.raises(ValueError, match=r"^no output needs a gradient: set requires_grad"):
        gradients(lambda a, b: {"a": a.detach()})
