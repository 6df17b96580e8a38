"""The command that judges every printed figure."""

from __future__ import annotations

import json

from vidcost.bench.audit.verdicts import FindingGone
from vidcost.bench.report.audit import document as audit_document
from vidcost.papers import catalog
from vidcost.papers.figures import Texts


def test_the_audit_writes_its_document_and_prints_it(vidcost, tmp_path):
    status, out, err = vidcost("audit", "--results", "r")
    assert (0, "") == (status, err)
    assert f"<!-- written by: vidcost audit -->\n\n{out}" == (tmp_path / "r/audit.md").read_text()
    assert out.startswith("# Audit\n")


def test_the_committed_audit_as_lines_is_fresh(vidcost, results, tmp_path):
    assert 0 == vidcost("audit").status
    fresh = (tmp_path / "results/audit.jsonl").read_text()
    assert fresh == (results / "audit.jsonl").read_text(), "stale: run `vidcost audit`"


def test_the_figures_alone_are_printed_and_nothing_is_written(vidcost, tmp_path):
    status, out, _ = vidcost("audit", "--format", "json")
    assert 0 == status
    (x5,) = (
        line
        for line in json.loads(out)
        if (line["row"], line["figure"]) == ("mfnet-pnl-x5", "FLOPs")
    )
    assert ("exact", 11_375_634_944) == (x5["verdict"], x5["ours"])
    assert not (tmp_path / "results/audit.md").exists()


def test_a_figure_that_is_not_met_and_has_no_note_fails_the_audit(vidcost, monkeypatch):
    paper = catalog.paper()
    figures = tuple(
        entry.model_copy(update={"note": Texts()}) if entry.row == "c3d" else entry
        for entry in paper.figures
    )
    without = paper.model_copy(update={"figures": figures})
    monkeypatch.setattr(catalog, "paper", lambda: without)
    status, out, err = vidcost("audit")
    assert (1, 1) == (status, err.count("\n"))
    assert err.startswith("vidcost: Table 5, c3d, params: 33.3M is not reproduced, and no note")
    assert out.startswith("# Audit")


def test_a_finding_that_is_gone_fails_the_audit_and_writes_nothing(vidcost, monkeypatch, tmp_path):
    def gone(*_):
        raise FindingGone("the audit finds no longer that 1 is 1")

    monkeypatch.setattr(audit_document, "findings", gone)
    status, out, err = vidcost("audit")
    assert (1, "") == (status, out)
    assert "vidcost: the audit finds no longer that 1 is 1\n" == err
    assert not (tmp_path / "results/audit.md").exists()


def test_a_search_prints_recipes_that_can_be_counted(vidcost):
    _, out, _ = vidcost("audit", "--search", "r50-ucf101", "--format", "json")
    best = json.loads(out)[0]
    assert ("2 of 2", 23_917_832) == (best["hits"], best["params"])
    _, out, _ = vidcost("audit", "--recipe", best["spec"], "--format", "json")
    (recipe,) = json.loads(out)
    assert (23_917_832, 10_290_606_080) == (recipe["params"], recipe["thop-2020"])
