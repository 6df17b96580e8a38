"""Printed figures as numbers, and files of them, damaged ones too."""

import re

import pytest

from vidcost.papers.figures import Figure, load


@pytest.mark.parametrize(
    ("printed", "value", "met"),
    [
        ("7.843M", 7_842_568, True),
        ("7.843M", 7_842_499, False),
        ("11.176G", 11_176_355_840, True),
        # cut off, not rounded
        ("11.17G", 11_176_355_840, False),
        # a tie may have been rounded either way
        ("7.83M", 7_835_000, True),
        ("7.84M", 7_835_000, True),
        ("7.85M", 7_835_000, False),
        # a bound is met by what is greater
        (">107.9G", 107_900_000_001, True),
        (">107.9G", 107_900_000_000, False),
        ("8M", 7_842_568, True),
        # millions are not billions
        ("7.843G", 7_842_568, False),
    ],
)
def test_equal_to_the_printed_precision(printed, value, met):
    assert met == Figure.parse(printed).equals(value)


@pytest.mark.parametrize(
    "printed", ["", "7.843", "7,843M", "7.843 M", "7.843M\n", "-7.8M", "7.M", ".8M", "<7M", "7.8K"]
)
def test_what_is_no_figure(printed):
    with pytest.raises(ValueError, match=re.escape(f"{printed!r} is no figure like 7.843M")):
        Figure.parse(printed)


GOOD = """
paper = "p"
claims = [["w", "p", "check", ["r"], "s"]]
[[tables]]
id = 1
title = "t"
columns = ["label", "row", "top1", "params", "flops"]
rows = [["l", "r", "1%", "7.8M", ""]]
notes.r.params = "n"
"""


FITTED = '{spec = "r", of = ["flops"], tried = 1}'


def test_a_small_file_can_be_read(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(GOOD)
    (row,) = load(path).table(1)
    assert ("7.8M", None, None, "n") == (row.params.printed, row.flops, row.top5, row.note.params)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('paper = "p"', "paper = ", "Invalid value"),
        ('title = "t"', 'title = "t"\ntilte = "t"', "tables.0.tilte"),
        ('title = "t"\n', "", "tables.0.title: Field required"),
        ('"top1"', '"top-1"', "tables.0.columns.2"),
        ('"7.8M"', '"7.8"', "table 1, l: params: '7.8' is no figure"),
        ('"7.8M"', "7.8", "tables.0.rows.0.3"),
        ('"r", "1%"', '"", "1%"', "table 1, l: row: Field required"),
        ('"1%", ', "", "table 1 has 5 columns, not ('l', 'r', '7.8M', '')"),
        ("id = 1", "id = [1]", "tables.0.id"),
        ("notes.r.params", "notes.r.flops", "r has a note or recipe, and no printed flops"),
        ('notes.r.params = "n"', f"recipes.r = {FITTED}", "r has a note or recipe, and no printed"),
        ('notes.r.params = "n"', "recipes.r = {}", "tables.0.recipes.r.spec: Field required"),
        ("notes.r.params", "notes.q.params", "table 1 has notes or recipes, and no row, of q"),
        ("notes.r.params", "notes.r.param", "tables.0.notes.r.param"),
        ('["r"], "s"', '"r", "s"', "claims.0.3"),
    ],
)
def test_a_damaged_file_is_rejected_in_one_line(tmp_path, old, new, why):
    path = tmp_path / "p.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ValueError, match="is damaged") as error:
        load(path)
    assert str(error.value).startswith(f"{path} is damaged: ")
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "none.toml"
    with pytest.raises(ValueError, match=f"^cannot read {re.escape(str(path))}: No such file"):
        load(path)
