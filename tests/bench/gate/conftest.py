"""Repositories with versions of the models, and fake workers that measure them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vidcost import models, papers
from vidcost.bench.gate import interleave, versions
from vidcost.papers.pnl2020.rows import ROWS

from .planted import FAKE, variables

PYPROJECT = """\
[project]
name = "vidcost"
version = "0.1.0"
dependencies = ["torch"]
"""


class Repository:
    """A git repository that can be committed to."""

    def __init__(self, folder, *, copied=None):
        self.folder = folder
        if copied:
            shutil.copytree(copied, folder)
            return
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch", "main")
        (folder / "pyproject.toml").write_text(PYPROJECT)
        for package in (models, papers):
            source = Path(next(iter(package.__path__)))
            copy = folder / source.name
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def git(self, *arguments):
        author = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.c"}
        committer = {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b.c"}
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            env=os.environ | author | committer | alone,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, message="a version"):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def edit(self, name, old, new):
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def no_other_git():
    """Without the variables that a hook or a worktree sets for git."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def first_version(no_other_git, tmp_path_factory):
    """A repository with one version on main, to be copied, which is quicker than git."""
    made = Repository(tmp_path_factory.mktemp("first") / "repository")
    made.commit()
    return made.folder


@pytest.fixture
def git(first_version, vidcost, monkeypatch, tmp_path):
    """The current folder is a repository with one version on main."""
    repository = Repository(tmp_path / "repository", copied=first_version)
    # after ``vidcost``, which changes the folder too
    monkeypatch.chdir(repository.folder)
    return repository


@pytest.fixture
def sides(monkeypatch, tmp_path):
    """Fake workers measure: ``sides(base, head)`` sets their plans, by row or block."""
    # a real one takes a process for each side
    names = [row.name for row in ROWS if row.build]
    monkeypatch.setattr(versions.Prepared, "rows", lambda _: names)

    new_run = interleave.new_run
    brief = {"visit_s": 0.001, "visit_turns": 3}
    monkeypatch.setattr(
        interleave, "new_run", lambda *a, **k: new_run(*a, **k).model_copy(update=brief)
    )

    monkeypatch.setattr(interleave, "COMMAND", FAKE)

    def plant(base, head):
        sides = variables(base, head, tmp_path / "log")
        fake = property(lambda prepared: sides[prepared.path.name])
        monkeypatch.setattr(versions.Prepared, "variables", fake)

    return plant
