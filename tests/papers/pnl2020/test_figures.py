"""The paper's figures: as printed, and the sizes that notes on them give."""

from __future__ import annotations

import re

import pytest

from vidcost.bench.audit import Recipe, figures
from vidcost.bench.count.record import count_row
from vidcost.papers import catalog
from vidcost.papers.catalog import select
from vidcost.papers.figures import Figure
from vidcost.papers.pnl2020.rows import ROWS

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
    assert 35 == len(catalog.paper().figures)
    assert (3, 5, 6) == catalog.paper().cost_tables


def test_every_figure_and_claim_is_about_rows_that_exist():
    assert {*catalog.printed_rows(catalog.paper())} <= {row.name for row in ROWS}
    assert all(claim.rows and claim.says for claim in catalog.paper().claims)


# --- notes


def only(name):
    (row,) = select([name])
    return row


def _thop_2020(name):
    return figures(Recipe(only(name))).flops["thop-2020"]


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
def test_a_size_in_a_note_is_what_is_counted(row, size, value):
    if isinstance(value, str):
        actual = _thop_2020(value)
    else:
        actual = value(lambda name: count_row(only(name)))
    if size[-1] in "MG":
        assert Figure.parse(size).equals(actual), actual
    else:
        assert int(size.replace(",", "")) == actual


COMMANDS = [
    pytest.param(printed.params, *found.groups(), id=printed.row)
    for printed in catalog.paper().figures
    if (found := re.search(r"`vidcost count (\S+) --classes (\d+)", printed.note.params))
]


def test_four_notes_on_parameters_name_a_command():
    assert ["r50-nl", "r50-cgd", "r50-cgnl", "r50-ucf101"] == [case.id for case in COMMANDS]


@pytest.mark.parametrize(("figure", "row", "classes"), COMMANDS)
def test_a_command_in_a_note_meets_the_printed_parameters(figure, row, classes):
    assert figure.equals(count_row(only(row).at(classes=int(classes))).params)


@pytest.mark.parametrize("name", ["r50-nl-ucf101", "r50-cgnl-ucf101", "r50-pnl-ucf101"])
def test_what_notes_call_not_reproduced_is_not_near(name):
    (printed,) = (each for each in catalog.paper().table(6) if each.row == name)
    for classes in (101, 200):
        for frames in (16, 32):
            counted = count_row(only(name).at(classes=classes, frames=frames))
            assert not printed.params.equals(counted.params)
            assert abs(counted.macs / printed.flops.value - 1) > 0.1
