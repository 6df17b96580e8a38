import pytest

from vidcost.bench.report.page.html_table import (
    anchor,
    html_table,
    sort_value,
    without_empty_columns,
)
from vidcost.bench.report.table import Column, Table, integer


@pytest.fixture
def table():
    return Table(
        title="T",
        columns=(
            Column("method", "Method"),
            Column("printed", "Printed", lambda value: str(value)),
            Column("macs", "MACs", integer),
            Column("none", "None"),
        ),
        lines=[
            {"method": "one", "row": "mfnet", "printed": "7.8M", "macs": 1234},
            {"method": "two", "row": "gone", "printed": None, "macs": 5},
            {"method": "one again", "row": "mfnet", "printed": ">9G", "macs": 6},
        ],
        equal=frozenset({(0, "macs")}),
        footnotes={(1, "printed"): "why not", (0, "macs"): "as said", (2, "macs"): "why not"},
        legend=("L",),
    )


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (7843000.0, "7.843M"),
        (107.9e9, ">107.9G"),
        (78.35, "78.35%"),
        (11_176_355_840.0, "11,176,355,840"),
        (-3.0, "-3"),
        (4.0, 4),
        (0.5, 0.5),
        (None, "conv4"),
        (None, "2026-11-25"),
        (None, "3 of 7"),
        (None, True),
        (None, None),
    ],
)
def test_the_sort_key_of_a_value(expected, value):
    assert expected == sort_value(value)


def test_cells_are_text_with_raw_values_behind(table):
    found = html_table("t", table, ["mfnet"])
    assert ["one", "7.8M", "1,234", "–"] == [cell.text for cell in found.lines[0]]
    assert [None, 7.8e6, 1234.0, None] == [cell.sort for cell in found.lines[0]]
    assert [False, False, True, False] == [cell.equal for cell in found.lines[0]]


def test_notes_are_numbered_as_they_come_and_once(table):
    found = html_table("t", table, [])
    assert ("as said", "why not") == found.notes
    assert [1, 2, 2] == [found.lines[line][cell].note for line, cell in ((0, 2), (1, 1), (2, 2))]


def test_a_method_leads_to_its_row_if_there_is_one(table):
    found = html_table("t", table, ["mfnet"])
    assert ["row-mfnet", "", "row-mfnet"] == [cells[0].link for cells in found.lines]
    assert {""} == {cell.link for cells in found.lines for cell in cells[1:]}


def test_an_anchor_is_given_once(table):
    assert ("t-mfnet", "t-gone", "") == html_table("t", table, [], anchored_by="row").anchors


def test_an_anchor_has_no_letter_that_html_or_a_link_reads():
    assert "row--script-alert-1-script-" == anchor("row", "<script>alert(1)</script>")
    assert "row-mfnet-pnl_x.5" == anchor("row", "mfnet-pnl_x.5")


def test_columns_without_a_value_go_and_their_notes_with_them(table):
    found = without_empty_columns(table)
    assert ["method", "printed", "macs"] == [column.key for column in found.columns]
    bare = without_empty_columns(
        Table("T", table.columns, [{"method": "a"}], footnotes={(0, "macs"): "none printed"})
    )
    assert {} == bare.footnotes
