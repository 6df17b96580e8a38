"""What tests of all folders share: groups for xdist, papers of their own."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vidcost import papers
from vidcost.papers import catalog

Shelf = Callable[..., Path]

TINY = """
paper = "A paper"
claims = [["Abstract", "small", "is_small", ["c3d"], "it is small"]]
[[tables]]
id = 1
title = "Costs"
columns = ["label", "row", "params"]
rows = [["C3D", "c3d", "78.8M"]]
"""
ROWS = """
from vidcost.models.backbones.c3d import C3D
from vidcost.papers.row import Row

ROWS = (Row("tiny-c3d", C3D, 3, ((3, 16, 112, 112),)),)
"""
CLAIMS = """
from vidcost.bench.audit import Said, holds, ours

def is_small(claim, paper):
    return Said("no figure", holds(ours("c3d").params < 10**6), "It has more.")
"""


def _forget() -> None:
    for cached in (catalog.paper, catalog.rows_of, catalog.every_row):
        cached.cache_clear()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group tests by file, which shares fixtures; only one Ray cluster runs at a time."""
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            group = "ray" if item.get_closest_marker("ray") else str(item.path)
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """Add papers beside those of the package: ``shelf(name, figures, rows, **other files)``."""
    root = tmp_path / "shelf"
    monkeypatch.setattr(papers, "__path__", [*papers.__path__, str(root)])

    def add(name: str, figures: str, rows: str = "", **others: str) -> Path:
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "figures.toml").write_text(figures, encoding="utf-8")
        texts = {"rows": rows, **others}
        for stem, text in texts.items():
            (folder / f"{stem}.py").write_text(text, encoding="utf-8")
        _forget()
        return folder

    yield add
    _forget()
    for module in [m for m in sys.modules if m.startswith("vidcost.papers.")]:
        file = getattr(sys.modules[module], "__file__", None)
        if file and Path(file).is_relative_to(root):
            del sys.modules[module]


@pytest.fixture
def tiny(shelf: Shelf) -> Callable[..., Path]:
    """Add a paper with one row, one printed figure of C3D and one claim: ``tiny(claims=...)``."""

    def add(*, claims: str = CLAIMS, findings: str = "") -> Path:
        folder = shelf("tiny", TINY, ROWS, claims=claims)
        if findings:
            (folder / "findings.md.j2").write_text(findings, encoding="utf-8")
        return folder

    return add
