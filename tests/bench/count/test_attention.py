"""What masks of attention discard, by hand."""

import pytest
import torch
import torch.nn.functional as F
from conformance.operators import Calls
from torch import nn

import vidcost
from vidcost.bench.count.counter import count
from vidcost.models.cost import Cost


def heads(*widths, positions=(5, 7, 7), device="cpu"):
    """2 x 3 heads of queries, keys and values."""
    return [torch.zeros(2, 3, n, w, device=device) for n, w in zip(positions, widths, strict=True)]


def attention(**options):
    return Calls(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options))


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(
    ("positions", "kept"),
    [
        # query i sees keys 0 to i
        ((5, 7, 7), 1 + 2 + 3 + 4 + 5),
        ((7, 5, 5), 1 + 2 + 3 + 4 + 5 + 5 + 5),
    ],
)
def test_a_causal_mask_is_counted_and_named(positions, kept, device):
    found = count(attention(is_causal=True), *heads(11, 11, 13, positions=positions, device=device))
    assert Cost(matmul=6 * 35 * (11 + 13), softmax=6 * 35) == found.total
    assert {"is_causal": 6 * (35 - kept) * (11 + 13)} == found.masked


class Windowed(nn.Module):
    """Each query sees the keys at most one position away: 2 + 4 x 3 of 35."""

    def __init__(self, as_number=False):
        super().__init__()
        self.as_number = as_number

    def forward(self, q, k, v):
        near = (
            torch.arange(5, device=q.device)[:, None] - torch.arange(7, device=q.device)
        ).abs() < 2
        if self.as_number:
            near = torch.zeros(5, 7, device=q.device).masked_fill(~near, -torch.inf)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=near)


def test_a_mask_with_values_is_counted_and_named():
    masked = {"attn_mask": 6 * (35 - 14) * 22}
    for as_number in (False, True):
        assert masked == count(Windowed(as_number), *heads(11, 11, 11)).masked
    on_meta = heads(11, 11, 11, device="meta")
    assert masked == count(Windowed(), *on_meta, keep_integers=True).masked
    # without values it is not known
    unknown = {"attn_mask, whose values are not known, at most": 6 * 35 * 22}
    assert unknown == count(Windowed(), *on_meta).masked
    assert not any(count(attention(), *on_meta).masked.values())


def test_masks_are_printed():
    two = nn.Sequential(nn.Identity(), Calls(lambda x: attention(is_causal=True)(x, x, x)))
    # 3 of 3 x 3 scores of width 5, twice
    found = vidcost.count(two, torch.zeros(1, 3, 5))
    assert ({"is_causal": 30}, 90) == (found.masked, found.macs)
    assert "30 of the forward pass's MACs are masked by is_causal." in repr(found)
    unknown = vidcost.count(Windowed(), heads(11, 11, 11))
    assert "4,620 of the forward pass's MACs are masked by attn_mask, whose values" in repr(unknown)
