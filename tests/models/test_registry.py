from vidcost.models import registry


def test_specs_are_the_blocks_under_their_settings():
    assert ("nl", "cgnl", "cgd", "pnl:n=2", "pnl:n=3", "pnl:n=4") == registry.specs()
    others = ("pairwise=gaussian", "pairwise=dot-product", "pairwise=concatenation")
    added = [spec for spec in registry.specs(functions=True) if spec not in registry.specs()]
    assert [f"nl:{options}" for options in others] == added
