"""Who is asked what, rules that are wrong, reference counters that fail, and real answers."""

from __future__ import annotations

import pytest

from vidcost.bench.count import conformance, rules
from vidcost.bench.count.conformance import Statement, ask_counters, failures
from vidcost.bench.count.operators import OPERATORS
from vidcost.bench.isolation import Failed

NAMES = [operator.name for operator in OPERATORS]
GROUPED = ["nn.Conv3d, 3 groups", "nn.Conv3d, depthwise"]


def ours():
    """What ours says now, as the suite asks it."""
    forward = conformance._each(conformance._ours)
    backward = conformance._each(conformance._ours_backward, conformance.DIFFERENTIABLE)
    return Statement("ours", "0", forward, backward)


def test_ours_is_right_on_every_operator():
    assert [] == failures((ours(),))


def test_a_rule_blind_to_groups_is_named(monkeypatch):
    def ungrouped(args, out, is_parameter):
        # (B, C, ...) x (O, C / groups, ...): each output element takes a filter of all C channels
        x, weight = args[0], args[1]
        entries = weight[0].numel() // weight.shape[1] * x.shape[1]
        return "conv", out.numel() * entries

    original = rules.RULES["convolution"]
    monkeypatch.setitem(
        rules.RULES,
        "convolution",
        lambda args, *rest: original(args, *rest) if args[6] else ungrouped(args, *rest),
    )
    # 2 x 21 x 11 x 13 x 17 out, 15 x 42 entries; 2 x 19 x 11 x 13 x 17 out, 19 x 42 entries
    assert [
        "nn.Conv3d, 3 groups: ours counts 64,324,260, the forward MACs are 21,441,420",
        "nn.Conv3d, depthwise: ours counts 73,717,644, the forward MACs are 3,879,876",
    ] == failures((ours(),))


def test_a_rule_that_is_wrong_backward_is_named(monkeypatch):
    monkeypatch.setitem(rules.RULES, "convolution_backward", lambda args, *_: ("conv", 1_009))
    lines = failures((ours(),))
    assert 15 == len(lines)
    assert "nn.Conv1d: ours counts 1,009, the backward MACs are 4,620" == lines[0]


def test_an_operator_without_a_rule_is_named(monkeypatch):
    monkeypatch.delitem(rules.RULES, "baddbmm")
    statement = ours()
    assert "raises UncountedOperator" == statement.forward["torch.baddbmm"]
    assert [
        "torch.baddbmm: ours raises UncountedOperator, the forward MACs are 210",
        "torch.baddbmm: ours raises UncountedOperator, the backward MACs are 420",
    ] == failures((statement,))


def test_only_ours_must_be_right(operators):
    statements = ask_counters()
    assert ["ours", "fvcore", "thop", "thop-2020", "torch on CPU", "torch on meta"] == [
        each.counter for each in statements
    ]
    assert [] == failures(statements)


def test_torch_halved(operators):
    *_, cpu, meta = ask_counters()
    # 2 x 21 x 11 x 13 x 17 x 42 times 5 for the inputs, times 15 for the weights
    grouped = 85_765_680
    assert (grouped, grouped) == tuple(t.backward["nn.Conv3d, 3 groups"] for t in (cpu, meta))
    attention = "F.scaled_dot_product_attention"
    assert (0, 4_620) == tuple(t.forward[attention] for t in (cpu, meta))
    assert (0, 9_240) == tuple(t.backward[attention] for t in (cpu, meta))


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (210, 210.0),
        ("answers 10.5", 10.5),
        ("raises ValueError", float("nan")),
        ("raises TypeError", TypeError("no")),
        ("raises IndexError", IndexError("list index out of range")),
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
        (("wrong distribution", "module thop belongs to ultralytics-thop"), "wrong distribution"),
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


# real answers
