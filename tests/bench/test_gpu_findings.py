"""What results/gpu.md says is what its commands print."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import statistics
from pathlib import Path

import pytest

from vidcost.bench.block_spec import fast as fast_spec
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.predict import foresee
from vidcost.bench.timing.roofs import least_s
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
        medians.setdefault(timing.cell, []).append(statistics.median(timing.passes_s))
    again = {timing.cell for timing in repeats}
    *others, mars = sorted(max(medians[cell]) / min(medians[cell]) - 1 for cell in again)
    assert {2, 3} == {len(medians[cell]) for cell in again}
    assert 3 == len({timing.machine.device_uuid for timing in (*repeats, *stored)})
    assert "(three in all)" in PAGE
    assert f"{len(again)} of the rows and types were measured by two or three processes" in PAGE
    assert f"{len(others)} moved by up to {others[-1]:.1%}, MARS,\n" in PAGE
    assert f"whose samples scatter, by {mars:.0%}." in PAGE


def share_of_roofline(spec, line, seconds, rates):
    shape = tuple(map(int, line["shape"].split("x")))
    cell = Cell(block=spec, shape=shape, dtype=line["dtype"], device="cuda")
    rate, macs = rates[line["dtype"]], foresee(cell).macs
    least = least_s(cell, macs=macs, macs_per_s=rate, device_name="NVIDIA H100 80GB HBM3")
    return f"{least / seconds:.1%}"


def test_the_fast_paths_medians_are_those_of_the_file():
    path = CHECKOUT / "results/fast/nvidia-h100-80gb-hbm3-medians.csv"
    comment, *lines = path.read_text(encoding="utf-8").splitlines()
    assert comment.startswith("# medians as the progress of a sweep over cells of `vidcost fast")
    page = (CHECKOUT / "docs/fast.md").read_text(encoding="utf-8")
    stored = Store(CHECKOUT / "results/timings/nvidia-h100-80gb-hbm3-torch2.11.0.jsonl").read()
    rates = {}
    for timing in filter(lambda timing: timing.peak_macs_per_s, stored.values()):
        dtype = timing.cell.dtype
        rates[dtype] = max(rates.get(dtype, 0), timing.peak_macs_per_s)
    assert f"({rates['fp32'] / 1e12:.1f} TMAC/s in fp32, {rates['bf16'] / 1e12:.0f} in bf16" in page
    for line in (found := list(csv.DictReader(lines))):
        textbook, fast = float(line["textbook_ms"]), float(line["fast_ms"])
        peaks = (f"{int(line[f'{path}_peak_bytes']) / 1e6:,.1f}" for path in ("textbook", "fast"))
        shares = [
            share_of_roofline(spec, line, milliseconds / 1e3, rates)
            for spec, milliseconds in ((line["block"], textbook), (fast_spec(line["block"]), fast))
        ]
        # it was timed with more MACs than it has today
        if line["block"].endswith("concatenation"):
            shares[1] = "–"
        cells = [
            line["block"],
            f"{int(line['N']):,}",
            line["dtype"],
            f"{textbook:.3f}",
            f"{fast:.3f}",
            f"{textbook / fast:.2f}",
            f"{float(line['precision_of_ratio']):.1%}",
            *peaks,
            *shares,
        ]
        assert f"| {' | '.join(cells)} |" in page
    assert 20 == len(found)
