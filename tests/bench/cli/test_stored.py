"""Commands on what is stored: the page of everything."""

import json

import pytest

from vidcost.bench.count import record


@pytest.fixture
def folder(committed, tmp_path):
    folder = tmp_path / "results"
    record.write(folder, [committed["mfnet"]], command="vidcost run")
    return folder


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_figures_are_written_on_request(vidcost, folder, tmp_path):
    status, out, _ = vidcost("report", "--figures", "plots", "--json")
    assert 0 == status
    written = [line["written"] for line in json.loads(out)]
    assert "results/report.html" == written[0]
    assert {"plots/accuracy.svg", "plots/accuracy.csv"} <= set(written) <= files(tmp_path)


def test_a_report_that_fails_leaves_nothing(complaint, tmp_path):
    (tmp_path / "counts.jsonl").write_text("[]\n")
    words = "report --results . --figures plots --out page/report.html"
    assert complaint(*words.split()).startswith("counts.jsonl, line 1 is damaged: ")
    assert ["counts.jsonl"] == [path.name for path in tmp_path.iterdir()]
