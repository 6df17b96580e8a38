import csv
import io
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from vidcost.bench.report.page.data import gather
from vidcost.bench.report.page.page import sections, write_figures
from vidcost.bench.report.plots.accuracy import accuracy_plot
from vidcost.bench.report.plots.growth import growth_plot
from vidcost.bench.report.plots.reconciliation import reconciliation_plot


@pytest.fixture(scope="module")
def plots(data):
    found = (
        accuracy_plot(data.paper, data.records, data.devices),
        growth_plot(data.paper.growth),
        reconciliation_plot(data.entries),
    )
    return {plot.name: plot for plot in found}


def texts(svg):
    return [each.text for each in ET.fromstring(svg).iter() if each.tag.endswith("text")]


@pytest.mark.slow
def test_the_committed_figures_have_today_s_data(results):
    """A stale figure fails here, not in a paper: `vidcost report --figures results/figures`."""
    fresh = {p.name: p for section in sections(gather(results)) for p in section.plots}
    folder = results / "figures"
    committed = {path.stem: path.read_text("utf-8") for path in folder.glob("*.csv")}
    assert committed == {name: fresh[name].data.csv() for name in committed}
    # timings of this machine may be stored beside the committed ones
    assert all(name.startswith(("latency-", "roofline-")) for name in set(fresh) - set(committed))
    stems = {stem for name in committed for stem, _ in fresh[name].files()}
    assert stems == {path.stem for path in folder.glob("*.svg")}


def test_every_choice_that_is_filed_and_has_data_is_a_file(plots):
    plot = plots["accuracy"]
    stems = dict(plot.files())
    assert {"accuracy", "accuracy-params", "accuracy-flops_printed"} <= set(stems)
    assert "params" == stems["accuracy-params"]["axis"]
    without = replace(plot, lines=[line for line in plot.lines if line["axis"] != "params"])
    assert "accuracy-params" not in dict(without.files())
    svg = plot.svg()
    # the same every time
    assert svg == plot.svg()
    assert {"MFNet", "MFNet-NL", "MACs, billions (log scale)"} <= set(texts(svg))


def test_a_plot_is_written_with_its_data(plots, tmp_path):
    plot = plots["growth"]
    paths = write_figures([plot], tmp_path)
    assert ["growth.csv", "growth.svg", "growth-matmul.svg"] == [path.name for path in paths]
    lines = list(csv.DictReader(io.StringIO(paths[0].read_text("utf-8"))))
    assert len(plot.lines) == len(lines)
    found = texts(paths[1].read_text("utf-8"))
    assert {"nl", "pnl:n=4", "cgnl", "MACs", "the paper: N = 1,568"} <= set(found)
    assert "MACs of attention, products of two activations" in texts(paths[2].read_text("utf-8"))


def test_a_file_that_cannot_be_written_is_named(plots, tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(ValueError, match=r"cannot write .*reconciliation.csv"):
        write_figures([plots["reconciliation"]], tmp_path / "file")
