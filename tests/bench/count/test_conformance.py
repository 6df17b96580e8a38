import pytest

from vidcost.bench.count import conformance, rules
from vidcost.bench.count.conformance import ask_counters, failures, ours
from vidcost.bench.count.operators import OPERATORS
from vidcost.bench.isolation import Failed

NAMES = [operator.name for operator in OPERATORS]


def test_a_rule_that_is_wrong_blind_to_groups_or_missing_is_named(monkeypatch):
    def ungrouped(args, out, is_constant):
        # (B, C, ...) x (O, C / groups, ...): each output element takes a filter of all C channels
        x, weight = args[0], args[1]
        entries = weight[0].numel() // weight.shape[1] * x.shape[1]
        return "conv", out.numel() * entries

    assert [] == failures((ours(),))
    right = rules.RULES["convolution"]
    with monkeypatch.context() as patched:
        patched.setitem(
            rules.RULES,
            "convolution",
            lambda args, *rest: (right if args[6] else ungrouped)(args, *rest),
        )
        # 2 x 21 x 11 x 13 x 17 out, 15 x 42 entries; 2 x 19 x 11 x 13 x 17 out, 19 x 42 entries
        assert [
            "nn.Conv3d, 3 groups: ours counts 64,324,260, the forward MACs are 21,441,420",
            "nn.Conv3d, depthwise: ours counts 73,717,644, the forward MACs are 3,879,876",
        ] == failures((ours(),))
    with monkeypatch.context() as patched:
        patched.setitem(rules.RULES, "convolution_backward", lambda args, *_: ("conv", 1_009))
        lines = failures((ours(),))
    assert 15 == len(lines)
    assert "nn.Conv1d: ours counts 1,009, the backward MACs are 4,620" == lines[0]
    monkeypatch.delitem(rules.RULES, "baddbmm")
    said = "torch.baddbmm: ours raises UncountedOperator, the {} MACs are {}"
    assert [said.format("forward", 210), said.format("backward", 420)] == failures((ours(),))


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (210, 210.0),
        ("answers 10.5", 10.5),
        ("raises ValueError", float("nan")),
        ("raises TypeError", TypeError("no")),
    ],
)
def test_what_is_no_integer_is_a_status(expected, answer):
    def figure(_):
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert {expected} == set(conformance._each(figure).values())


@pytest.mark.parametrize(
    ("failed", "status"),
    [
        (Failed("exited", "exit status 1: TypeError: no"), "crashed"),
        (Failed("timed out", "not done within 120 s"), "timed out"),
        (("missing", "thop is not installed"), "missing"),
    ],
)
def test_a_counter_that_fails_has_a_status_on_every_operator(failed, status, monkeypatch):
    def isolated(*args):
        if isinstance(failed, Failed):
            raise failed
        return failed

    monkeypatch.setattr(conformance, "isolated", isolated)
    statement = conformance._ask_package("thop")
    assert dict.fromkeys(NAMES, status) == statement.forward
    error = failed[1] if isinstance(failed, tuple) else str(failed)
    assert [f"thop could not be asked: {error}"] == failures((statement,))


def test_only_ours_must_be_right(operators):
    statements = ask_counters()
    counters = ["ours", "fvcore", "thop", "thop-2020", "torch on CPU", "torch on meta"]
    assert counters == [each.counter for each in statements]
    assert [] == failures(statements)
    # torch, halved: 2 x 21 x 11 x 13 x 17 x 42 times 5 for the inputs, times 15 for the weights
    torchs = statements[-2:]
    assert {85_765_680} == {each.backward["nn.Conv3d, 3 groups"] for each in torchs}
    attention = "F.scaled_dot_product_attention"
    found = [(each.forward[attention], each.backward[attention]) for each in torchs]
    assert [(0, 0), (4_620, 9_240)] == found
