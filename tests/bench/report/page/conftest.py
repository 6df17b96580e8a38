"""What the tests of the report share: a small results folder, and the real one read once."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vidcost.bench.count import record
from vidcost.bench.count.record import Record
from vidcost.bench.report.page.gathered import Gathered, gather
from vidcost.bench.report.page.sections import Section, Sections
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import Store

HOSTILE = "<script>document.title='run'</script>"
"""The name of a row that must stay text."""


@pytest.fixture(scope="session")
def gathered(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    """Everything of the checkout's results, read once.

    As far as git knows them: `vidcost run` leaves timings of whatever machine this is.
    """
    top = results.parent
    clone = tmp_path_factory.mktemp("checkout") / "clone"
    try:
        known = git("-C", str(top), "ls-files", "-z", "results").split("\0")
        git("clone", "--quiet", str(top), str(clone))
    except subprocess.CalledProcessError:
        # no checkout of git's, or not ours
        return gather(results)
    shutil.rmtree(clone / "results")
    # what is edited and not committed yet is meant all the same
    for name in known:
        if name and (top / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(top / name, clone / name)
    return gather(clone / "results")


def git(*words: str) -> str:
    ran = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    return ran.stdout


@pytest.fixture(scope="session")
def sections(gathered: Gathered) -> Sections:
    return Sections(gathered)


@pytest.fixture(scope="session")
def every_section(sections: Sections) -> list[Section]:
    return sections.all()


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
        known = {"started": "2026-11-25T10:00:00+00:00", "peak_macs_per_s": 4e10}
        if seconds is None:
            known |= {"status": "oom", "error": "out of memory"}
        store.append(timed(cell, seconds, **known))
    return folder


@pytest.fixture(scope="session")
def gathered_small(small: Path) -> Gathered:
    return gather(small)


@pytest.fixture(scope="session")
def small_sections(gathered_small: Gathered) -> list[Section]:
    return Sections(gathered_small).all()
