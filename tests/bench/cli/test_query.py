"""`vidcost query` and `vidcost export` as people call them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vidcost.bench.query.views import VIEWS
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import Store

CHECKOUT = Path(__file__).resolve().parents[3]
SQL = "select row, macs from counts where row like 'mfnet-pnl-x%' order by row"


@pytest.fixture
def results(tmp_path, timed):
    """The committed results, and two timings."""
    folder = tmp_path / "results"
    folder.mkdir()
    for path in (CHECKOUT / "results").glob("*.jsonl"):
        shutil.copy(path, folder)
    for cell in (Cell(row="mfnet", threads=3), Cell(row="mfnet-nl", threads=3, share=True)):
        parts = {"with": (0.3,) * 7, "without": (0.1,) * 7} if cell.share else {}
        known = {"samples_s": parts} if parts else {}
        Store(folder / "timings/abacus.jsonl").append(timed(cell, **known))
    return folder


def test_an_answer_in_three_formats(vidcost, results):
    macs = 16_033_195_008
    expected = [(f"mfnet-pnl-x5{of}", macs) for of in ("", "-optimized", "-per-scale")]
    status, out, err = vidcost("query", SQL)
    assert (0, "") == (status, err)
    head, rule, *lines = out.rstrip().splitlines()
    assert ["row", "macs"] == [cell.strip() for cell in head.strip("|").split("|")]
    assert rule.endswith("-:|")
    assert [[r, f"{m:,}"] for r, m in expected] == [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines
    ]
    assert [dict(zip(("row", "macs"), line, strict=True)) for line in expected] == json.loads(
        vidcost("query", SQL, "--json").out
    )
    read = csv.reader(io.StringIO(vidcost("query", SQL, "--format", "csv").out))
    assert [["row", "macs"], *([r, str(m)] for r, m in expected)] == list(read)


def test_every_kind_of_value_is_written(vidcost, results):
    sql = """
        select [1, 2] as l, {'a': 1.5, 'b': date '2026-01-02'} as s, 1.10 as d, 2.0 as w,
            sum(macs) * 10000000000 as huge, true as t, null as z, 1 / 0 as inf,
            timestamp '2026-01-01 00:00:01' as ts, 'a|b' as p, '\\xAB'::blob as b, 1e300 as large,
            interval 3 day as i, 12345678.25 :: double as m
        from counts where row = 'mfnet-nl'
    """
    (line,) = json.loads(vidcost("query", sql, "--json").out)
    assert {
        "l": [1, 2], "s": {"a": 1.5, "b": "2026-01-02"}, "d": 1.1, "w": 2,
        "huge": 124_518_297_600_000_000_000, "t": True, "z": None, "inf": None,
        "ts": "2026-01-01T00:00:01", "p": "a|b", "b": "ab", "large": 1e300,
        "i": "3 days, 0:00:00", "m": 12345678.25,
    } == line  # fmt: skip
    (line,) = csv.DictReader(io.StringIO(vidcost("query", sql, "--format", "csv").out))
    assert ('{"a": 1.5, "b": "2026-01-02"}', "true", "", "inf", "12345678.25") == tuple(
        line[name] for name in ("s", "t", "z", "inf", "m")
    )
    cells = vidcost("query", sql).out.splitlines()[2]
    for cell in ("[1, 2]", "124,518,297,600,000,000,000", "a\\|b", " 1e+300 ", " 12,345,678 "):
        assert cell in cells


def test_sql_from_standard_input(vidcost, results, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("select 7 as a\n  -- a comment\n"))
    assert [{"a": 7}] == json.loads(vidcost("query", "-", "--json").out)


def test_the_views_are_listed_with_their_units(vidcost):
    lines = json.loads(vidcost("query", "--views", "--json").out)
    assert [(v.name, c.name, c.type, c.meaning) for v in VIEWS for c in v.columns] == [
        tuple(line.values()) for line in lines
    ]
    out = vidcost("query", "--views").out
    assert all(f"{view.name}: a line is " in out for view in VIEWS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to ask"),
        (["select 1", "--views"], "--views takes no SQL"),
        (["selec 1"], 'Parser Error: syntax error at or near "selec"'),
        (["select mac from counts"], 'Candidate bindings: "macs"'),
        (["from timing"], "The views are counts, timings, shares, samples, ledger, audit"),
        (["copy counts to 'out.csv'"], "give one SELECT, not COPY"),
        (["attach 'a.db'"], "give one SELECT, not ATTACH"),
        (["create table t (a int)"], "give one SELECT, not CREATE"),
        (["install httpfs"], "give one SELECT, not LOAD"),
        (["select * from read_text('/etc/passwd')"], "Permission Error"),
        (["select 1", "--results", "nowhere"], "no folder nowhere"),
        (["select 1", "--parquet", "nowhere"], "no nowhere/counts.parquet: `vidcost export"),
    ],
)
def test_what_cannot_be_asked_is_one_line(words, said, complaint, results):
    assert said in complaint("query", *words)


def test_a_damaged_file_is_one_line(complaint, results):
    path = results / "timings/abacus.jsonl"
    head, *records = path.read_text().splitlines(keepends=True)
    path.write_text("".join([head, "[]\n", *records]))
    assert "timings/abacus.jsonl, line 2 is damaged" in complaint("query", "from timings")


def test_a_line_cut_short_is_said_beside_the_answer(vidcost, results):
    with (results / "timings/abacus.jsonl").open("a") as file:
        file.write('{"key":"')
    status, out, err = vidcost("query", "select row from timings", "--json")
    assert (0, [{"row": "mfnet"}]) == (status, json.loads(out))
    assert err.endswith("abacus.jsonl is cut short and was left out\n")


def test_what_is_exported_gives_the_same_answers(vidcost, results):
    exported = json.loads(vidcost("export", "--parquet", "p/q", "--json").out)
    assert [view.name for view in VIEWS] == [line["view"] for line in exported]
    assert 14 + 8 == next(line["lines"] for line in exported if line["view"] == "samples")
    for view in VIEWS:
        sql = f"from {view.name} order by all"
        asked = vidcost("query", sql, "--json")
        assert json.loads(asked.out)
        assert asked == vidcost("query", sql, "--json", "--parquet", "p/q")
        described = f"describe {view.name}"
        assert vidcost("query", described) == vidcost("query", described, "--parquet", "p/q")
    shutil.rmtree(results)
    assert 0 == vidcost("query", SQL, "--parquet", "p/q").status
    assert sorted(f"{view.name}.parquet" for view in VIEWS) == sorted(
        path.name for path in Path("p/q").iterdir()
    )


def test_a_folder_that_cannot_be_written(complaint, results, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write file/counts.parquet" in complaint("export", "--parquet", "file")


def test_asking_does_not_wait_for_torch(results):
    program = (
        "import sys; sys.argv = ['vidcost', 'query', 'select 7 as a', '--json']\n"
        "from vidcost.bench import cli\n"
        "try: cli.main()\n"
        "finally: print([x for x in ('torch', 'pandas', 'sympy') if x in sys.modules])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=results.parent, capture_output=True, text=True
    )
    assert ran.stdout.endswith("]\n[]\n"), ran.stderr


def test_a_question_without_end_can_be_interrupted(results):
    program = (
        "import sys\n"
        "sys.argv = ['vidcost', 'query', 'select count(*) from range(100000000000), range(1000)']\n"
        "from vidcost.bench import cli\n"
        "from vidcost.bench.query.connection import Views\n"
        "ask = Views.ask\n"
        "def said(*asked): print('asked', file=sys.stderr, flush=True); return ask(*asked)\n"
        "Views.ask = said\n"
        "cli.main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=results.parent,
        # whoever runs the tests in the background ignores Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert "asked\n" == running.stderr.readline()
        running.send_signal(signal.SIGINT)
        try:
            out, err = running.communicate(timeout=60)
        finally:
            running.kill()
    assert (130, "", "") == (running.returncode, out, err)
