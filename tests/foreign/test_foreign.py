"""Networks of other packages are counted as they are, and as torch's counter counts them."""

import importlib.util
import os
from contextlib import nullcontext

import pytest
import torch
from foreign_networks import Foreign, networks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import vidcost
from vidcost.bench.call import positional

pytestmark = [
    pytest.mark.foreign,
    # what they warn of is theirs
    pytest.mark.filterwarnings("ignore"),
]


def needs(package: str) -> None:
    """Leave a test out where its package is not installed, but never unseen in tox."""
    if importlib.util.find_spec(package) is None:
        why = f"no {package} here: `pip install -c constraints.txt -e '.[foreign]'` adds it"
        if "TOX_ENV_NAME" in os.environ:
            pytest.fail(why)
        pytest.skip(why)


def flops(foreign: Foreign, *, grad: bool = False) -> int:
    """What torch's counter says; its products of fused attention on a CPU are none, so in parts."""
    network, values = positional(foreign.network(), foreign.arguments())
    counter = FlopCounterMode(display=False)
    with nullcontext() if grad else torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        network(*values)
    return counter.get_total_flops()


@pytest.mark.parametrize(
    "foreign",
    # a package is imported by one worker
    [
        pytest.param(each, id=str(each), marks=pytest.mark.xdist_group(each.package))
        for each in networks()
    ],
)
def test_a_network_is_counted_as_it_is(foreign, monkeypatch):
    # one that asked for weights would fail
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    needs(foreign.package)
    counted = vidcost.count(foreign.network(), foreign.arguments())
    assert foreign.macs == counted.macs
    assert counted.counted_on == "meta" or foreign.reads
    try:
        found = flops(foreign)
    except AssertionError:
        # it fails at modules that return a view, without gradients
        found = flops(foreign, grad=True)
    assert 2 * (foreign.macs - eval(foreign.unseen)) == found


def test_there_are_many_of_many():
    found = networks()
    assert len(found) >= 100
    assert len({each.package for each in found}) >= 13


# small ones of each kind of operator: what other counters print is explained
EXPLAINED = (
    "transformers-VideoMAEForPreTraining",
    "transformers-MixtralForCausalLM",
    "efficientnet_pytorch-efficientnet-b0",
    "x_transformers-Decoder rotary",
    "x_transformers-Decoder alibi_pos_bias",
)


@pytest.mark.parametrize("name", EXPLAINED)
def test_every_counter_is_explained(name):
    foreign = next(each for each in networks() if str(each) == name)
    needs(foreign.package)
    found = vidcost.explain(foreign._built(), foreign.arguments())
    assert [0] * 7 == [entry.remainder for entry in found.entries], found.entries
