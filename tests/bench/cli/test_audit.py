"""The command that judges every printed figure."""

import json

from vidcost.papers import catalog
from vidcost.papers.figures import Texts


def test_the_audit_writes_its_files_and_prints_the_document(vidcost, results, tmp_path):
    status, out, err = vidcost("audit", "--results", "r")
    assert (0, "") == (status, err)
    head = "<!-- written by: vidcost audit pnl2020 -->\n\n"
    assert f"{head}{out}" == (tmp_path / "r/audits/pnl2020.md").read_text()
    assert f"{head}{out}" == (results / "audits/pnl2020.md").read_text(), (
        "stale: run `vidcost audit`"
    )
    fresh = (tmp_path / "r/audits/pnl2020.jsonl").read_text()
    assert fresh == (results / "audits/pnl2020.jsonl").read_text(), "stale: run `vidcost audit`"


def test_the_figures_alone_are_printed_and_nothing_is_written(vidcost, tmp_path):
    status, out, _ = vidcost("audit", "--format", "json", "--results", "r")
    figures = {(line["row"], line["figure"]): line for line in json.loads(out)}
    x5 = figures["mfnet-pnl-x5", "FLOPs"]
    assert (0, "exact", 11_375_634_944) == (status, x5["verdict"], x5["ours"])
    assert not (tmp_path / "r/audits").exists()


def test_a_figure_that_is_not_met_and_has_no_note_fails_the_audit(vidcost, monkeypatch):
    paper = catalog.paper()
    figures = tuple(
        entry.model_copy(update={"note": Texts()}) if entry.row == "c3d" else entry
        for entry in paper.figures
    )
    without = paper.model_copy(update={"figures": figures})
    monkeypatch.setattr(catalog, "paper", lambda _="": without)
    status, out, err = vidcost("audit")
    assert (1, 1) == (status, err.count("\n"))
    assert err.startswith("vidcost: Table 5, c3d, params: 33.3M is not reproduced, and no note")
    assert out.startswith("# Audit")
