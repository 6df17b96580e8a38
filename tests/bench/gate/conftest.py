"""A repository with two versions of the models."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import vidcost.models

PYPROJECT = """\
[project]
name = "vidcost"
version = "0.1.0"
dependencies = ["torch"]
"""


class Repository:
    """A git repository that can be committed to."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch", "main")
        (folder / "pyproject.toml").write_text(PYPROJECT)
        models = Path(next(iter(vidcost.models.__path__)))
        shutil.copytree(models, folder / "models", ignore=shutil.ignore_patterns("__pycache__"))

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


@pytest.fixture
def repository(tmp_path, monkeypatch):
    # the folder's own git is asked, whatever hook or worktree runs these tests
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    return Repository(tmp_path / "repository")
