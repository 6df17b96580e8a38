import torch
from torch import nn

from vidcost.bench.count.traffic import Traffic, traffic


def on_meta(build, *shape):
    with torch.device("meta"):
        return build(), torch.empty(shape)


def test_a_linear_layer_reads_input_and_weights_and_writes_its_result():
    model, x = on_meta(lambda: nn.Linear(3, 5), 7, 3)
    assert Traffic(weights=3 * 5 + 5, activations=7 * 3 + 7 * 5) == traffic(model, x)


def test_a_view_moves_nothing():
    model, x = on_meta(lambda: nn.Sequential(nn.Flatten(), nn.Unflatten(1, (3, 5))), 2, 3, 5)
    assert Traffic(weights=0, activations=0) == traffic(model, x)


def test_an_operator_in_place_reads_and_writes():
    model, x = on_meta(lambda: nn.Sequential(nn.Identity(), nn.ReLU(inplace=True)), 2, 11)
    assert Traffic(weights=0, activations=2 * (2 * 11)) == traffic(model, x)


def test_what_is_expanded_is_read_once():
    class Expand(nn.Module):
        def forward(self, x):
            return x.expand(7, 3) + 1

    model, x = on_meta(Expand, 1, 3)
    assert Traffic(weights=0, activations=3 + 7 * 3) == traffic(model, x)


def test_only_activations_grow_with_the_batch():
    assert 2 * (5 + 3 * 7) == Traffic(weights=5, activations=7).bytes(batch=3, element=2)
    model, one = on_meta(lambda: nn.Conv3d(3, 5, 3), 1, 3, 7, 7, 7)
    three = torch.empty(3, 3, 7, 7, 7, device="meta")
    assert traffic(model, one).bytes(batch=3, element=4) == traffic(model, three).bytes(
        batch=1, element=4
    )
