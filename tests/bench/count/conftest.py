"""What the tests of the reference counters and of the records share."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidcost.bench import files


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the reference counters' answers go in a test: never the user's own cache."""
    root = tmp_path / "cache"
    monkeypatch.setattr(files, "cache_folder", lambda: root)
    return root / "reference_counters"
