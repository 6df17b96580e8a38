"""Groups of tests that one xdist worker runs: those of a file, and all that start Ray."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group tests by file, which shares fixtures; only one Ray cluster runs at a time."""
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            group = "ray" if item.get_closest_marker("ray") else str(item.path)
            item.add_marker(pytest.mark.xdist_group(group))
