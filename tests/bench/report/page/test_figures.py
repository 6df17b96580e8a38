import csv
import io
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from vidcost.bench.report.page.figures import FIGURES, shown, write_figures
from vidcost.bench.report.page.page import plots_of


@pytest.fixture(scope="module")
def plots(every_section):
    return {plot.name: plot for plot in plots_of(every_section)}


def test_the_committed_figures_have_today_s_data(plots, results):
    """`vidcost report` writes them; a stale one fails here, not in a paper."""
    folder = results / FIGURES
    fresh = {f"{name}.csv": plot.data.csv() for name, plot in plots.items()}
    assert fresh == {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.csv"))}
    stems = {stem for plot in plots.values() for stem, _ in shown(plot)}
    for suffix in ("svg", "png"):
        assert stems == {path.stem for path in folder.glob(f"*.{suffix}")}


def test_a_changed_number_is_seen(plots):
    plot = plots["ledger"]
    lines = [dict(line) for line in plot.data.lines]
    lines[0]["amount"] += 1
    assert replace(plot.data, lines=lines).csv() != plot.data.csv()


def test_a_choice_without_data_is_no_file(plots):
    stems = dict(shown(plots["accuracy"]))
    assert {"accuracy", "accuracy-params", "accuracy-flops_printed", "accuracy-table-6"} <= set(
        stems
    )
    assert not [stem for stem in stems if "energy" in stem]
    assert {"set": "table-6", "axis": "macs"} == stems["accuracy-table-6"]


def test_a_plot_is_written_with_its_data(plots, tmp_path):
    plot = plots["growth"]
    paths = write_figures([plot], tmp_path)
    assert ["growth.csv", "growth.svg", "growth.png", "growth-matmul.svg", "growth-matmul.png"] == [
        path.name for path in paths
    ]
    lines = list(csv.DictReader(io.StringIO(paths[0].read_text("utf-8"))))
    assert len(plot.data.lines) == len(lines)
    texts = {e.text for e in ET.parse(paths[1]).iter() if e.tag.endswith("text")}
    assert {"NL", "PNL, n = 4", "CGNL", "MFNet conv4: N = 1,568"} <= texts
    assert b"\x89PNG" == paths[2].read_bytes()[:4]


def test_the_same_data_give_the_same_bytes(plots):
    plot = plots["accuracy"]
    assert (plot.svg(), plot.png()) == (plot.svg(), plot.png())


def test_labels_of_a_file_are_all_placed(plots):
    texts = [
        e.text for e in ET.fromstring(plots["accuracy"].svg()).iter() if e.tag.endswith("text")
    ]
    labels = {
        line["label"]
        for line in plots["accuracy"].data.lines
        if line["set"] == "table-5" and line["axis"] == "macs"
    }
    assert labels <= set(texts)


def test_what_cannot_be_written_is_said(plots, tmp_path):
    (tmp_path / FIGURES).write_text("a file")
    with pytest.raises(ValueError, match=r"cannot write .*figures"):
        write_figures([plots["ledger"]], tmp_path)
