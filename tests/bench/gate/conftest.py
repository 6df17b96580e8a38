"""Repositories with versions of the models, and fake workers that measure them."""

import os
import shutil
from pathlib import Path

import pytest

from vidcost import models, papers
from vidcost.bench.gate import interleave, versions
from vidcost.papers.pnl2020.rows import ROWS

from ...repository import Repository
from .planted import FAKE, variables

PYPROJECT = """\
[project]
name = "vidcost"
version = "0.1.0"
dependencies = ["torch"]
"""


@pytest.fixture
def git(vidcost, monkeypatch, tmp_path):
    """The current folder is a repository with one version on main."""
    # a hook or a worktree sets variables for git
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    repository = Repository(tmp_path / "repository")
    for package in (models, papers):
        source = Path(next(iter(package.__path__)))
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, repository.folder / source.name, ignore=ignored)
    repository.write("pyproject.toml", PYPROJECT)
    repository.begin()
    # after ``vidcost``, which changes the folder too
    monkeypatch.chdir(repository.folder)
    return repository


@pytest.fixture
def sides(monkeypatch, tmp_path):
    """Fake workers measure: ``sides(base, head)`` sets their plans, by row or block."""
    # a real one takes a process for each side
    names = [row.name for row in ROWS if row.build]
    monkeypatch.setattr(versions.Prepared, "rows", lambda _: names)
    new_run, brief = interleave.new_run, {"visit_s": 0.001, "visit_turns": 3}
    monkeypatch.setattr(interleave, "new_run", lambda *a, **known: new_run(*a, **known | brief))
    monkeypatch.setattr(versions, "COMMAND", FAKE)

    def plant(base, head):
        plans = variables(base, head, tmp_path / "log")
        fake = property(lambda prepared: plans[prepared.path.name])
        monkeypatch.setattr(versions.Prepared, "variables", fake)

    return plant
