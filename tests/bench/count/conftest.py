"""What the tests of the reference counters and of the records share."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the reference counters' answers go in a test: never the user's own cache."""
    root = tmp_path / "cache"
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: root / name)
    return root / "vidcost" / "reference_counters"
