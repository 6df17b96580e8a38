"""Networks of other packages are counted as they are, and as torch's counter counts them."""

import importlib.util
import os

import pytest
from foreign_networks import networks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import vidcost
from vidcost.bench.call import positional

# what they warn of is theirs
pytestmark = [pytest.mark.foreign, pytest.mark.filterwarnings("ignore")]
NETWORKS = {str(each): each for each in networks()}


def needs(package: str) -> None:
    """Leave a test out where its package is not installed, but never unseen in tox."""
    if importlib.util.find_spec(package) is None:
        why = f"no {package} here: `pip install -c constraints.txt -e '.[foreign]'` adds it"
        if "TOX_ENV_NAME" in os.environ:
            pytest.fail(why)
        pytest.skip(why)


# a package is imported by one worker
@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(each, id=name, marks=pytest.mark.xdist_group(each.package))
        for name, each in NETWORKS.items()
    ],
)
def test_a_network_is_counted_as_it_is(foreign, monkeypatch):
    # one that asked for weights would fail
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    needs(foreign.package)
    counted = vidcost.count(foreign.network(), foreign.arguments())
    assert foreign.macs == counted.macs
    assert counted.counted_on == "meta" or foreign.reads
    network, values = positional(foreign.network(), foreign.arguments())
    counter = FlopCounterMode(display=False)
    # on a CPU it counts no product of fused attention; without gradients it fails at views
    with sdpa_kernel(SDPBackend.MATH), counter:
        network(*values)
    assert 2 * (foreign.macs - eval(foreign.unseen)) == counter.get_total_flops()


@pytest.mark.parametrize("name", ["VideoMAEForPreTraining", "MixtralForCausalLM"])
def test_every_counter_is_explained(name):
    needs("transformers")
    foreign = NETWORKS[f"transformers-{name}"]
    found = vidcost.explain(foreign.network(), foreign.arguments())
    assert [0] * 7 == [entry.remainder for entry in found.entries], found.entries
