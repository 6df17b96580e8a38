"""The paper's figures: as printed, and the sizes that notes on them give."""

import re

from vidcost.bench.audit import Recipe, figures
from vidcost.bench.count.record import count_row
from vidcost.papers import catalog
from vidcost.papers.catalog import select
from vidcost.papers.figures import Figure

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


def test_every_row_is_as_the_paper_prints_it():
    found = {
        number: [
            (e.label, e.top1, e.top5, e.params and e.params.printed, e.flops and e.flops.printed)
            for e in catalog.paper().table(number)
        ]
        for number in catalog.paper().titles
    }
    assert PAPER == found


def only(name):
    (row,) = select([name])
    return row


def counted(name):
    return count_row(only(name))


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
        actual = value() if callable(value) else figures(Recipe(only(value))).flops["thop-2020"]
        if size[-1] in "MG":
            assert Figure.parse(size).equals(actual), (row, size, actual)
        else:
            assert int(size.replace(",", "")) == actual, (row, size)


def test_a_command_in_a_note_meets_the_printed_parameters():
    checked = []
    for printed in catalog.paper().figures:
        if found := re.search(r"`vidcost count (\S+) --classes (\d+)", printed.note.params):
            params = count_row(only(found[1]).at(classes=int(found[2]))).params
            assert printed.params.equals(params), printed.row
            checked.append(printed.row)
    assert ["r50-nl", "r50-cgd", "r50-cgnl", "r50-ucf101"] == checked
