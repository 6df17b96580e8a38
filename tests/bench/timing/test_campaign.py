"""What a campaign measures, and in which order."""

from __future__ import annotations

import pytest

from vidcost.bench.timing.plan import STAGES, campaign_cells
from vidcost.papers.catalog import rows_with_costs, tables_of
from vidcost.papers.pnl2020.rows import ROWS


def test_the_full_campaign_is_all_stages_in_order():
    full = campaign_cells(["full"], "cuda:1")
    assert {"cuda:1"} == {cell.device for cell in full}
    one_by_one = [cell for name in STAGES for cell in campaign_cells([name], "cuda:1")]
    assert list(dict.fromkeys(one_by_one)) == full
    assert len(set(full)) == len(full)


def test_every_row_of_the_tables_with_costs_is_measured_at_both_batches_and_all_types():
    names = {row.name for row in ROWS if row.build and {3, 5, 6} & set(tables_of(row.name))}
    assert names == {row.name for row in rows_with_costs()}
    cells = campaign_cells(["rows"], "cuda")
    assert {
        (name, batch, dtype)
        for name in names
        for batch in (1, 8)
        for dtype in ("fp32", "tf32", "bf16")
    } == {(cell.row, cell.batch, cell.dtype) for cell in cells}
    # whoever has time for one row in six has all of them under the same conditions
    assert names == {cell.row for cell in cells[: len(names)]}
    assert {(8, "fp32")} == {(cell.batch, cell.dtype) for cell in cells[: len(names)]}


def test_blocks_are_measured_hot_and_cold_where_rows_have_them():
    cells = campaign_cells(["blocks"], "cuda")
    assert {(384, 8, 14, 14), (1024, 4, 14, 14)} == {cell.shape for cell in cells}
    hot, cold = ({c for c in cells if c.cold == cold} for cold in (False, True))
    assert {cell.model_copy(update={"cold": False}) for cell in cold} == hot
    assert {"nl", "cgnl", "cgd", "pnl:n=2", "pnl:n=3", "pnl:n=4"} == {cell.block for cell in hot}


def test_what_is_no_campaign_is_rejected():
    with pytest.raises(
        ValueError, match=r"^no campaign 'all': choose full or, of its stages, rows"
    ):
        campaign_cells(["rows", "all"], "cuda")
    with pytest.raises(ValueError, match=r"^a campaign is for a GPU: give --device cuda"):
        campaign_cells(["full"], "cpu")
