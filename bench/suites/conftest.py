"""What the suites share: their order, and what is known of a cell, counted elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vidcost.bench.timing.cell import Cell

_PREDICT = """\
import json, sys
from dataclasses import asdict
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.predict import predict, outline
for line in sys.stdin:
    cell = Cell.model_validate_json(line)
    params = sum(p.numel() for p in outline(cell)[0].parameters())
    print(json.dumps({"params": params} | asdict(predict(cell))))
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Time before counting: counters leave traces in the process that they run in."""
    items.sort(key=lambda item: item.get_closest_marker("latency") is None)


@pytest.fixture(scope="session")
def predicted(request: pytest.FixtureRequest) -> dict[Cell, dict[str, int | None]]:
    """Parameters and MACs of the session's cells, counted in another process."""
    cells = list(
        dict.fromkeys(
            item.callspec.params["cell"]
            for item in request.session.items
            if "cell" in getattr(getattr(item, "callspec", None), "params", {})
        )
    )
    counted = subprocess.run(
        [sys.executable, "-P", "-c", _PREDICT],
        input="".join(f"{cell.model_dump_json()}\n" for cell in cells),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    known = map(json.loads, counted.stdout.splitlines())
    return dict(zip(cells, known, strict=True))
