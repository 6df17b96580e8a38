"""A million records are answered in under two seconds on two cores, the program's start included.

The figures of docs/query.md: pytest -m alone -n 0 -s tests/bench/query/test_speed.py
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import Store

pytestmark = pytest.mark.alone

RECORDS = 1_000_000
SAMPLES = 30
LIMIT_S = 2.0
TRIES = 3
SQL = """
    select row, batch, count(*) as n, median(median_ms) as ms, max(ci_high_ms) as worst
    from timings where device = 'cuda' and status = 'ok' group by all order by row, batch
"""


def fill(path, make):
    """Write a million records of four rows at five batches, 30 samples each."""
    random_ = random.Random(0)
    lists = [
        json.dumps([round(random_.lognormvariate(-3, 0.1), 7) for _ in range(SAMPLES)])
        for _ in range(997)
    ]
    cells = [
        Cell(row=row, batch=batch, device="cuda")
        for row in ("mfnet", "mfnet-nl", "mfnet-pnl", "r50")
        for batch in (1, 2, 4, 8, 16)
    ]
    parts = []
    for cell in cells:
        written = make(cell, {"latency": (7.0,)}, key="KEY").model_dump_json()
        parts.append((*written.partition("KEY")[::2],))
    parts = [(before, *after.partition("[7.0]")[::2]) for before, after in parts]
    Store(path).prepare()
    with path.open("a") as file:
        for start in range(0, RECORDS, 10_000):
            file.writelines(
                f"{parts[i % 20][0]}{i:064x}{parts[i % 20][1]}{lists[i % 997]}{parts[i % 20][2]}\n"
                for i in range(start, start + 10_000)
            )


@pytest.fixture(scope="module")
def million(tmp_path_factory, make):
    """A results folder with a million records, and how to run the program beside it."""
    folder = tmp_path_factory.mktemp("million")
    (folder / "results/timings").mkdir(parents=True)
    path = folder / "results/timings/h100.jsonl"
    fill(path, make)
    program = Path(sys.executable).with_name("vidcost")
    program = str(program) if program.exists() else shutil.which("vidcost")

    def run(*words):
        """What it prints, and the seconds that it took on two cores."""
        started = time.perf_counter()
        ran = subprocess.run(
            [program, *words],
            cwd=folder,
            env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")},
            preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2]),
            capture_output=True,
            text=True,
            check=True,
        )
        return ran.stdout, time.perf_counter() - started

    yield path, run
    shutil.rmtree(folder)


def fastest(what, ask, limit_s=LIMIT_S):
    """The answer of the fastest try, which a busy machine disturbs least; says what it took."""
    answers = [ask() for _ in range(TRIES)]
    out, took = min(answers, key=lambda each: each[1])
    print(f"{what}: {took:.2f} s")
    assert took < limit_s, what
    return json.loads(out)


def test_a_million_records_are_answered_in_time(million, make):
    path, run = million
    print(f"\n{RECORDS:,} records of {SAMPLES} samples, {path.stat().st_size / 1e9:.2f} GB")
    _, first_s = run("query", SQL, "--json")
    print(f"the first question, which makes the copy: {first_s:.1f} s")
    lines = fastest("every other", lambda: run("query", SQL, "--json"))
    assert (20, RECORDS) == (len(lines), sum(line["n"] for line in lines))
    assert all(line["ms"] < line["worst"] for line in lines)
    numbers = iter(range(TRIES))

    def after_a_campaign():
        cell = Cell(row="c3d", device="cuda", batch=next(numbers) + 1)
        Store(path).append(make(cell, {"latency": (0.1,) * SAMPLES}))
        return run("query", SQL, "--json")

    # compares 1.4 GB with what was copied: seconds on a machine that others use
    lines = fastest("the first after something was appended", after_a_campaign, first_s / 2)
    assert RECORDS < sum(line["n"] for line in lines)
    _, took = run("export", "--parquet", "parquet")
    print(f"vidcost export --parquet: {took:.1f} s")
    exported = fastest(
        "over its files", lambda: run("query", SQL, "--parquet", "parquet", "--json")
    )
    assert json.loads(run("query", SQL, "--json")[0]) == exported
