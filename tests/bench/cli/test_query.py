"""`vidcost query`: the tables, the three formats, Parquet, and what is rejected."""

import csv
import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import duckdb
import pytest

from vidcost.bench import query
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.figures import figures, pair_figures
from vidcost.bench.timing.store import Store

CHECKOUT = Path(__file__).resolve().parents[3]
SQL = "select row, macs from counts where row like 'mfnet-pnl-x5-%' order by row"
PAGE = (CHECKOUT / "results/gpu.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```console\n\$ vidcost (query .*)\n```\n\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
ROWS = [("mfnet-pnl-x5-optimized", 16_033_195_008), ("mfnet-pnl-x5-per-scale", 16_033_195_008)]


@pytest.fixture
def timings(timed):
    pair = Cell(row="mfnet-nl", threads=3, against=Cell(row="mfnet-nl", threads=3, blocks=()))
    parts = {"samples_s": {"target": (0.3,) * 7, "reference": (0.1,) * 7}}
    return timed(Cell(row="mfnet", threads=3)), timed(pair, **parts, reference_macs_total=7)


@pytest.fixture
def results(tmp_path, timings):
    """The committed results, and two timings."""
    folder = tmp_path / "results"
    folder.mkdir()
    for path in (CHECKOUT / "results").glob("*.jsonl"):
        shutil.copy(path, folder)
    shutil.copytree(CHECKOUT / "results/audits", folder / "audits")
    for timing in timings:
        Store(folder / "timings/abacus.jsonl").append(timing)
    return folder


def test_figures_are_those_of_the_tables(vidcost, results, timings):
    for sql, (expected, names) in {
        "from timings": (figures(timings[0]), ("median_s", "ci_low_s", "macs_total")),
        "from contributions": (
            pair_figures(timings[1]),
            ("target_s", "median_s", "added_share", "added_macs"),
        ),
    }.items():
        (line,) = json.loads(vidcost("query", sql, "--json").out)
        assert {name: expected[name] for name in names} == {name: line[name] for name in names}
    sql = "select quantile_cont(s, 0.5) as m from (select unnest(samples_s) as s from timings)"
    assert [{"m": pytest.approx(0.1)}] == json.loads(vidcost("query", sql, "--json").out)


def test_the_reconciliation_and_the_audit_are_the_committed_lines(results):
    for name, file in (("reconciliation", "reconciliation"), ("audit", "audits/pnl2020")):
        lines = (results / f"{file}.jsonl").read_text().splitlines()
        _, (found,) = query.query(f"select count(*), count(row) from {name}", results)
        assert (len(lines) - 1,) * 2 == found


def test_integers_stay_integers_beside_gaps_and_decimals_become_numbers(results):
    sql = "select fvcore_flops, 1.10 as d, true as t, null as n, 2.0 as w, sum(macs) over () as s"
    _, rows = query.query(f"{sql} from counts order by fvcore_flops nulls last limit 1", results)
    flops, decimal, true, null, whole, total = rows[0]
    assert [int, float, bool, int, int] == [type(v) for v in (flops, decimal, true, whole, total)]
    assert (1.1, None, 2) == (decimal, null, whole)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["selec 1"], 'Parser Error: syntax error at or near "selec"'),
        (["select mac from counts"], 'Candidate bindings: "macs"'),
        (["from timing"], "The tables with records are of counts, timings, contributions, "),
        (["copy counts to 'out.csv'"], "give one SELECT, not COPY"),
        (["select 1; select 2"], "give one SELECT, not SELECT and SELECT"),
        (["select * from read_text('/etc/passwd')"], "Permission Error"),
        (["from read_text('/etc/passwd')", "--parquet", "p"], "Permission Error"),
        (["from results"], "Table with name results does not exist"),
        (["select 1 as a, 2 as a"], "two columns are named a: rename one with AS"),
        (["select 1", "--results", "nowhere"], "no folder nowhere"),
        (["select 1", "--parquet", "results/counts.jsonl/p"], "cannot write"),
    ],
)
def test_a_query_that_cannot_be_run_is_rejected_in_one_line(words, said, complaint, results):
    assert said in complaint("query", *words)


def test_a_line_cut_short_is_reported_beside_the_answer(vidcost, results):
    with (results / "timings/abacus.jsonl").open("a") as file:
        file.write('{"key":"')
    status, out, err = vidcost("query", "select row from timings", "--json")
    assert (0, [{"row": "mfnet"}]) == (status, json.loads(out))
    assert "results/timings/abacus.jsonl, line 4 is cut short" in err


def test_an_answer_in_three_formats_and_as_parquet(vidcost, results, monkeypatch):
    status, out, err = vidcost("query", SQL)
    assert (0, "") == (status, err)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.split("\n")]
    shown = [["row", "macs"], *([row, f"{macs:,}"] for row, macs in ROWS)]
    assert shown == [lines[0], *lines[2:4]]
    found = json.loads(vidcost("query", SQL, "--json").out)
    assert ROWS == [tuple(line.values()) for line in found]
    read = csv.reader(io.StringIO(vidcost("query", SQL, "--format", "csv").out))
    assert [["row", "macs"], *([row, str(macs)] for row, macs in ROWS)] == list(read)
    monkeypatch.setattr(sys, "stdin", io.StringIO("select 7 as a;\n  -- a comment\n"))
    assert [{"a": 7}] == json.loads(vidcost("query", "-", "--json").out)
    assert 0 == vidcost("query", SQL, "--parquet", "it's.parquet").status
    assert ROWS == duckdb.sql("from read_parquet('it''s.parquet')").fetchall()


@pytest.mark.parametrize(
    "name", ["timings/abacus.jsonl", "audits/pnl2020.jsonl", "reconciliation.jsonl"]
)
def test_a_damaged_file_or_an_empty_folder_is_rejected(name, complaint, results, tmp_path):
    head, *records = (results / name).read_text().splitlines(keepends=True)
    (results / name).write_text("".join([head, "[]\n", *records]))
    assert re.search(f"{name}.* is damaged", complaint("query", "from counts"))
    (tmp_path / "empty").mkdir()
    said = complaint("query", "select 1", "--results", "empty")
    assert said.startswith("no records in empty: `vidcost run`, `vidcost time`")


def test_every_question_of_the_documentation_is_followed_by_its_answer():
    assert PAGE.count("$ vidcost query") == len(SHOWN) > 5


@pytest.mark.parametrize(("command", "table"), SHOWN, ids=range(len(SHOWN)))
def test_answers_in_the_documentation_are_what_the_questions_give(command, table, vidcost):
    shutil.copytree(CHECKOUT / "results", "results")
    ran = vidcost(*shlex.split(command))
    assert (0, "") == (ran.status, ran.err)
    assert ran.out.strip() == table.strip()
