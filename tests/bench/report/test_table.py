import csv
import io
import json
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from vidcost.bench.report.table import Column, Table, billions, compact, integer, millions, show

TEXT = Column("name", "Name")
NUMBER = Column("macs", "MACs", integer)


def table(lines, columns=(TEXT, NUMBER), **more):
    return Table("A title", columns, lines, **more)


def grid(markdown):
    """The cells of a table in markdown, the heading first; escaped bars stay in their cells."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [
        [cell.strip().replace("\0", "\\|") for cell in line.replace("\\|", "\0")[1:-1].split("|")]
        for line in [lines[0], *lines[2:]]
    ]


def drawn(what, width):
    console = Console(force_terminal=True, width=width, file=io.StringIO(), color_system=None)
    show(what, console)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("expected", "write", "value"),
    [
        ("7,842,568", integer, 7_842_568),
        ("0", integer, 0),
        ("7.843M", millions, 7_842_568),
        ("0.000M", millions, 7),
        ("11.176G", billions, 11_176_355_840),
        ("0.001G", billions, 802_816),
        ("0.000G", billions, 1),
        ("0", billions, 0),
        ("999,499", compact, 999_499),
        ("1.000M", compact, 999_500),
        ("8.138M", compact, 8_138_248),
        ("11.045G", compact, 11_045_296_128),
        ("1.200T", compact, 1_200_000_000_000),
        ("0", compact, 0),
    ],
)
def test_numbers_for_people(expected, write, value):
    assert expected == write(value)


def test_markdown_holds_title_table_notes_and_legend_in_this_order():
    lines = [{"name": "a", "macs": 1234567}, {"name": "abc", "macs": None}, {"name": "b"}]
    known = {"footnotes": {(0, "macs"): "why"}, "equal": frozenset({(0, "macs")})}
    markdown = table(lines, legend=("units", "more"), **known).markdown()
    title, body, *below = markdown.split("\n\n")
    assert ("**A title**", ["¹ why", "units", "more\n"]) == (title, below)
    cells = [["Name", "MACs"], ["a", "1,234,567 ✓¹"], ["abc", "–"], ["b", "–"]]
    assert cells == grid(body)
    # text is flush left, numbers are flush right, and all lines are of one width
    assert re.search(r"^\|:-+ *\| *-+:\|$", body, re.MULTILINE)
    assert 1 == len({len(line) for line in body.splitlines()})


def test_notes_mean_nothing_to_markdown_but_keep_their_code():
    what = table([{"name": "a"}], footnotes={(0, "name"): "a*b|c `vidcost list`"}, legend=("x_y",))
    assert ["¹ a\\*b\\|c `vidcost list`", "x_y\n"] == what.markdown().split("\n\n")[2:]


def test_footnotes_are_numbered_as_they_are_read_and_shared_when_equal():
    lines = [{"name": "a", "macs": 1}, {"name": "b", "macs": None}]
    footnotes = {(1, "macs"): "third", (1, "name"): "first", (0, "macs"): "second"}
    what = table(lines, footnotes=footnotes | {(0, "name"): "first"})
    assert [["a¹", "1²"], ["b¹", "–³"]] == grid(what.markdown())[1:]
    assert ["¹ first", "² second", "³ third\n"] == what.markdown().split("\n\n")[2:]
    many = [{"name": f"r{index}"} for index in range(21)]
    what = Table(
        "", [TEXT], many, footnotes={(index, "name"): f"note {index}" for index in range(21)}
    )
    assert ["r20²¹"] == grid(what.markdown())[-1]
    assert what.markdown().endswith("\n\n²¹ note 20\n")


def test_json_has_null_for_what_is_not_finite_and_text_for_what_json_does_not_know():
    what = table([{"name": Path("a/b"), "macs": [math.nan, {"x": math.inf}, (1,)]}])
    assert [{"name": "a/b", "macs": [None, {"x": None}, [1]]}] == json.loads(
        what.json(), parse_constant=lambda word: pytest.fail(word)
    )


def test_data_holds_keys_without_a_column_and_no_marks():
    line = {"name": 'a,"|*é', "macs": 1, "row": "mfnet"}
    footnotes = {(0, "name"): "note"}
    what = table([line], equal=frozenset({(0, "macs")}), footnotes=footnotes, legend=("legend",))
    assert [line] == json.loads(what.json())
    assert [line | {"macs": "1"}] == list(csv.DictReader(io.StringIO(what.csv())))
    assert "é" in what.json()


def ink(text):
    """Characters that are seen, but for rules."""
    return Counter("".join(text.split()).replace("─", ""))


WIDE = Table(
    "A title that is longer than a terminal of few columns",
    [TEXT, *(Column(f"n{i}", f"Heading number {i}", integer) for i in range(8))],
    [
        {"name": "MARS [44] [bold]x[/bold] \\", **{f"n{i}": 10**i for i in range(8)}},
        {"name": ":bell: temporal_pool|*`<&", **{f"n{i}": None for i in range(8)}},
    ],
    equal=frozenset({(0, "n3")}),
    footnotes={(0, "name"): "a note [red] with :bell: `code`", (1, "n7"): "another"},
    legend=("a legend " * 20,),
)


def test_nothing_is_lost_where_there_is_room():
    cells = ["MARS [44] [bold]x[/bold] \\¹", *(f"{10**i:,}" for i in range(8)), "✓"]
    cells += [":bell: temporal_pool|*`<&", *"––––––––²"]
    headings = ["Name", *(f"Heading number {i}" for i in range(8))]
    below = ["¹ a note [red] with :bell: `code`", "² another", "a legend " * 20]
    written = drawn(WIDE, 250)
    assert ink("".join([WIDE.title, *headings, *cells, *below])) == ink(written)
    assert 250 >= max(map(len, written.splitlines()))


@pytest.mark.parametrize("width", [50, 60, 80])
def test_columns_that_do_not_fit_are_left_out_and_named(width):
    status = Column("status", "Status")
    what = replace(WIDE, columns=[*WIDE.columns, status])
    written = drawn(what, width)
    lines = written.splitlines()
    assert width >= max(map(len, lines))
    assert "Status" in "".join(lines[:6])
    (said,) = re.findall(
        r"Too wide for \d+ columns: (.*)\. `--wide` shows", " ".join(written.split())
    )
    shown = [f"{10**i:,}" in " ".join(lines) for i in range(8)]
    assert 0 < shown.count(True) < 8
    # the first ones stay
    assert sorted(shown, reverse=True) == shown
    left_out = [f"Heading number {i}" for i in range(8)][shown.count(True) :]
    assert ", ".join(left_out) == said
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    show(what, console, is_whole=True)
    assert f"{10**7:,}" in console.file.getvalue()


def test_numbers_stand_right_on_a_terminal():
    lines = drawn(table([{"name": "a", "macs": 1}, {"name": "abc", "macs": 1000}]), 80).splitlines()
    (short,) = (line.rstrip() for line in lines if line.split() == ["a", "1"])
    (long,) = (line.rstrip() for line in lines if line.split() == ["abc", "1,000"])
    assert (short.index("a"), len(short)) == (long.index("abc"), len(long))


def test_a_pipe_gets_markdown_of_100_columns():
    console = Console(file=io.StringIO(), width=20)
    show(WIDE, console)
    written = console.file.getvalue()
    assert 100 >= max(map(len, written.splitlines()))
    assert written.startswith("**A title")
    assert "Heading number 7. `--wide` shows" in " ".join(written.split())
    whole = Console(file=io.StringIO(), width=20)
    show(WIDE, whole, is_whole=True)
    assert WIDE.markdown().split() == whole.file.getvalue().split()


def test_a_wide_table_has_every_column_and_exact_numbers():
    norm = Column("norm", "norm", integer, is_wide=True)
    line = {"name": "a", "macs": 11_045_296_128, "norm": 7}
    columns = TEXT, Column("macs", "MACs", compact, integer), norm
    what = table([line], columns, footnotes={(0, "norm"): "of a wide column"})
    assert [["Name", "MACs"], ["a", "11.045G"]] == grid(what.markdown())
    assert "of a wide column" not in what.markdown()
    assert ["a", "11,045,296,128", "7¹"] == grid(what.wide().markdown())[1]
    assert line == json.loads(what.json())[0]


def test_latex_is_a_table_for_booktabs():
    lines = table([{"name": "a_b", "macs": 1234}]).latex().split("\n")
    assert ["\\toprule", "\\midrule", "\\bottomrule"] == [x for x in lines if "rule" in x]
    assert ["a\\_b", "1,234", "\\\\"] == lines[4].replace("&", "").split()


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("a|b", r"a\|b"),
        ("mfnet*", r"mfnet\*"),
        ("temporal_pool [44] 7.92M 1e5 (×5)", "temporal_pool [44] 7.92M 1e5 (×5)"),
        ("_x_ y_", r"\_x\_ y\_"),
        ("`x`", r"\`x\`"),
        ("<b>", r"\<b>"),
        ("a & b", r"a \& b"),
        ("a\\", "a\\\\"),
    ],
)
def test_text_means_nothing_to_markdown(cell, written):
    markdown = Table(cell, [Column("x", cell)], [{"x": cell}]).markdown()
    assert f"**{written}**" == markdown.splitlines()[0]
    assert [[written], [written]] == grid(markdown)


def test_data_hold_whole_numbers_even_beside_gaps_and_every_digit_of_a_float():
    gaps = [{"name": "a", "macs": 11_336_626_944}, {"name": "b", "macs": None}, {"name": "c"}]
    assert [line | {"macs": line.get("macs")} for line in gaps] == json.loads(table(gaps).json())
    assert "11336626944.0" not in table(gaps).json()
    read = list(csv.reader(io.StringIO(table(gaps).csv())))
    assert [["name", "macs"], ["a", "11336626944"], ["b", ""], ["c", ""]] == read
    value = 1.23456789012e-08
    what = table([{"name": "a", "macs": value}])
    assert value == json.loads(what.json())[0]["macs"]
    assert value == float(next(csv.DictReader(io.StringIO(what.csv())))["macs"])
