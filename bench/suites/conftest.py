"""What the suites need where this repository's settings of pytest do not hold."""

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers of the suites."""
    for line in ("latency: times networks and blocks", "cuda: needs a CUDA device"):
        config.addinivalue_line("markers", line)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect a suite whatever files of tests are called elsewhere."""
    if file_path.name.startswith("bench_") and not any(
        map(file_path.match, parent.config.getini("python_files"))
    ):
        return pytest.Module.from_parent(parent, path=file_path)
    return None
