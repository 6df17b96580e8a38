"""The order of the suites."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Time before counting: counters leave traces in the process that they run in."""
    items.sort(key=lambda item: item.get_closest_marker("latency") is None)
