from collections.abc import Callable
from pathlib import Path

import pytest

from vidcost.bench.count import record
from vidcost.bench.count.record import Record
from vidcost.bench.report.page import Data, gather
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import Store

HOSTILE = "<script>document.title='run'</script>"
"""The name of a row that must stay text."""


@pytest.fixture(scope="session")
def small(
    tmp_path_factory: pytest.TempPathFactory,
    committed: dict[str, Record],
    made_up: Callable[..., Record],
    timed: Callable[..., Timing],
) -> Path:
    """A results folder of three rows, one with a hostile name, and of a few timings."""
    folder = tmp_path_factory.mktemp("small")
    rows = [committed["mfnet"], committed["mfnet-nl"], made_up(HOSTILE, params=7)]
    record.write(folder, rows, command="vidcost run")
    store = Store(folder / "timings" / "abacus-torch2.11.0.jsonl")
    for cell, seconds in (
        (Cell(row="mfnet"), 0.5),
        (Cell(row="mfnet-nl"), 0.7),
        (Cell(row=HOSTILE), 0.2),
        (Cell(row="mfnet", frames=8, size=128), 0.1),
        (Cell(block="nl", shape=(384, 8, 14, 14)), 0.01),
        (Cell(block="cgd", shape=(384, 8, 14, 14)), None),
    ):
        known = {"started": "2026-11-25T10:00:00+00:00"}
        if seconds is None:
            known |= {"status": "oom", "error": "out of memory"}
        store.append(timed(cell, seconds, **known))
    return folder


@pytest.fixture(scope="session")
def data(small: Path) -> Data:
    return gather(small)


@pytest.fixture(scope="session")
def cells() -> Callable[..., list[dict[str, str]]]:
    """The cells of a table as people see them, by heading."""

    def shown(table):
        rows = [line for line in table.markdown().splitlines() if line.startswith("|")]
        # a bar in a cell is escaped
        heading, _, *body = [[x.strip() for x in row.strip("|").split(" |")] for row in rows]
        return [dict(zip(heading, each, strict=True)) for each in body]

    return shown
