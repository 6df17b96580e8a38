"""What can be asked, and that nothing else can be done."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from vidcost.bench.count import record
from vidcost.bench.query import tables
from vidcost.bench.query.connection import over_parquet, over_results
from vidcost.bench.query.views import VIEWS

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_of_nothing_has_all_its_columns(view, folder):
    with over_results(folder, sql=f"from {view.name}") as views:
        described = views.ask(f"describe {view.name}").lines
        answer = views.ask(f"from {view.name}")
    assert [(c.name, c.type) for c in view.columns] == [line[:2] for line in described]
    assert ([], tuple(c.name for c in view.columns)) == (answer.lines, answer.columns)


def test_the_committed_counts_are_the_view(committed):
    with over_results(CHECKOUT / "results", sql="from counts") as views:
        answer = views.ask("from counts")
    lines = [dict(zip(answer.columns, line, strict=True)) for line in answer.lines]
    assert list(committed) == [line["row"] for line in lines]
    for line, known in zip(lines, committed.values(), strict=True):
        fields = known.model_dump(exclude={"inputs", "reference_counters"})
        assert fields | {"macs": known.macs} == {f: line[f] for f in (*fields, "macs")}
        clips = " + ".join("x".join(map(str, clip)) for clip in known.inputs)
        assert clips == line["inputs"]
        for name, answer_ in known.reference_counters.items():
            prefix = name.replace("-", "_")
            assert answer_.flops == line[f"{prefix}_flops"]
            if f"{prefix}_params" in line:
                assert answer_.params == line[f"{prefix}_params"]
    assert record.COUNTS == tables.FILES[0].name


def test_the_committed_ledger_adds_up():
    sql = """
        select row, counter, quantity,
            sum(amount) filter (kind in ('ours', 'term')) as explained,
            any_value(amount) filter (kind = 'printed') as printed,
            any_value(amount) filter (kind = 'remainder') as remainder
        from ledger group by all
    """
    with over_results(CHECKOUT / "results", sql=sql) as views:
        lines = views.ask(sql).lines
    # seven accounts of each row that can be built
    assert 43 * 7 == len(lines)
    assert all(
        explained == printed and not remainder for *_, explained, printed, remainder in lines
    )


def test_the_committed_audit_has_every_verdict():
    sql = "select verdict, count(*), count(note) from audit group by 1 order by 2 desc"
    with over_results(CHECKOUT / "results", sql=sql) as views:
        found = {verdict: (figures, notes) for verdict, figures, notes in views.ask(sql).lines}
    assert 37 == sum(figures for figures, _ in found.values())
    # what is met has no note, anything else has one
    assert all(notes == (0 if v == "exact" else n) for v, (n, notes) in found.items())


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("copy counts to '{folder}/out.csv'", "not COPY"),
        ("copy (select 1) to '{folder}/secret.parquet'", "not COPY"),
        ("attach '{folder}/new.db'", "not ATTACH"),
        ("create table t (a int)", "not CREATE"),
        ("create or replace view counts as select 1", "not CREATE"),
        ("insert into counts values (1)", "not INSERT"),
        ("delete from stored.counts", "not DELETE"),
        ("drop view counts", "not DROP"),
        ("install httpfs", "not LOAD"),
        ("load httpfs", "not LOAD"),
        ("set enable_external_access=true", "not SET"),
        ("pragma threads=1", "not SET"),
        ("export database '{folder}/all'", "not EXPORT"),
        ("explain analyze copy counts to '{folder}/out.csv'", "not EXPLAIN"),
        ("select 1; copy counts to '{folder}/out.csv'", "not SELECT and COPY"),
        ("", "not nothing"),
        ("-- nothing", "not nothing"),
        ("select * from read_text('{folder}/secret')", "Permission Error"),
        ("select * from read_csv('{folder}/secret')", "Permission Error"),
        ("select * from read_parquet('{folder}/secret.parquet')", "Permission Error"),
        ("select * from glob('{folder}/*')", "Permission Error"),
        ("select * from '{folder}/secret.csv'", "Permission Error"),
        ("select * from query('copy counts to ''{folder}/out.csv''')", "Error"),
    ],
)
def test_nothing_but_the_views_can_be_reached(sql, said, folder, tmp_path):
    for name in ("secret", "secret.csv", "secret.parquet"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    before = sorted(tmp_path.rglob("*"))
    sql = sql.format(folder=tmp_path)
    with (
        over_results(folder, sql=sql) as views,
        pytest.raises(ValueError, match=re.escape(said)),
    ):
        views.ask(sql)
    assert before == sorted(tmp_path.rglob("*"))


def test_nothing_is_written_beside_a_copy_that_may_be_read(kinds, stored, folder, monkeypatch):
    from vidcost.bench.query import copies

    monkeypatch.setattr(copies, "SMALL_BYTES", 0)
    stored(*kinds)
    with over_results(folder, sql="from timings") as views:
        (copy,) = copies.folder().glob("*.parquet")
        before = copy.read_bytes()
        # even if the statement were let through
        with pytest.raises(Exception, match="Permission Error"):
            views._con.execute(f"copy (select 1 as a) to '{copy}'")
        with pytest.raises(Exception, match="locked"):
            views._con.execute("set enable_external_access=true")
    assert before == copy.read_bytes()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("selec 1", 'Parser Error: syntax error at or near "selec"'),
        ("select mac from counts", r'Binder Error: .*"mac".*\n.*"macs"'),
        ("select * from timing", "timing does not exist! The views are counts, timings, shares"),
        ("select cast('a' as bigint)", "Conversion Error"),
        ("select $1", "Values were not provided"),
    ],
)
def test_sql_that_is_wrong_is_explained(sql, said, folder):
    with over_results(folder, sql=sql) as views, pytest.raises(ValueError, match=said):
        views.ask(sql)


def test_a_name_is_a_view_and_no_variable_of_ours(folder):
    paths = {"a": 1}
    assert paths
    with over_results(folder, sql="from paths") as views, pytest.raises(ValueError, match="views"):
        views.ask("from paths")


def test_timings_are_not_read_for_a_question_about_counts(kinds, stored, ask):
    path = stored(kinds[0])
    with path.open("a") as file:
        file.write("damaged\n[]\n")
    assert [{"n": 0}] == ask("select count(*) as n from counts")
    with pytest.raises(ValueError, match="line 3 is damaged"):
        ask("select count(*) from TIMINGS")


def test_timings_that_were_not_read_are_no_empty_answer(kinds, stored, ask):
    stored(kinds[0])
    with pytest.raises(ValueError, match="name timings, shares or samples"):
        ask("select count(*) from query('select 1 from tim' || 'ings')")


def test_columns_of_one_name_stay_apart(ask):
    assert [{"a": 1, "a_1": 2, "a_2": 3}] == ask("select 1 as a, 2 as a, 3 as a")


def test_a_folder_that_is_not_there(tmp_path):
    with (
        pytest.raises(ValueError, match=r"no folder .*nowhere: choose"),
        over_results(tmp_path / "nowhere", sql="select 1"),
    ):
        pass


@pytest.mark.parametrize("file", tables.FILES, ids=lambda file: file.name)
@pytest.mark.parametrize("damage", ["short", "cut", "no head", "other"])
def test_a_damaged_file_is_named_with_what_mends_it(file, damage, folder, ask):
    lines = (CHECKOUT / "results" / file.name).read_text().splitlines(keepends=True)
    damaged = {
        "short": lines[:-1],
        "cut": [*lines[:-1], lines[-1][:50]],
        "no head": lines[1:],
        "other": [lines[0], "[]\n", *lines[2:]],
    }
    (folder / file.name).write_text("".join(damaged[damage]))
    with pytest.raises(ValueError, match=rf"{file.name} is damaged: `{file.command}` writes"):
        ask("select 1")


def test_without_duckdb_one_line_says_how_to_have_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with (
        pytest.raises(ValueError, match="needs DuckDB: `pip install duckdb`"),
        over_results(folder, sql="select 1"),
    ):
        pass


def test_parquet_that_was_not_written_is_named(tmp_path):
    with (
        pytest.raises(ValueError, match=r"no .*counts.parquet: `vidcost export"),
        over_parquet(tmp_path),
    ):
        pass


def test_lines_of_data_are_json(folder):
    for file in tables.FILES:
        head, *lines = (CHECKOUT / "results" / file.name).read_text().splitlines()
        assert (file.command, len(lines)) == (
            json.loads(head)["command"],
            json.loads(head)["records"],
        )
