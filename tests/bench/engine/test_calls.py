"""Calls made here, and the commands' calls made by an engine that returns them in any order."""

from __future__ import annotations

import pytest

from vidcost.bench.engine.calls import Call, Here, Lost, Outcome, results
from vidcost.bench.inspection.comparison import count_all, variants
from vidcost.bench.inspection.counted import explained_on
from vidcost.bench.timing.cell import Cell


class Backwards(Here):
    """Outcomes in reverse order, and one call lost, by its number."""

    def __init__(self, lost=None):
        self.lost = lost

    def run(self, calls):
        for outcome in reversed(list(super().run(calls))):
            if outcome.number == self.lost:
                outcome = Outcome(outcome.number, outcome.name, error=Lost("lost 3 times"))
            yield outcome


def test_calls_are_made_one_after_another_and_only_when_they_are_asked_for():
    begun = []
    calls = (Call(str(n), lambda n=n: begun.append(n) or n * n) for n in range(10**9))
    outcomes = Here().run(calls)
    assert [(0, 0), (1, 1)] == [(o.number, o.get()) for o in (next(outcomes), next(outcomes))]
    assert [0, 1] == begun
    assert [7] == Here().everywhere(lambda n: n, 7, needs="machine")


def reject():
    raise ValueError("no such thing")


def test_an_exception_is_the_outcome_of_its_call_alone():
    rejected, done = Here().run([Call("one", reject), Call("another", int)])
    with pytest.raises(ValueError, match="no such thing"):
        rejected.get()
    assert 0 == done.get()


def test_results_come_in_the_order_of_the_calls():
    calls = [Call(f"call {n}", divmod, (n, 7)) for n in range(3)]
    told = []
    found = results(Backwards(lost=1), calls, advance=told.append)
    assert [(0, 0), "lost 3 times", (0, 2)] == [found[0], str(found[1]), found[2]]
    assert ["call 2", "call 1", "call 0"] == told
    with pytest.raises(ValueError, match="no such thing"):
        results(Here(), [Call("one", reject), Call("another", pytest.fail)])


def test_a_variant_that_was_lost_is_a_status():
    chosen = variants({"row": "mfnet"}, ["conv4:before-last"], ["nl", "cgnl"], {})
    counts = count_all(chosen, reference_counters=(), limit_s=60, engine=Backwards(lost=2))
    assert ["ok", "ok", "killed"] == [each.status for each in counts]
    assert [each.cell for each in chosen] == [each.cell for each in counts]
    assert "lost 3 times" == counts[2].error


def test_networks_of_ones_own_are_theirs_in_order(monkeypatch):
    cells = [Cell(network=f"my_net.py:{name}", inputs=("1x3",)) for name in "abc"]
    monkeypatch.setattr(
        "vidcost.bench.inspection.counted._explained_there",
        lambda cell, limit_s: [cell.network] if cell.network[-1] != "b" else "raised: b broke",
    )
    found, failures = explained_on(Backwards(lost=2), (), cells, use_cache=False, limit_s=1)
    assert ["my_net.py:a"] == list(found)
    assert ["my_net.py:b: raised: b broke", "my_net.py:c: lost 3 times"] == failures
