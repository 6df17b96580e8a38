"""What people see of blocks that were compared."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from vidcost.bench.inspection.comparison import Compared, Variant
from vidcost.bench.inspection.counted import Counted
from vidcost.bench.report.compare import (
    added_billions,
    added_megabytes,
    added_milliseconds,
    compare_table,
)
from vidcost.bench.report.compare_plot import growth_figure, write_growth
from vidcost.bench.timing.cell import Cell
from vidcost.models.cost import Cost

CELL = Cell(row="mfnet", blocks=())


def one(block, value=None, *, total=None, status="ok", **known) -> Compared:
    variant = Variant(block, value, CELL)
    counted = Counted(CELL, total=total or Cost(params=7, conv=3 * 10**9), closed_forms=1)
    return Compared(variant, counted, status=status, **known)


TIMED = one(
    "nl",
    added_params=5,
    added_macs=2 * 10**9,
    latency_s=0.0125,
    added_s=-0.00025,
    added_low_s=-0.0005,
    added_high_s=0.0001,
    pairs=30,
    not_separated=("none", "cgnl"),
    peak_bytes=12_340_000,
    added_peak_bytes=-1_200_000,
    energy_j_per_clip=1.25,
)
PLAIN = one(None, latency_s=0.01275, peak_bytes=13_540_000)


def rows(table):
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.markdown().splitlines()[2:]
    ]


@pytest.mark.parametrize(
    ("write", "value", "expected"),
    [
        (added_billions, 291_330_816, "+0.291G"),
        (added_billions, -1_500_000_000, "-1.500G"),
        (added_billions, 0, "+0"),
        (added_milliseconds, 0.00123, "+1.230"),
        (added_milliseconds, -0.00123, "-1.230"),
        (added_megabytes, -1_200_000, "-1.2"),
    ],
)
def test_what_is_added_has_its_sign(write, value, expected):
    assert expected == write(value)


def test_a_line_for_each_with_what_it_adds():
    table = compare_table([PLAIN, TIMED], [], where="mfnet at conv4:after-1", axis=None)
    assert "**Blocks in mfnet at conv4:after-1**" in table.markdown()
    header, _, none, nl = rows(table)[:4]
    found = dict(zip(header, nl, strict=False))
    assert ("nl", "+5", "12.50", "30", "none, cgnl", "1.250") == (
        found["Block"], nl[2], found["Latency, ms"], found["Pairs"],
        found["Not separated from"], found["J/clip"],
    )  # fmt: skip
    assert "none" == none[0]
    assert {"–"} == {none[header.index("Pairs")], none[2]}
    assert "intervals overlap" in table.markdown()
    assert "Status" not in header


def test_untimed_there_is_no_word_of_time():
    plain, nl = one(None), one("nl", added_params=5, added_macs=2)
    shown = compare_table([plain, nl], [], where="w", axis=None).markdown()
    assert "Latency" not in shown
    assert "Device" not in shown


def test_failures_are_footnotes_and_a_sweep_is_a_column():
    bad = one("mine.py:B", 8, status="raised", error="KeyError: 'x'")
    table = compare_table([one(None, 8), bad], [], where="w", axis="frames")
    header, _, none, mine = rows(table)[:4]
    assert ["Frames", "Block"] == header[:2]
    assert ("8", "8", "raised¹") == (none[0], mine[0], mine[-1])
    assert "¹ raised: KeyError: 'x'" in table.markdown()
    assert '"error":"KeyError: \'x\'"' in table.json().replace('" : "', '":"').replace(
        '": "', '":"'
    )


GROWTH = [
    one(None, 8),
    one("nl", 8, added_macs=10**9, added_s=0.01, added_low_s=0.009, added_high_s=0.011),
    one("cgd", 8, added_macs=0, added_s=-0.01),
    one("nl", 16, added_macs=4 * 10**9, added_s=0.04, added_low_s=-0.001, added_high_s=0.05),
]


def test_the_plot_has_a_panel_for_each_quantity_that_was_measured():
    figure = growth_figure(GROWTH, title="mfnet", axis="frames")
    macs, latency = figure.axes
    assert ["added MACs, G", "added latency, ms"] == [
        panel.get_title(loc="left") for panel in (macs, latency)
    ]
    (line,) = macs.lines
    assert ([8, 16], [1, 4]) == (list(line.get_xdata()), list(line.get_ydata()))
    # what is not above 0 cannot be drawn on a logarithmic axis, nor an interval that reaches there
    curve, whisker = latency.lines
    assert ([10, 40], [9, 11]) == (
        pytest.approx(list(curve.get_ydata())),
        pytest.approx(list(whisker.get_ydata())),
    )


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_plot_is_written_by_its_suffix(tmp_path, suffix):
    path = tmp_path / f"new/growth.{suffix}"
    write_growth(GROWTH, path, title="mfnet", axis="frames")
    if suffix == "png":
        assert path.read_bytes().startswith(b"\x89PNG")
    else:
        assert "What a block adds to mfnet" in "".join(ET.parse(path).getroot().itertext())


def test_a_plot_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write .*growth\.svg"):
        write_growth(GROWTH, tmp_path / "file/growth.svg", title="mfnet", axis="frames")
