"""Printed figures as numbers, and files of them, damaged ones too."""

from __future__ import annotations

import re
from pathlib import Path

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
        ("11.18G", 11_176_355_840, True),
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
    "printed",
    [
        *["", "7.843", "7,843M", "7.843 M", "7.843M\n", "-7.8M", "7.M", ".8M", "<7M", "7.8T"],
    ],
)
def test_what_is_no_figure(printed):
    with pytest.raises(ValueError, match=re.escape(f"{printed!r} is no figure like 7.843M")):
        Figure.parse(printed)


# files

GOOD = """
paper = "p"
[titles]
1 = "t"
[[figures]]
table = 1
label = "l"
row = "r"
top1 = "1%"
params = "7.8M"
[[claims]]
where = "w"
printed = "p"
says = "s"
rows = ["r"]
"""


def test_a_small_file_can_be_read(tmp_path: Path):
    path = tmp_path / "p.toml"
    path.write_text(GOOD)
    (row,) = load(path).table(1)
    assert ("7.8M", None, None) == (row.params.printed, row.flops, row.top5)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('paper = "p"', "paper = ", "Invalid value"),
        ('label = "l"', 'label = "l"\nlable = "l"', "figures.0.lable"),
        ('"7.8M"', '"7.8"', "figures.0.params: Value error, '7.8' is no figure"),
        ('"7.8M"', "7.8", "figures.0.params"),
        ('row = "r"\n', "", "figures.0.row: Field required"),
        ("table = 1", "table = 7", "table 7 has figures, and no title in [titles]"),
        ("table = 1", "table = [1]", "figures.0.table"),
        ('top1 = "1%"', 'note.flops = "n"', "figures.0: Value error, r has note.flops, and no"),
        ('top1 = "1%"', 'recipe.flops = "r"', "r has recipe.flops, and no printed flops"),
        ('rows = ["r"]', 'rows = "r"', "claims.0.rows"),
        ('says = "s"', 'says = "s"\nnote = "n"', "claims.0.note"),
        ('top1 = "1%"', 'top1 = "1%"\nnote.param = "n"', "figures.0.note.param"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, old, new, why):
    path = tmp_path / "p.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ValueError, match="is damaged") as error:
        load(path)
    message = str(error.value)
    assert message.startswith(f"{path} is damaged: ")
    assert why in message
    assert "\n" not in message


def test_a_file_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "none.toml"
    with pytest.raises(ValueError, match=f"^cannot read {re.escape(str(path))}: No such file"):
        load(path)
