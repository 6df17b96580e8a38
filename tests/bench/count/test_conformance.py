import pytest
import torch

from vidcost.bench.count import conformance, rules
from vidcost.bench.count.conformance import ask_counters, failures, ours
from vidcost.bench.count.counter import count
from vidcost.bench.count.operators import CASES, NETWORKS
from vidcost.bench.count.references import asking
from vidcost.bench.count.references.asking import ALL
from vidcost.bench.isolation import Failed


def test_a_rule_that_is_blind_to_groups_or_missing_is_named(monkeypatch):
    def ungrouped(args, out, is_constant):
        # (B, C, ...) x (O, C / groups, ...): each output element takes a filter of all C channels
        x, weight = args[0], args[1]
        entries = weight[0].numel() // weight.shape[1] * x.shape[1]
        return "conv", out.numel() * entries

    right = rules.RULES["convolution"]
    with monkeypatch.context() as patched:
        patched.setitem(
            rules.RULES,
            "convolution",
            lambda args, *rest: (right if args[6] else ungrouped)(args, *rest),
        )
        # 2 x 21 x 11 x 13 x 17 out, 15 x 42 entries; 2 x 19 x 11 x 13 x 17 out, 19 x 42 entries
        assert [
            "nn.Conv3d, 3 groups: ours counts 64,324,260, the MACs are 21,441,420",
            "nn.Conv3d, depthwise: ours counts 73,717,644, the MACs are 3,879,876",
            "MFNet: ours counts 114,439,968,768, the MACs are 11,045,296,128",
        ] == failures((ours(),))
    monkeypatch.delitem(rules.RULES, "baddbmm")
    said = "torch.baddbmm: ours raises UncountedOperator, the MACs are 210"
    assert [said] == failures((ours(),))


@pytest.mark.parametrize(
    ("failed", "status"),
    [
        (Failed("exited", "exit status 1: TypeError: no"), "crashed"),
        (Failed("timed out", "not done within 120 s"), "timed out"),
    ],
)
def test_a_counter_that_fails_has_a_status_on_every_operator(failed, status, monkeypatch):
    def isolated(*args):
        raise failed

    monkeypatch.setattr(conformance, "isolated", isolated)
    statement = conformance._ask("thop")
    assert {operator.name: status for operator in CASES} == statement.figures
    assert [f"thop could not be asked: {failed}"] == failures((statement,))


def test_a_counter_that_raises_is_a_status_and_only_ours_must_be_right(operators):
    statements = ask_counters()
    assert ["ours", "fvcore", "thop", "thop-2020", "torch"] == [s.counter for s in statements]
    assert [] == failures(statements)


def test_a_counter_says_by_which_terms_it_arrives_at_its_figures(monkeypatch):
    names = "nn.Conv3d", "2-D @ vector", "nn.BatchNorm1d"
    few = [operator for operator in CASES if operator.name in names]
    monkeypatch.setattr(conformance, "CASES", few)
    monkeypatch.setattr(conformance, "isolated", lambda limit_s, function, name: function(name))
    torchs = conformance._ask("torch")
    assert {"nn.Conv3d": 3_063_060, "2-D @ vector": 0, "nn.BatchNorm1d": 0} == torchs.figures
    assert {"nn.Conv3d": "", "2-D @ vector": "mv unseen", "nn.BatchNorm1d": ""} == torchs.terms
    # fvcore cannot do with a vector
    assert "raises IndexError" == conformance._ask("fvcore").figures["2-D @ vector"]
    monkeypatch.setattr(asking, "fault_of", lambda reference: "fvcore is not installed")
    missing = conformance._ask("fvcore")
    assert "fvcore is not installed" == missing.error
    assert {"missing"} == set(missing.figures.values())


def test_whole_networks_have_the_figures_that_other_counters_print():
    (network,) = (each for each in NETWORKS if "VideoMAE" in each.name)
    with torch.device("meta"):
        model, inputs = network.network(), network.inputs()
    found = count(model, *inputs)
    printed = {name: each.explain(model, found)["flops"].total for name, each in ALL.items()}
    # the integers that these print of transformers' own VideoMAEModel
    assert 20_115_357_696 == network.macs == found.total.macs
    assert 20_144_259_072 == printed["ultralytics-thop"]
    assert 20_115_357_696 == printed["deepspeed"]
    assert 20_122_583_040 == printed["torchprofile"]
    assert 8_822_446_080 == printed["ptflops"]
    assert 8_786_018_304 == printed["calflops"]
    assert 8_822_145_024 == printed["fvcore"]
    assert 468_059_136 == printed["torchinfo"]
