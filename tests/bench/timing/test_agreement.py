"""Ours beside torch.utils.benchmark, in turns on the same networks."""

from __future__ import annotations

import statistics

import pytest
import torch
from torch.utils.benchmark import Timer

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.clock import HostClock
from vidcost.bench.timing.runner import Runner
from vidcost.bench.timing.subject import build

ROUNDS = 15


@pytest.mark.parametrize(
    "cell",
    [
        Cell(row="mfnet-nl", frames=4, size=96),
        Cell(row="r3d18", frames=4, size=48),
        Cell(row="r50-ucf101", frames=4, size=64),
    ],
    ids=lambda cell: cell.subject,
)
def test_the_host_clock_agrees_within_three_percent(cell):
    """Each round times the same passes both ways, so that a busy machine slows both.

    The median of the rounds' ratios is judged; a round in which one side was interrupted is an
    outlier to it.
    """
    threads = torch.get_num_threads()
    built = build(cell)
    runner = Runner(cell, built, HostClock())
    timer = Timer(
        "with torch.inference_mode(): model(*inputs)",
        globals={"model": built.model, "inputs": built.inputs, "torch": torch},
        num_threads=1,
    )
    torch.set_num_threads(1)
    try:
        runner.take(5)
        ratios = []
        for round_ in range(ROUNDS):
            sides = [
                lambda: statistics.fmean(runner.take(8)["latency"]),
                lambda: timer.timeit(8).mean,
            ]
            # who goes first alternates
            order = (0, 1) if round_ % 2 else (1, 0)
            seconds = {side: sides[side]() for side in order}
            ratios.append(seconds[0] / seconds[1])
    finally:
        torch.set_num_threads(threads)
    assert pytest.approx(1.0, abs=0.03) == statistics.median(ratios)
