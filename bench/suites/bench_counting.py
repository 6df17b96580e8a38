"""How fast counting is: `vidcost count` over all rows, beside fvcore and thop called directly.

fvcore and thop get real clips on the CPU; ours counts the same rows on the meta device. Building
the networks is part of all three. Run: pytest bench/suites -k counting
"""

import os
import subprocess
import sys

import pytest
import torch

from vidcost.bench.count.record import counted
from vidcost.papers.catalog import rows_of

BUILDABLE = [row for row in rows_of() if row.build is not None]
COMMAND = [sys.executable, "-m", "vidcost", "count", "--format", "json"]

pytestmark = [
    pytest.mark.benchmark(group="counting all rows"),
    pytest.mark.filterwarnings("ignore"),
]
seconds: dict[str, float] = {}
"""Median time of each counter over all rows."""


def test_command(benchmark):
    """The whole command, torch's import included: within 10 s on two cores and 1 GB."""
    peaks = []

    def run() -> None:
        process = subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss * 1024)

    benchmark.pedantic(run, rounds=3)
    benchmark.extra_info["peak_bytes"] = max(peaks)
    assert benchmark.stats.stats.median < 10
    assert max(peaks) < 10**9


def by_fvcore(row):
    from fvcore.nn import FlopCountAnalysis

    return (
        FlopCountAnalysis(row.model().eval(), row.clips()).unsupported_ops_warnings(False).total()
    )


def by_thop(row):
    import thop

    return thop.profile(row.model().eval(), row.clips(), verbose=False)


@pytest.mark.parametrize(
    ("name", "count", "rounds"),
    [("ours", counted, 3), ("fvcore", by_fvcore, 1), ("thop", by_thop, 1)],
)
def test_counter(benchmark, capsys, name, count, rounds):
    """Ours, with the closed-form checks, is at least ten times as fast as either."""
    count(BUILDABLE[0])  # imports of the first call

    def every_row():
        with torch.no_grad():
            for row in BUILDABLE:
                count(row)

    benchmark.pedantic(every_row, rounds=rounds)
    seconds[name] = benchmark.stats.stats.median
    ratio = seconds[name] / seconds["ours"]
    with capsys.disabled():
        print(f"\n{name}: {seconds[name]:.1f} s, {ratio:.0f} times as long as ours", end="")
    assert name == "ours" or ratio >= 10
