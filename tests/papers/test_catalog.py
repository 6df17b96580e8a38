"""Papers found by folder, and rows chosen among theirs."""

import re
from pathlib import Path

import pytest

from vidcost.bench.audit import judge, problems
from vidcost.papers import catalog
from vidcost.papers.catalog import select
from vidcost.papers.pnl2020.rows import ROWS

FIGURES = """
paper = "A paper"
[[tables]]
id = "A"
title = "Costs"
columns = ["label", "row", "params"]
rows = [["Tiny", "tiny", "1M"]]
"""
CHECKOUT = Path(__file__).parents[2]
ROW = """
from torch import nn
from vidcost.papers.row import Row

def tiny(*, classes, frames, size):
    return nn.Identity()

ROWS = (Row("NAME", tiny, 3, ((3, 2, 4, 4),)),)
"""


def names(rows):
    return [row.name for row in rows]


def test_a_folder_is_a_paper(shelf):
    shelf("tiny-paper", FIGURES, ROW.replace("NAME", "tiny"))
    assert {"pnl2020", "tiny-paper"} <= {*catalog.folders()}
    assert ["tiny"] == names(catalog.rows_of("tiny-paper"))
    assert ("A",) == catalog.tables_of("tiny") == catalog.paper("tiny-paper").cost_tables
    assert "tiny-paper" == catalog.paper_of("tiny").name
    assert (
        ["tiny"]
        == names(catalog.rows_with_costs("tiny-paper"))
        == [*catalog.printed_rows(catalog.paper("tiny-paper"))]
    )
    assert None is catalog.module_of("tiny-paper", "claims")


def test_rows_of_all_papers_have_names_and_no_pattern_means_the_default_paper(shelf):
    shelf("tiny-paper", FIGURES, ROW.replace("NAME", "tiny"))
    assert ["c3d", "tiny"] == names(select(["tiny", "c3d"]))
    assert ["tiny"] == names(select(paper_name="tiny-paper"))
    assert ["tiny"] == names(select(paper_name="tiny-paper", table="A"))
    assert ROWS == select()


def test_a_glob_chooses_among_all_papers_only_where_the_default_paper_has_no_match(shelf):
    shelf("tiny-paper", FIGURES, ROW.replace("NAME", "tiny"))
    assert ROWS == select(["*"])
    assert ["tiny"] == names(select(["tin*"]))


def test_only_papers_of_stored_rows_are_beside_the_default(shelf):
    shelf("tiny-paper", FIGURES, ROW.replace("NAME", "tiny"))
    assert [*names(ROWS)] == names(catalog.rows_beside(["mfnet", "unknown"]))
    assert [*names(ROWS), "tiny"] == names(catalog.rows_beside(["tiny"]))


def test_two_papers_with_one_name_for_a_row_are_rejected(shelf):
    shelf("tiny-paper", FIGURES, ROW.replace("NAME", "mfnet"))
    with pytest.raises(ValueError, match="paper tiny-paper has a row 'mfnet', as another has"):
        select(["mfnet"])


def test_figures_of_a_row_that_no_paper_has_are_rejected(shelf):
    shelf("tiny-paper", FIGURES, ROW.replace("NAME", "tini"))
    with pytest.raises(ValueError, match=r"figures.toml: no row 'tiny': did you mean 'tini'\?"):
        catalog.printed_rows(catalog.paper("tiny-paper"))


def test_a_paper_without_rows_says_where_they_go(shelf):
    folder = shelf("tiny-paper", FIGURES)
    with pytest.raises(ValueError, match=f"no rows: define ROWS in {folder}/rows.py"):
        catalog.rows_of("tiny-paper")


def test_a_paper_that_is_not_there():
    with pytest.raises(ValueError, match=r"^no paper 'pnl2021': did you mean 'pnl2020'\?"):
        catalog.paper("pnl2021")


@pytest.mark.parametrize(
    ("patterns", "table", "expected"),
    [
        (["mfnet"], None, ["mfnet"]),
        (["r50-*"], 6, ["r50-ucf101", "r50-nl-ucf101", "r50-cgnl-ucf101", "r50-pnl-ucf101"]),
        (["mfnet-pnl-n?"], None, ["mfnet-pnl-n2", "mfnet-pnl-n3"]),
        (["*-ts", "c3d"], None, ["resframe-ts", "i3d-ts", "c3d"]),
        # the order is that of ROWS, and no row comes twice
        (["s3d", "mfnet", "mfnet*"], "3", ["mfnet", "mfnet-pnl", "mfnet-pnl-concat"]),
        (["mfnet-pnl-n[34]*"], None, ["mfnet-pnl-n3"]),
        # any row with such blocks has an optimized variant, if only by its name
        (["mfnet-pnl-n2-optimized", "mfnet"], None, ["mfnet", "mfnet-pnl-n2-optimized"]),
    ],
)
def test_select(patterns, table, expected):
    assert expected == names(select(patterns, table=table))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("mfnet-pln", "no row 'mfnet-pln': did you mean 'mfnet-pnl'? `vidcost list` shows all"),
        ("I3D-RGB", "no row 'I3D-RGB': `vidcost list` shows all rows"),
        ("mfnet-nl-optimize", "no row 'mfnet-nl-optimize': did you mean 'mfnet-nl-optimized'"),
        ("qqq*", "no row 'qqq*': `vidcost list` shows all rows"),
        ("", "no row '': `vidcost list` shows all rows"),
    ],
)
def test_a_pattern_that_matches_nothing_is_rejected(pattern, message):
    with pytest.raises(ValueError, match="no row") as caught:
        select(["mfnet", pattern])
    assert str(caught.value).startswith(message)


def test_a_pattern_that_matches_nothing_in_the_table_is_rejected():
    with pytest.raises(ValueError, match=r"^no row of Table 6 matches s3d or mfnet$"):
        select(["s3d", "mfnet"], table=6)


@pytest.mark.parametrize("table", [0, 7, -1, "S1"])
def test_a_table_that_the_paper_lacks_is_rejected(table):
    with pytest.raises(ValueError, match=f"^no table {table} in pnl2020: choose from 1, 2, 3, 4"):
        select(table=table)


# a second paper, as docs/extending.md writes it


@pytest.mark.parametrize(("file", "language"), [("figures.toml", "toml"), ("rows.py", "python")])
def test_the_example_is_the_one_of_the_documentation(file, language):
    page = (CHECKOUT / "docs/extending.md").read_text(encoding="utf-8").split("## A paper\n")[1]
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert block == (CHECKOUT / "papers/example" / file).read_text(encoding="utf-8")


def test_the_audit_finds_the_misprint():
    paper = catalog.paper("example")
    judged = judge(paper)
    assert 4 == len(judged)
    assert [("example-r50-nl", "params")] == [(e.row.name, e.kind) for e in judged if not e.met]
    assert [] == problems(paper, judged)
