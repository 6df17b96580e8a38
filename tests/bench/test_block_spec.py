import re

import pytest

from vidcost.bench.block_spec import block_factory, with_impl
from vidcost.models.blocks.pnl import PNL

CHOICE = "choose from nl, cgnl, cgd, pnl, or name your own: my_block.py:MyBlock"


def test_options_are_the_keywords_of_the_class():
    assert PNL is type(block_factory("pnl:")(48))
    block = block_factory("pnl:n=3,combine=concat,pairwise=gaussian,shared=false")(48)
    assert (3, "concat", 3) == (block.n, block.combine, len(block.operations))
    assert {"gaussian"} == {operation.pairwise for operation in block.operations}
    assert block_factory("nl:pool_keys=true")(48).operation.pool_keys


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nll", f"no block 'nll': {CHOICE}"),
        ("", f"no block '': {CHOICE}"),
        ("NL", f"no block 'NL': {CHOICE}"),
        ("pnl:m=3", "block pnl has no option 'm': it takes n, combine, pairwise, shared, impl"),
        ("cgd:n=3", "block cgd has no option 'n': it takes none"),
        (
            "nl:channels=4",
            "block nl has no option 'channels': "
            "it takes pairwise, pool_keys, pool_first, scale, bias, impl",
        ),
        ("pnl:n", "pnl:n needs a value: pnl:n=..."),
        ("pnl:n=", "pnl:n takes a whole number, not ''"),
        ("pnl:n=3.5", "pnl:n takes a whole number, not '3.5'"),
        ("pnl:shared=yes", "pnl:shared takes true or false, not 'yes'"),
        ("nl:bias=1", "nl:bias takes true or false, not '1'"),
    ],
)
def test_a_bad_spec_says_what_would_be_good(spec, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        block_factory(spec)


@pytest.mark.parametrize(
    ("spec", "expected"), [("nl", "nl:impl=optimized"), ("pnl:n=2", "pnl:n=2,impl=optimized")]
)
def test_the_optimized_implementation_of_a_spec(spec, expected):
    assert expected == with_impl(spec, "optimized")
    assert spec == with_impl(spec, "reference")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nl:impl=optimized", "nl:impl=optimized names its implementation: leave it out"),
        ("my_block.py:MyBlock", "my_block.py has no implementations: choose from nl, cgnl"),
        ("cgd", "cgd has no optimized implementation"),
    ],
)
def test_a_spec_without_that_implementation(spec, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        with_impl(spec, "optimized")
