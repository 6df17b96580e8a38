import json
import re
import shlex
from pathlib import Path

import pytest

from vidcost.bench.audit.recipes import Recipe, figures
from vidcost.bench.count.record import count_row
from vidcost.papers import catalog
from vidcost.papers.figures import Figure, load
from vidcost.papers.pnl2020.rows import ROWS

# --- figures


@pytest.mark.parametrize(
    ("printed", "value", "met"),
    [
        ("7.843M", 7_842_568, True),
        ("7.843M", 7_842_499, False),
        ("7.843M", 7_843_501, False),
        ("7.84M", 7_842_568, True),
        ("7.92M", 7_870_984, False),
        ("7.9M", 7_870_984, True),
        ("11.176G", 11_176_355_840, True),
        # cut off, not rounded
        ("11.17G", 11_176_355_840, False),
        ("11.18G", 11_176_355_840, True),
        ("25.0M", 24_962_576, True),
        ("25.0M", 25_050_001, False),
        ("8M", 7_842_568, True),
        # millions are not billions
        ("7.843G", 7_842_568, False),
    ],
)
def test_equal_to_the_printed_precision(printed, value, met):
    assert met == Figure.parse(printed).equals(value)


@pytest.mark.parametrize("printed", ["7.83M", "7.84M", "7.85M"])
@pytest.mark.parametrize("value", [7_835_000, 7_845_000])
def test_a_tie_may_have_been_rounded_either_way(printed, value):
    neighbours = {7_835_000: ("7.83M", "7.84M"), 7_845_000: ("7.84M", "7.85M")}
    assert (printed in neighbours[value]) == Figure.parse(printed).equals(value)


@pytest.mark.parametrize(
    ("value", "met"),
    [(107_900_000_001, True), (213_491_712_000, True), (107_900_000_000, False), (0, False)],
)
def test_a_bound_is_met_by_what_is_greater(value, met):
    assert met == Figure.parse(">107.9G").equals(value)


def test_a_figure_remembers_how_it_was_printed():
    assert ">107.9G" == Figure.parse(">107.9G").printed


@pytest.mark.parametrize(
    "printed",
    [
        *["", "7.843", "M", "7,843M", "7.843 M", " 7.843M", "7.843M\n", "-7.8M", "7.M", ".8M"],
        *["<7M", "7.8T", "7.8m", ">>7.8M", "1e3M", "n/a"],
    ],
)
def test_what_is_no_figure(printed):
    with pytest.raises(ValueError, match=re.escape(f"{printed!r} is no figure like 7.843M")):
        Figure.parse(printed)


# --- the transcription

# read from the tables of the paper a second time: label, top-1, top-5, parameters, FLOPs
PAPER = {
    1: [
        ("MFNet baseline", "78.35%", "94.65%", None, None),
        ("Embedded Gaussian", "82.16%", "95.83%", None, None),
        ("Gaussian", "81.68%", "95.51%", None, None),
        ("Dot Product", "81.45%", "95.54%", None, None),
        ("Concatenation", "81.79%", "95.36%", None, None),
    ],
    2: [
        ("MFNet baseline", "78.35%", "94.65%", None, None),
        ("conv2", "81.41%", "95.33%", None, None),
        ("conv3", "81.63%", "95.48%", None, None),
        ("conv4", "81.98%", "95.59%", None, None),
        ("conv5", "81.37%", "95.31%", None, None),
    ],
    3: [
        ("MFNet baseline", "78.35%", "94.65%", "7.843M", "11.176G"),
        ("Vanilla concatenation", "81.93%", "95.37%", "7.911M", "11.208G"),
        ("Self-attention mechanism", "82.16%", "95.83%", "7.92M", "11.218G"),
    ],
    4: [
        ("MFNet baseline", "78.35%", "94.65%", None, None),
        ("2", "81.98%", "95.59%", None, None),
        ("3", "82.14%", "95.74%", None, None),
        ("4", "82.16%", "95.83%", None, None),
    ],
    5: [
        ("MARS [44]", "73.5%", None, None, None),
        ("ResFrame TS [45]", "73.9%", None, None, None),
        ("I3D (TS) [46]", "78.7%", None, "25.0M", ">107.9G"),
        ("C3D [19]", "66.2%", None, "33.3M", None),
        ("I3D (RGB) [46]", "74.1%", None, "12.06M", "107.9G"),
        ("(2+C1)D [47]", "75.74%", None, "7.3M", "31.9G"),
        ("S3D [17]", "78.0%", None, "8.77M", "43.47G"),
        ("MFNet [38]", "78.35%", None, "7.84M", "11.17G"),
        ("Res50-NL [16]", "77.53%", None, "27.66M", "19.67G"),
        ("Res50-CGD [48]", "77.56%", None, "25.58M", "17.88G"),
        ("Res50-CGNL [26]", "77.76%", None, "27.2M", "19.16G"),
        ("MFNet-NL [26]", "79.74%", None, "8.15M", "11.66G"),
        ("MFNet-PNL(×1)", "82.16%", None, "7.92M", "11.22G"),
        ("MFNet-PNL(×5)", "83.09%", None, "8.12M", "11.38G"),
    ],
    6: [
        ("R-50", "81.62%", "94.62%", "23.92M", "10.29G"),
        ("R-50 + NL", "82.88%", "95.74%", "26.38M", "18.72G"),
        ("R-50 + CGNL", "83.38%", "95.42%", "26.22M", "18.23G"),
        ("R-50 + PNL(×1)", "85.22%", "95.82%", "24.46M", "13.31G"),
    ],
}


@pytest.mark.parametrize("number", PAPER)
def test_every_row_is_as_the_paper_prints_it(number):
    printed = [
        (
            row.label,
            row.top1,
            row.top5,
            row.params and row.params.printed,
            row.flops and row.flops.printed,
        )
        for row in catalog.paper().table(number)
    ]
    assert PAPER[number] == printed


def test_the_tables_hold_35_rows():
    counts = [len(catalog.paper().table(number)) for number in range(1, 7)]
    assert [5, 5, 3, 4, 14, 4] == counts
    assert 35 == len(catalog.paper().figures)


def test_table_5_is_grouped_as_printed():
    groups = [(row.group, row.label.split()[0]) for row in catalog.paper().table(5)]
    assert [
        ("Two-stream CNNs", "MARS"),
        ("Two-stream CNNs", "ResFrame"),
        ("Two-stream CNNs", "I3D"),
        ("3D CNNs", "C3D"),
        ("3D CNNs", "I3D"),
        ("3D CNNs", "(2+C1)D"),
        ("3D CNNs", "S3D"),
        ("3D CNNs", "MFNet"),
        ("CNN with long-range dependencies", "Res50-NL"),
        ("CNN with long-range dependencies", "Res50-CGD"),
        ("CNN with long-range dependencies", "Res50-CGNL"),
        ("CNN with long-range dependencies", "MFNet-NL"),
        ("Ours", "MFNet-PNL(×1)"),
        ("Ours", "MFNet-PNL(×5)"),
    ] == groups


def test_there_is_no_table_7():
    with pytest.raises(ValueError, match=r"^no table 7: the paper has Tables 1 to 6$"):
        catalog.paper().table(7)


@pytest.mark.parametrize("number", PAPER)
def test_printed_rows_and_rows_that_name_the_table_are_the_same(number):
    rows = [printed.row for printed in catalog.paper().table(number)]
    assert {row.name for row in ROWS if number in row.tables} == set(rows)
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize(
    ("where", "printed", "rows"),
    [
        ("Section 4.2.3", "0.09M", ("mfnet-pnl", "mfnet-pnl-concat")),
        ("Section 4.2.3", "less than 0.12%", ("mfnet-pnl", "mfnet-pnl-concat")),
        ("Section 4.3", "0.22M", ("mfnet-pnl", "mfnet-nl")),
        ("Section 4.3", "0.42G", ("mfnet-pnl", "mfnet-nl")),
        ("Section 4.3", "3.35%", ("mfnet-pnl-x5", "mfnet")),
        ("Section 4.3", "1.92M", ("r50-pnl-ucf101", "r50-nl-ucf101")),
        ("Section 4.3", "5.41G", ("r50-pnl-ucf101", "r50-nl-ucf101")),
        ("Section 3.3", "5/32 2C^3N + 17/32 CN^2", ("mfnet-pnl-n2",)),
        ("Abstract", "significant increase", ("mfnet-nl", "mfnet", "r50-nl-ucf101", "r50-ucf101")),
        ("Section 4.3", "limited increase", ("mfnet-pnl", "mfnet-pnl-x5", "mfnet")),
        ("Section 5", "significantly less computation cost", ("mfnet-pnl-x5", "mfnet-nl")),
        ("Equation 4", "2C^3N", ("mfnet-nl",)),
    ],
)
def test_claims_of_the_prose(where, printed, rows):
    assert (where, printed, rows) in {(c.where, c.printed, c.rows) for c in catalog.paper().claims}


def test_every_claim_is_about_rows_that_exist():
    names = {row.name for row in ROWS}
    assert set() == {row for claim in catalog.paper().claims for row in claim.rows} - names
    assert all(claim.rows and claim.says for claim in catalog.paper().claims)


# --- notes


def _thop_2020(row):
    return figures(Recipe(row)).flops["thop-2020"]


# every size in a note: the row it stands at, the size, and the counts it comes from
SIZES = [
    ("mfnet-pnl-concat", "19,200", lambda of: of("mfnet-pnl-concat").params - of("mfnet").params),
    ("mfnet-pnl-concat", "7.917M", lambda of: of("mfnet-pnl-concat-per-scale").params),
    ("mfnet-pnl-concat", "11.215G", "mfnet-pnl-concat"),
    ("mfnet-pnl", "28,416", lambda of: of("mfnet-pnl").params - of("mfnet").params),
    ("mfnet-pnl", "7.926M", lambda of: of("mfnet-pnl-per-scale").params),
    ("mfnet-pnl", "11.215G", "mfnet-pnl"),
    ("mfnet-pnl-x5", "99,840", lambda of: of("mfnet-pnl-x5").params - of("mfnet").params),
    ("mfnet-pnl-x5", "8.136M", lambda of: of("mfnet-pnl-x5-per-scale").params),
    ("mfnet-nl", "11.640G", "mfnet-nl"),
    ("mfnet", "11.176G", "mfnet"),
    # the weights are the linear MACs at batch 1, and there is a bias for each output
    ("c3d", "50.3M", lambda of: of("c3d").linear - 4096 * 200 + 2 * 4096),
    ("c3d", "33.3M", lambda of: of("r3d18").params),
    ("i3d-rgb", "12,287,264", lambda of: of("i3d-rgb").params - 1025 * 200),
    ("i3d-rgb", "111.152G", lambda of: of("i3d-rgb").conv),
    ("s3d", "7,910,048", lambda of: of("s3d").params - 1025 * 200),
]


def sizes_in_notes():
    found = set()
    for printed in catalog.paper().figures:
        for note in (printed.note.params, printed.note.flops):
            for size in re.findall(r"\d+(?:,\d{3})+|\d+(?:\.\d+)?[MG]\b", note):
                found.add((printed.row, size))
    return found


def test_every_size_in_a_note_is_checked_here():
    assert {(row, size) for row, size, _ in SIZES} == sizes_in_notes()


@pytest.mark.parametrize(("row", "size", "value"), SIZES, ids=lambda each: str(each)[:20])
def test_a_size_in_a_note_is_what_is_counted(row, size, value, by_name):
    if isinstance(value, str):
        actual = _thop_2020(by_name[value])
    else:
        actual = value(lambda name: count_row(by_name[name]))
    if size[-1] in "MG":
        assert Figure.parse(size).equals(actual), actual
    else:
        assert int(size.replace(",", "")) == actual


@pytest.mark.parametrize(
    ("expected", "with_block", "without"),
    [
        (2 * 384**2 + 2 * 384, "mfnet-nl", "mfnet"),
        (2 * 1024**2 + 2 * 1024, "r50-nl-ucf101", "r50-ucf101"),
    ],
)
def test_the_parameters_of_a_non_local_block_as_notes_give_them(
    expected, with_block, without, by_name
):
    assert expected == count_row(by_name[with_block]).params - count_row(by_name[without]).params


COMMANDS = [
    pytest.param(printed.params, shlex.split(command), id=printed.row)
    for printed in catalog.paper().figures
    for command in re.findall("`vidcost ([^`]*)`", printed.note.params)
]


def test_four_notes_on_parameters_name_a_command():
    assert ["r50-nl", "r50-cgd", "r50-cgnl", "r50-ucf101"] == [case.id for case in COMMANDS]


@pytest.mark.parametrize(("figure", "command"), COMMANDS)
def test_a_command_in_a_note_meets_the_printed_parameters(
    figure, command, vidcost, reference_counters
):
    status, out, _ = vidcost(*command, "--format", "json")
    assert 0 == status
    (line,) = json.loads(out)
    assert figure.equals(line["params"]), line["params"]


@pytest.mark.parametrize("name", ["r50-nl-ucf101", "r50-cgnl-ucf101", "r50-pnl-ucf101"])
def test_what_notes_call_not_reproduced_is_not_near(name, by_name):
    (printed,) = (each for each in catalog.paper().table(6) if each.row == name)
    for classes in (101, 200):
        for frames in (16, 32):
            counted = count_row(by_name[name].at(classes=classes, frames=frames))
            assert not printed.params.equals(counted.params)
            assert abs(counted.macs / printed.flops.value - 1) > 0.1


# --- damaged files

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
        ('"7.8M"', '["7.8M"]', "figures.0.params"),
        ('row = "r"\n', "", "figures.0.row: Field required"),
        ("table = 1", "table = 7", "figures.0.table"),
        ('1 = "t"', 'one = "t"', "titles.one"),
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


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "p.toml"
    path.write_bytes(GOOD.replace('"l"', '"é"').encode("latin-1"))
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is damaged: "):
        load(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "none.toml"
    with pytest.raises(ValueError, match=f"^cannot read {re.escape(str(path))}: No such file"):
        load(path)
