"""What the commands hand to an engine, run here: the same as without one, lost pieces are said."""

from __future__ import annotations

import pytest

from vidcost.bench.audit import recipe_grid
from vidcost.bench.audit.recipe_search import search
from vidcost.bench.count import measure, reconcile
from vidcost.bench.engine.here import Here
from vidcost.bench.engine.work import Lost, Outcome
from vidcost.bench.inspection.comparison import count_all, variants
from vidcost.bench.inspection.counted import accounts_of_all
from vidcost.bench.timing.cell import Cell
from vidcost.papers import catalog
from vidcost.papers.catalog import select

(C3D,) = select(["c3d"])


class Backwards(Here):
    """Outcomes in another order than pieces, and one piece lost, by its tag."""

    def __init__(self, lost=None):
        self.lost = lost

    def run(self, pieces):
        for outcome in reversed(list(super().run(pieces))):
            if outcome.piece.tag == self.lost:
                outcome = Outcome(outcome.piece, error=Lost("lost 3 times"))
            yield outcome


def test_recipes_come_in_the_order_of_one_machine(monkeypatch):
    monkeypatch.setattr(recipe_grid, "AT_ONCE", 5)
    expected = list(recipe_grid.grid(C3D))
    assert expected == list(recipe_grid.grid_on(Backwards(), C3D))
    paper = catalog.paper()
    assert search(C3D, paper) == search(C3D, paper, engine=Backwards())


def test_a_search_that_lost_recipes_says_so():
    with pytest.raises(Lost, match="lost 3 times"):
        search(C3D, catalog.paper(), engine=Backwards(lost=0))


def test_the_ledger_of_rows_is_theirs_in_order(reference_counters):
    rows = select(["mfnet", "mfnet-nl", "c3d"])
    told = []
    found, lost = measure.accounts_on(Backwards(), rows, advance=told.append)
    expected = {each.record.row: reconcile.reconcile(each) for each in measure.measure(rows)}
    assert (expected, list(expected), []) == (found, list(found), lost)
    assert measure.steps(rows) == len(told)


def test_a_row_that_was_lost_is_said(reference_counters):
    found, lost = measure.accounts_on(Backwards("mfnet"), select(["mfnet", "mfnet-nl"]))
    assert (["mfnet-nl"], ["mfnet: lost 3 times"]) == (list(found), lost)


def test_rows_that_need_gigabytes_have_a_machine_to_themselves(by_name):
    rows = [row for row in by_name.values() if row.build]
    needs = {measure._needs(row): reconcile.examine(row).is_large for row in rows}
    assert {"core": False, "machine": True} == needs


def test_networks_of_ones_own_are_theirs_in_order(monkeypatch):
    cells = [Cell(network=f"my_net.py:{name}", inputs=("1x3",)) for name in "abc"]
    monkeypatch.setattr(
        "vidcost.bench.inspection.counted._accounts_there",
        lambda cell, limit_s: ([cell.network], "") if cell.network[-1] != "b" else ([], "b broke"),
    )
    found, failures = accounts_of_all(cells, limit_s=1, engine=Backwards())
    assert {f"my_net.py:{name}": [f"my_net.py:{name}"] for name in "ac"} == found
    assert ["b broke"] == failures
    found, failures = accounts_of_all(cells, limit_s=1, engine=Backwards(lost=2))
    assert (["my_net.py:a"], ["b broke", "my_net.py:c: lost 3 times"]) == (list(found), failures)


def test_a_variant_that_was_lost_is_a_status():
    chosen = variants({"row": "mfnet"}, ["conv4:before-last"], ["nl", "cgnl"], {})
    counts = count_all(chosen, reference_counters=(), limit_s=60, engine=Backwards(lost=2))
    assert ["ok", "ok", "killed"] == [each.status for each in counts]
    assert [each.cell for each in chosen] == [each.cell for each in counts]
    assert "lost 3 times" == counts[2].error
