import json
import re
import shlex
import shutil
import statistics
from pathlib import Path

import pytest

from vidcost.bench.timing.store import Store

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "results/gpu.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```console\n\$ vidcost (query .*)\n```\n\n((?:\|.*\n)+)", PAGE, re.MULTILINE)


def test_every_question_is_followed_by_its_answer():
    assert PAGE.count("$ vidcost query") == len(SHOWN) > 5


@pytest.mark.parametrize(("command", "table"), SHOWN, ids=range(len(SHOWN)))
def test_an_answer_is_what_the_question_gives(command, table, vidcost):
    shutil.copytree(CHECKOUT / "results", "results")
    ran = vidcost(*shlex.split(command))
    assert (0, "") == (ran.status, ran.err)
    assert ran.out.strip() == table.strip()


def test_other_clocks_are_those_of_the_file():
    lines = (CHECKOUT / "results/agreement.jsonl").read_text(encoding="utf-8").splitlines()
    for found in map(json.loads, lines):
        over = found["ours_over"]
        expected = f"| {found['network']} | {over['do_bench']:.4f} | {over['profiler']:.4f} |"
        assert expected in PAGE
        # what the test of the clocks asks of one of them at least
        assert pytest.approx(1, abs=0.01) == over["do_bench"]


def test_how_far_rows_moved_between_processes():
    stored, repeats = (
        list(Store(CHECKOUT / "results" / name).read().values())
        for name in ("timings/nvidia-h100-80gb-hbm3-torch2.11.0.jsonl", "gpu-repeats.jsonl")
    )
    medians = {}
    for timing in (*repeats, *stored):
        medians.setdefault(timing.cell, []).append(
            statistics.median(next(iter(timing.samples_s.values())))
        )
    again = {timing.cell for timing in repeats}
    *others, mars = sorted(max(medians[cell]) / min(medians[cell]) - 1 for cell in again)
    assert {2, 3} == {len(medians[cell]) for cell in again}
    assert 3 == len({timing.machine.device_uuid for timing in (*repeats, *stored)})
    assert "(three in all)" in PAGE
    assert f"{len(again)} of the rows and types were measured by two or three processes" in PAGE
    assert f"{len(others)} moved by up to {others[-1]:.1%}, MARS,\n" in PAGE
    assert f"whose samples scatter, by {mars:.0%}." in PAGE
