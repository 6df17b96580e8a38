import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.alone
def test_a_benchmark_of_each_suite_runs(tmp_path):
    results = tmp_path / "benchmarks.json"
    chosen = "test_command or test_latency and cgd-384x8x14x14"
    pytest_command = [sys.executable, "-m", "pytest", "bench/suites", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*pytest_command, "-k", chosen, f"--benchmark-json={results}"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == ran.returncode, ran.stdout
    assert "test_command" in results.read_text()
    assert "test_latency[cgd-384x8x14x14]" in results.read_text()
