"""How fast `vidcost count` counts all rows, torch's import included."""

import os
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "vidcost", "count", "--format", "json"]


@pytest.mark.benchmark(group="counting all rows")
def test_command(benchmark):
    """Within 10 s on two cores and 1 GB."""
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
