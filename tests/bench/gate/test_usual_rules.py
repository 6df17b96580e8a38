"""The rules of the usual tools on samples small enough to judge by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vidcost.bench.gate.usual_rules import USUAL_RULES

RULES = {rule.name: rule.slower for rule in USUAL_RULES}

FLAT = (100,) * 7


def alarms(base, head):
    return {name for name, slower in RULES.items() if slower(base, head)}


def test_the_rules():
    assert ["mean:10%", "min:5%", "flat 7%", "t-test 0.05", "U-test 0.05", "U-test 0.002"] == list(
        RULES
    )


@pytest.mark.parametrize(
    ("rule", "most", "more"), [("mean:10%", 109, 111), ("min:5%", 105, 106), ("flat 7%", 107, 108)]
)
def test_thresholds_are_passed_only_above_them(rule, most, more):
    assert not RULES[rule](FLAT, (most,) * 5)
    assert RULES[rule](FLAT, (more,) * 5)


def test_each_threshold_looks_at_its_own_figure():
    # mean 120, median 100, least 100
    assert RULES["mean:10%"](FLAT, (100,) * 4 + (200,))
    assert not RULES["flat 7%"](FLAT, (100,) * 4 + (200,))
    assert not RULES["min:5%"](FLAT, (100,) * 4 + (200,))
    # median 108, mean 106.4
    assert RULES["flat 7%"](FLAT, (104, 104, 108, 108, 108))
    assert not RULES["min:5%"](FLAT, (104, 104, 108, 108, 108))


def test_pytest_benchmark_says_the_same_of_its_thresholds():
    from pytest_benchmark.utils import parse_compare_fail

    random = np.random.default_rng(3)
    for _ in range(200):
        base, head = (tuple(map(int, random.normal(at, 60, 5))) for at in (1000, 1080))
        for name, figure in (("mean:10%", np.mean), ("min:5%", min)):
            field = name.partition(":")[0]
            fails = parse_compare_fail(name).fails({field: figure(head)}, {field: figure(base)})
            assert bool(fails) == RULES[name](base, head)


def test_ranks_that_do_not_overlap_are_significant_by_their_number():
    # exact two-sided p of complete separation: 2 / C(2n, n); n = 3: 0.1, 4: 0.029, 7: 0.00058
    for n, expected in ((3, set()), (4, {"U-test 0.05"}), (7, {"U-test 0.05", "U-test 0.002"})):
        base, head = tuple(range(1000, 1000 + n)), tuple(range(1010, 1010 + n))
        assert expected == alarms(base, head) & {"U-test 0.05", "U-test 0.002"}


def test_a_difference_of_means_against_its_error():
    # t = 2 / sqrt(2 * 2.5 / 5) = 2, 8 degrees of freedom, two-sided p 0.0805; with 3: t = 3, 0.0171
    base = (101, 102, 103, 104, 105)
    assert not RULES["t-test 0.05"](base, tuple(ns + 2 for ns in base))
    assert RULES["t-test 0.05"](base, tuple(ns + 3 for ns in base))


def test_a_faster_head_is_no_alarm():
    assert set() == alarms((200,) * 7, FLAT)
    assert set() == alarms(tuple(range(1010, 1017)), tuple(range(1000, 1007)))


def test_samples_that_say_little():
    assert set() == alarms(FLAT, FLAT)
    # one sample a side is no test, but a threshold
    assert {"mean:10%", "min:5%", "flat 7%"} == alarms((100,), (120,))
    # a clock so coarse that nothing varies
    assert set(RULES) == alarms(FLAT, (120,) * 7)


def test_independent_samples_of_the_same_are_called_slower_as_often_as_the_level_says():
    random = np.random.default_rng(5)
    hits = dict.fromkeys(("t-test 0.05", "U-test 0.05"), 0)
    for _ in range(400):
        base, head = (tuple(map(int, random.normal(1e6, 2e4, 40))) for _ in range(2))
        for name in hits:
            hits[name] += RULES[name](base, head)
    # half of 5%: 10 of 400, standard deviation 3
    assert all(1 <= count <= 22 for count in hits.values())
