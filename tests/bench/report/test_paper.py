import pytest

from vidcost.bench.report.paper import paper_table
from vidcost.papers import catalog
from vidcost.papers.pnl2020.rows import ROWS

ALL = {row.name: row for row in ROWS}


@pytest.fixture
def records(made_up):
    """A record of every row that can be built: 1M parameters, 6G MACs of which 3G attention."""
    return {
        row.name: made_up(
            row.name,
            params=1_000_000,
            conv=10**9,
            linear=2 * 10**9,
            matmul=3 * 10**9,
            fvcore=5 * 10**9,
            thop=7 * 10**9,
        )
        for row in ROWS
        if row.build
    }


def notes(table):
    """The footnotes by their superscripts."""
    paragraphs = table.wide().markdown().rstrip("\n").split("\n\n")[2:-1]
    return dict(paragraph.split(" ", 1) for paragraph in paragraphs)


def test_a_line_holds_the_printed_figures_and_ours(records, cells):
    records["mfnet"] = records["mfnet"].model_copy(update={"params": 7_842_568})
    assert {
        "Method": "MFNet baseline",
        "Top-1 printed": "78.35%",
        "Params printed": "7.843M",
        "Params": "7.843M ✓",
        "FLOPs printed": "11.176G",
        "fvcore": "5.000G",
        "thop": "7.000G",
        "thop 2020 rebuilt": "–",
        "MACs": "6.000G",
        "Met by": "params",
        "of which attention": "3.000G",
    } == cells(paper_table(3, catalog.paper(), ALL, records).wide())[0]


@pytest.mark.parametrize(
    ("equal", "counts"),
    [
        (["params"], {"params": 7_842_568}),
        (["macs"], {"linear": 0, "conv": 11_176_000_000, "matmul": 0}),
        (["fvcore"], {"fvcore": 11_176_355_840}),
        (["fvcore", "thop"], {"fvcore": 11_175_500_000, "thop": 11_176_499_999}),
        # attention alone is never held against a printed figure
        ([], {"matmul": 11_176_000_000, "conv": 1_000_000}),
        ([], {}),
    ],
)
def test_the_mark_stands_where_ours_equals_the_printed_figure(equal, counts, made_up, records):
    records["mfnet"] = made_up("mfnet", **counts)
    table = paper_table(3, catalog.paper(), ALL, records)
    assert {(0, key) for key in equal} == table.equal
    assert equal == table.lines[0]["equal"]


def test_table_5_prints_the_row_that_cannot_be_built(records, cells):
    table = paper_table(5, catalog.paper(), ALL, records).wide()
    line = cells(table)[5]
    assert line["Method"].startswith("(2+C1)D [47]")
    assert line["Params printed"].startswith("7.3M")
    figures = [line[key] for key in ("Params", "fvcore", "thop", "MACs", "of which attention")]
    assert {"–"} == {figure[0] for figure in figures}
    why = "published only: no public definition of the network was found"
    assert {why} == {notes(table)[figure[1:]] for figure in figures}


def test_notes_of_the_paper_stand_at_the_printed_figures(records, made_up, cells):
    records["mfnet"] = made_up("mfnet", fvcore=5 * 10**9, thop="exit status 1: out of memory")
    table = paper_table(3, catalog.paper(), ALL, records)
    baseline, concat, *_ = cells(table.wide())
    params, flops = concat["Params printed"], concat["FLOPs printed"]
    assert ("7.911M", "11.208G") == (params[:-1], flops[:-1])
    assert notes(table)[params[-1]].startswith("the text shares one non-local operation")
    assert notes(table)[flops[-1]].startswith("close: thop-2020, which")
    # a counter that failed
    assert ("5.000G", "–¹") == (baseline["fvcore"], baseline["thop"])
    assert "thop crashed: exit status 1: out of memory" == notes(table)["¹"]
