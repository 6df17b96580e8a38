"""Commands on a paper: run, tables, audit; and what is committed of them."""

import json
import re
import shutil

import pytest

from vidcost.bench.count import record
from vidcost.papers import catalog
from vidcost.papers.figures import Texts
from vidcost.papers.pnl2020.rows import ROWS

BUILDABLE = [row.name for row in ROWS if row.build]
LEFT_OUT = "2plus-c1-d left out: published only: no public definition of the network was found\n"
REFERENCE_COUNTERS = ("fvcore", "thop", "thop-2020", "torch")


def test_run_writes_records_and_tables_and_prints_three(vidcost, reference_counters, tmp_path):
    status, out, err = vidcost("run", "--results", "here")
    assert 0 == status
    assert err.startswith(LEFT_OUT)
    names = sorted(path.name for path in (tmp_path / "here").rglob("*") if path.is_file())
    assert ["counts.jsonl", *(f"table{number}.md" for number in range(1, 7))] == names
    assert ["Table 3", "Table 5", "Table 6"] == re.findall(r"^\*\*(Table \d)", out, re.MULTILINE)
    for number in (3, 5, 6):
        written = (tmp_path / f"here/tables/pnl2020/table{number}.md").read_text()
        assert written.startswith(f"<!-- written by: vidcost tables pnl2020 {number} -->\n\n")
        assert "| fvcore" in " ".join(written.replace("|", "| ").split())
    assert out.splitlines()[-1].startswith(f"{len(BUILDABLE)} rows built and counted; ")
    assert out.splitlines()[-1].endswith("Written: here/counts.jsonl, here/tables/pnl2020/*.md")
    records = record.read(tmp_path / "here")
    assert BUILDABLE == list(records)
    assert 7_842_568 == records["mfnet"].params
    assert 11_176_356_608 == records["mfnet"].reference_counters["thop-2020"].flops
    assert {REFERENCE_COUNTERS} == {tuple(r.reference_counters) for r in records.values()}
    assert sorted((w, row, True) for w in REFERENCE_COUNTERS for row in BUILDABLE) == (
        sorted(reference_counters.asked)
    )


def test_run_with_a_reference_counter_that_fails_writes_the_rest(
    vidcost, reference_counters, tmp_path
):
    reference_counters["thop", "mfnet"] = "exit status 1: boom"
    status, _, err = vidcost("run")
    assert 1 == status
    assert err.endswith("vidcost: mfnet: thop crashed: exit status 1: boom\n")
    table = (tmp_path / "results/tables/pnl2020/table3.md").read_text()
    assert "thop crashed: exit status 1: boom" in table
    records = record.read(tmp_path / "results")
    assert (None, 11_176_355_840) == tuple(
        records["mfnet"].reference_counters[name].flops for name in ("thop", "fvcore")
    )
    assert 11_347_659_136 == records["mfnet-pnl"].reference_counters["thop"].flops
    assert 6 == len(list((tmp_path / "results/tables/pnl2020").glob("*.md")))


def test_run_leaves_a_baseline_that_differs_as_it_is(vidcost, reference_counters, tmp_path):
    vidcost("run")
    records = record.read(tmp_path / "results")
    changed = records | {"mfnet": records["mfnet"].model_copy(update={"params": 7})}
    path = record.write(tmp_path / "results", changed.values(), command="vidcost run")
    before = path.read_bytes()
    status, out, err = vidcost("run")
    assert (1, before) == (status, path.read_bytes())
    assert "the counts differ from results/counts.jsonl, which was left as it is" in err
    assert out.splitlines()[-1].endswith("Written: results/tables/pnl2020/*.md")


def test_tables_count_anew_and_ask_only_what_the_count_does_not_explain(
    vidcost, reference_counters, tmp_path
):
    vidcost("run")
    records = record.read(tmp_path / "results")
    # as if stored before a block of this row was edited
    edited = records["mfnet-pnl-n3"]
    answers = edited.reference_counters
    stale = answers["thop"].model_copy(update={"flops": 7, "parts": {"conv": 7}})
    records["mfnet-pnl-n3"] = edited.model_copy(
        update={"conv": 7, "reference_counters": answers | {"thop": stale}}
    )
    # only our own count is of an earlier network
    records["mfnet-pnl-n2"] = records["mfnet-pnl-n2"].model_copy(update={"conv": 7})
    del records["mfnet-pnl"]
    path = record.write(tmp_path / "results", records.values(), command="vidcost run")
    before = path.read_bytes()
    reference_counters.asked.clear()
    lines = {line["row"]: line for line in json.loads(vidcost("tables", "4", "--json").out)}
    for name in ("mfnet-pnl-n2", "mfnet-pnl-n3"):
        assert lines[name]["macs"] == record.counted(catalog.every_row()[name])[0].macs
    assert lines["mfnet-pnl-n3"]["thop"] == answers["thop"].flops
    asked = {row for _, row, _ in reference_counters.asked}
    assert {"mfnet-pnl-n3", "mfnet-pnl"} == asked
    # only run writes the baseline
    assert before == path.read_bytes()


@pytest.mark.slow
def test_the_committed_records_are_what_is_counted_now(committed):
    assert BUILDABLE == list(committed), (
        "stale: `vidcost gate accept` writes results/counts.jsonl anew"
    )
    now = {row.name: record.counted(row)[0] for row in ROWS if row.build}
    stale = [
        name
        for name, kept in committed.items()
        if kept.model_copy(update={"reference_counters": {}}) != now[name]
    ]
    assert [] == stale, "stale: `vidcost gate accept` writes results/counts.jsonl anew"


def test_the_committed_records_hold_an_answer_of_every_reference_counter(committed):
    assert {REFERENCE_COUNTERS} == {tuple(kept.reference_counters) for kept in committed.values()}
    assert [] == [
        (name, reference_counter)
        for name, kept in committed.items()
        for reference_counter, answer in kept.reference_counters.items()
        if answer.error or not answer.flops or not answer.parts
    ]


def test_the_committed_tables_are_what_the_committed_records_give(
    results, vidcost, reference_counters, tmp_path
):
    (tmp_path / "results").mkdir()
    shutil.copy(results / "counts.jsonl", tmp_path / "results")
    if (results / "timings").is_dir():
        shutil.copytree(results / "timings", tmp_path / "results/timings")
    assert (0, "") == vidcost("tables")[::2]
    assert [] == reference_counters.asked
    written = {
        path.name: path.read_text() for path in (tmp_path / "results/tables/pnl2020").iterdir()
    }
    committed = {path.name: path.read_text() for path in (results / "tables/pnl2020").glob("*.md")}
    stale = [name for name in written | committed if written.get(name) != committed.get(name)]
    assert [] == stale, "stale: `vidcost tables` writes them anew"


@pytest.mark.parametrize("name", ["audits/pnl2020.md", "audits/pnl2020.jsonl"])
def test_the_audit_writes_its_files_and_prints_the_figures(name, vidcost, results, tmp_path):
    status, out, err = vidcost("audit", "--results", "r", "--format", "json")
    assert (0, "") == (status, err)
    figures = {(line["row"], line["figure"]): line for line in json.loads(out)}
    x5 = figures["mfnet-pnl-x5", "FLOPs"]
    assert ("exact", 11_375_634_944) == (x5["verdict"], x5["ours"])
    written = (tmp_path / "r" / name).read_text()
    assert written == (results / name).read_text(), "stale: run `vidcost audit`"


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
    assert "not reproduced" in out
