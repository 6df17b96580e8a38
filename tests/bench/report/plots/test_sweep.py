import xml.etree.ElementTree as ET

import pytest

from vidcost.bench.report.plots.sweep import sweep_chart, write_sweep

MEASURED = ("added_macs", "added_s", "added_low_s", "added_high_s", "added_peak_bytes")


def one(block, frames, **known):
    return {"frames": frames, "block": block, **dict.fromkeys(MEASURED), **known}


COMPARED = [
    one("none", 8),
    one("nl", 8, added_macs=10**9, added_s=0.01, added_low_s=0.009, added_high_s=0.011),
    one("cgd", 8, added_macs=0, added_s=-0.01),
    one("nl", 16, added_macs=4 * 10**9, added_s=0.04, added_low_s=-0.001, added_high_s=0.05),
]


def test_a_panel_for_each_quantity_that_was_measured():
    chart = sweep_chart(COMPARED, title="mfnet", axis="frames")
    macs, latency = (panel.data.values for panel in chart.hconcat)
    assert [(8, 1), (16, 4)] == [(line["value"], line["amount"]) for line in macs]
    # neither an amount nor an interval that is not above 0 has a place on a logarithmic axis
    assert [10, 40] == [pytest.approx(line["amount"]) for line in latency]
    assert [pytest.approx(9), None] == [line.get("low") for line in latency]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_plot_is_written_by_its_suffix(tmp_path, suffix):
    path = tmp_path / f"new/growth.{suffix}"
    write_sweep(COMPARED, path, title="mfnet", axis="frames")
    if suffix == "png":
        assert path.read_bytes().startswith(b"\x89PNG")
    else:
        text = "".join(ET.parse(path).getroot().itertext())
        assert "What a block adds to mfnet" in text
        assert "added latency, ms" in text


def test_a_plot_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write .*growth\.svg"):
        write_sweep(COMPARED, tmp_path / "file/growth.svg", title="mfnet", axis="frames")
