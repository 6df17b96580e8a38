"""The paper's figures: as printed, and the sizes that notes on them give."""

import re

import pytest

from vidcost.bench.audit import Recipe, figures
from vidcost.bench.count import record
from vidcost.papers import catalog
from vidcost.papers.catalog import every_row
from vidcost.papers.figures import Figure

# added up from the tables of the paper: rows, and sums of top-1, top-5, params in M, FLOPs in G
SUMS = {
    1: (5, 405.43, 476.89, 0, 0),
    2: (5, 404.74, 476.36, 0, 0),
    3: (3, 242.44, 285.85, 23.674, 33.602),
    4: (4, 324.63, 381.81, 0, 0),
    5: (14, 1076.33, 0, 198.9, 393.31),
    6: (4, 333.1, 381.6, 100.98, 60.55),
}


def test_the_columns_add_up_to_the_sums_of_the_printed_ones():
    for number, sums in SUMS.items():
        rows = catalog.paper().table(number)
        texts = [[each.top1 for each in rows], [each.top5 for each in rows]]
        columns = [[float(text.rstrip("%")) for text in column if text] for column in texts]
        for kind, unit in (("params", 1e6), ("flops", 1e9)):
            figures_ = (getattr(each, kind) for each in rows)
            columns.append([figure.value / unit for figure in figures_ if figure])
        assert pytest.approx(sums) == (len(rows), *map(sum, columns))


def counted(name):
    return record.counted(every_row()[name])[0]


MFNET = 7_842_568
# every size in a note: the row it stands at, the size, and the counts it comes from
SIZES = [
    ("mfnet-pnl-concat", "19,200", lambda: counted("mfnet-pnl-concat").params - MFNET),
    ("mfnet-pnl-concat", "7.917M", lambda: counted("mfnet-pnl-concat-per-scale").params),
    ("mfnet-pnl-concat", "11.215G", "mfnet-pnl-concat"),
    ("mfnet-pnl", "28,416", lambda: counted("mfnet-pnl").params - MFNET),
    ("mfnet-pnl", "7.926M", lambda: counted("mfnet-pnl-per-scale").params),
    ("mfnet-pnl", "11.215G", "mfnet-pnl"),
    ("mfnet-pnl-x5", "99,840", lambda: counted("mfnet-pnl-x5").params - MFNET),
    ("mfnet-pnl-x5", "8.136M", lambda: counted("mfnet-pnl-x5-per-scale").params),
    ("mfnet-nl", "11.640G", "mfnet-nl"),
    ("mfnet", "11.176G", "mfnet"),
    # the weights are the linear MACs at batch 1, and there is a bias for each output
    ("c3d", "50.3M", lambda: counted("c3d").linear - 4096 * 200 + 2 * 4096),
    ("c3d", "33.3M", lambda: counted("r3d18").params),
    ("i3d-rgb", "12,287,264", lambda: counted("i3d-rgb").params - 1025 * 200),
    ("i3d-rgb", "111.152G", lambda: counted("i3d-rgb").conv),
    ("s3d", "7,910,048", lambda: counted("s3d").params - 1025 * 200),
]


def test_every_size_in_a_note_is_what_is_counted():
    sizes = set()
    for printed in catalog.paper().figures:
        for size in re.findall(
            r"\d+(?:,\d{3})+|\d+(?:\.\d+)?[MG]\b",
            " ".join([printed.note.params, printed.note.flops]),
        ):
            sizes.add((printed.row, size))
    assert {(row, size) for row, size, _ in SIZES} == sizes
    for row, size, value in SIZES:
        actual = (
            value() if callable(value) else figures(Recipe(every_row()[value])).flops["thop-2020"]
        )
        if size[-1] in "MG":
            assert Figure.parse(size).equals(actual), (row, size, actual)
        else:
            assert int(size.replace(",", "")) == actual, (row, size)


def test_a_command_in_a_note_meets_the_printed_parameters():
    checked = []
    for printed in catalog.paper().figures:
        if found := re.search(r"`vidcost count (\S+) --classes (\d+)", printed.note.params):
            params = record.counted(every_row()[found[1]].at(classes=int(found[2])))[0].params
            assert printed.params.equals(params), printed.row
            checked.append(printed.row)
    assert ["r50-nl", "r50-cgd", "r50-cgnl", "r50-ucf101"] == checked
