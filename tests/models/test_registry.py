import pytest
import torch

from vidcost.models import registry
from vidcost.models.registry import BLOCKS


def test_specs_are_the_blocks_under_their_settings():
    assert ("nl", "cgnl", "cgd", "pnl:n=2", "pnl:n=3", "pnl:n=4") == registry.specs()
    others = ("pairwise=gaussian", "pairwise=dot-product", "pairwise=concatenation")
    added = [spec for spec in registry.specs(functions=True) if spec not in registry.specs()]
    assert [f"nl:{options}" for options in others] == added


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_takes_channels_and_states_its_cost(name):
    block = BLOCKS[name]
    x = torch.empty(1, 48, 2, 8, 8, device="meta")
    for impl in block.implementations:
        options = {"impl": impl} if len(block.implementations) > 1 else {}
        with torch.device("meta"):
            built = block.build(48, **options)
        assert built(x).shape == x.shape
        assert built.cost(x.shape).params == sum(p.numel() for p in built.parameters())
    assert isinstance(built, registry.block_types())
