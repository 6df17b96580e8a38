import csv
import io
import xml.etree.ElementTree as ET

import pytest

from vidcost.bench.report.page import gather, sections
from vidcost.bench.report.plots import Plot, accuracy_lines, accuracy_plot, write_figures
from vidcost.bench.timing.store import stored_by_device
from vidcost.papers import catalog

TABLE_5 = "Table 5, Mini-Kinetics"
MACS = "macs"


@pytest.fixture(scope="module")
def lines(committed):
    return accuracy_lines(catalog.paper(), committed, {})


def of(lines, set_, axis):
    return {line["row"]: line for line in lines if (line["set"], line["axis"]) == (set_, axis)}


def front(lines, axis=MACS):
    return {row for row, line in of(lines, TABLE_5, axis).items() if line["front"] == "yes"}


def test_the_front_has_no_row_that_another_beats(lines, committed):
    # by hand, from Table 5: ResFrame TS costs least, MFNet, PNL and PNLx5 are each more accurate
    assert {"resframe-ts", "mfnet", "mfnet-pnl", "mfnet-pnl-x5"} == front(lines)
    cheap = committed["mfnet-pnl-x5"].model_copy(update={"conv": 1, "linear": 0, "matmul": 0})
    found = accuracy_lines(catalog.paper(), committed | {"mfnet-pnl-x5": cheap}, {})
    assert {"mfnet-pnl-x5"} == front(found)


def test_timed_costs_are_those_at_the_rows_own_clips(small, committed):
    found = accuracy_lines(catalog.paper(), committed, stored_by_device(small))
    latency = of(found, TABLE_5, "latency@Abacus")
    assert {"mfnet": pytest.approx(500), "mfnet-nl": pytest.approx(700)} == {
        row: line["cost"] for row, line in latency.items()
    }
    memory = of(found, TABLE_5, "memory@Abacus")["mfnet"]
    expected = (61.0, "timed on Abacus, batch 1, fp32, contiguous, eager, inference, 1 thread")
    assert expected == (memory["cost"], memory["source"])


def test_a_paper_without_datasets_has_a_set_for_each_table(committed):
    paper = catalog.paper().model_copy(update={"datasets": ()})
    sets, _ = accuracy_plot(paper, committed, {}).choices
    assert 6 == len(sets.options)
    assert "Table 5: Comparison with the state of the art, Mini-Kinetics" in sets.options


def test_a_paper_without_accuracies_has_no_plot(committed):
    bare = [row.model_copy(update={"top1": None}) for row in catalog.paper().figures]
    paper = catalog.paper().model_copy(update={"figures": tuple(bare)})
    assert accuracy_plot(paper, committed, {}) is None


def test_points_have_the_printed_accuracy_and_their_cost(lines):
    point = of(lines, TABLE_5, MACS)["mfnet-nl"]
    assert (79.74, 12.451829760, "counted") == (point["top1"], point["cost"], point["source"])
    assert ("MFNet-NL", "MFNet") == (point["label"], point["family"])
    point = of(lines, "Table 6, UCF101", "flops_printed")["r50-ucf101"]
    assert (10.29, "printed in Table 6") == (point["cost"], point["source"])
    # the paper prints >107.9G for the two-stream I3D: a bound is no cost
    assert "i3d-ts" not in of(lines, TABLE_5, "flops_printed")
    # several tables of one dataset are one set
    of_dataset = of(lines, "Tables 1 to 5, Mini-Kinetics", MACS)
    assert {"mfnet-pnl-gaussian", "mfnet-nl"} <= of_dataset.keys()
    assert "r50-ucf101" not in of_dataset


def texts(svg):
    return [each.text for each in ET.fromstring(svg).iter() if each.tag.endswith("text")]


@pytest.mark.slow
def test_the_committed_figures_have_today_s_data(results):
    """A stale figure fails here, not in a paper: `vidcost report --figures results/figures`."""
    fresh = {
        p.name: p.csv for s in sections(gather(results)) for p in s.parts if isinstance(p, Plot)
    }
    folder = results / "figures"
    committed = {path.stem: path.read_text("utf-8") for path in folder.glob("*.csv")}
    # the atlas writes its own
    assert committed.pop("atlas")
    assert committed == {name: fresh[name] for name in committed}
    assert committed.keys() | {"atlas"} == {path.stem for path in folder.glob("*.svg")}


def test_a_plot_is_written_with_its_data(committed, tmp_path):
    plot = accuracy_plot(catalog.paper(), committed, {})
    paths = write_figures([plot], tmp_path / "new")
    assert ["accuracy.csv", "accuracy.svg"] == [path.name for path in paths]
    data, svg = (path.read_text("utf-8") for path in paths)
    assert len(plot.lines) == len(list(csv.DictReader(io.StringIO(data))))
    assert {"MFNet", "MFNet-NL", "MACs, billions (log scale)"} <= set(texts(svg))
    # the same every time
    assert svg == plot.svg()
    (tmp_path / "file").write_text("a file")
    with pytest.raises(ValueError, match=r"cannot write .*accuracy.csv"):
        write_figures([plot], tmp_path / "file")
