"""Unpacking two versions and making them ready to run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vidcost.bench.gate import versions
from vidcost.bench.gate.versions import prepare
from vidcost.papers.pnl2020.rows import ROWS

WHICH = """\
import vidcost.bench.timing.worker, vidcost.papers.pnl2020.rows, json
print(json.dumps([vidcost.bench.timing.worker.__file__, vidcost.papers.pnl2020.rows.__file__]))
"""


def both(repository, base, head, **options):
    return prepare(
        repository.folder, base, head, cache=repository.folder.parent / "cache", **options
    )


def test_a_version_runs_its_own_models_under_this_harness(repository):
    repository.commit()
    repository.edit("papers/pnl2020/rows.py", '"mfnet-nl"', '"mfnet-non-local"')
    base, head = both(repository, "main", None)
    assert [row.name for row in ROWS if row.build] == base.rows()
    renamed = {
        f"{name}{impl}" for name in ("mfnet-nl", "mfnet-non-local") for impl in ("", "-optimized")
    }
    assert renamed == set(base.rows()) ^ set(head.rows())
    for side in (base, head):
        process = subprocess.run(
            [side.python, "-P", "-c", WHICH],
            env=os.environ | side.variables,
            capture_output=True,
            text=True,
            check=True,
        )
        assert [str(side.path / "vidcost")] * 2 == [
            name.rpartition("/bench/" if "bench" in name else "/papers/")[0]
            for name in json.loads(process.stdout)
        ]
    assert base.version.code != head.version.code
    assert ("this", "this") == (base.version.environment, head.version.environment)


def test_equal_code_is_copied_twice(repository):
    repository.commit()
    base, head = both(repository, "HEAD", None)
    assert base.version.code == head.version.code
    assert base.path != head.path
    assert len(str(base.path)) == len(str(head.path))


def test_a_commit_is_named_with_its_changes(repository):
    commit = repository.commit()
    clean, before = both(repository, None, None)
    assert ("working tree", commit) == (clean.version.ref, clean.version.commit)
    (repository.folder / "notes.txt").write_text("not a model")
    assert commit == both(repository, None, None)[0].version.commit
    repository.edit("papers/pnl2020/rows.py", '"mfnet-nl"', '"mfnet-non-local"')
    _, after = both(repository, None, None)
    assert f"{commit}+changes" == after.version.commit
    assert before.path != after.path


def test_a_version_is_unpacked_once_and_the_repository_left_alone(repository):
    commit = repository.commit()
    files = {path: path.read_bytes() for path in repository.folder.rglob("*") if path.is_file()}
    both(repository, "main", None)
    folder = repository.folder.parent / "cache/versions" / commit
    assert {"models", "papers", "pyproject.toml"} == {path.name for path in folder.iterdir()}
    assert [folder] == list(folder.parent.iterdir())
    (folder / "kept").touch()
    both(repository, "main", "HEAD")
    assert (folder / "kept").is_file()
    assert files.keys() == {path for path in repository.folder.rglob("*") if path.is_file()}
    assert files == {path: path.read_bytes() for path in files}


@pytest.mark.parametrize("ref", ["no-such-branch", "--upload-pack=evil", "HEAD~9"])
def test_an_unknown_ref_is_named(repository, ref):
    repository.commit()
    with pytest.raises(ValueError, match="no ref") as error:
        both(repository, ref, None)
    assert repr(ref) in str(error.value)
    assert "\n" not in str(error.value)


def test_outside_of_a_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(ValueError, match="not a git repository"):
        prepare(tmp_path, "main", None, cache=tmp_path / "cache")


def test_without_git(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="git is not installed"):
        both(repository, "main", None)


def test_a_version_without_models_is_rejected(repository):
    repository.git("rm", "-r", "--quiet", "--cached", "--ignore-unmatch", "models")
    shutil.rmtree(repository.folder / "models")
    repository.commit()
    with pytest.raises(ValueError, match="main has no models/"):
        both(repository, "main", None)


def test_models_that_do_not_import_are_named(repository):
    (repository.folder / "papers" / "catalog.py").write_text("import no_such_module\n")
    repository.commit()
    base, _ = both(repository, "main", None)
    with pytest.raises(ValueError, match="main cannot be run: ModuleNotFoundError"):
        base.rows()


class Installer:
    """Stands in for venv and pip."""

    def __init__(self, monkeypatch, fail=False):
        self.commands = []
        self._fail = fail
        self._run = subprocess.run
        monkeypatch.setattr(versions.subprocess, "run", self)

    def __call__(self, command, **options):
        if not {"venv", "pip"} & set(command):
            return self._run(command, **options)
        self.commands.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)
        return subprocess.CompletedProcess(
            command, int(self._fail), "", "noise\nERROR: no such version\n"
        )


def test_versions_that_ask_for_other_packages_get_environments_of_their_own(
    repository, monkeypatch
):
    installer = Installer(monkeypatch)
    repository.commit()
    repository.edit("pyproject.toml", '"torch"', '"torch>=2.12"')
    (repository.folder / "constraints.txt").write_text("torch==2.13.0\n")
    base, head = both(repository, "main", None)
    assert base.version.environment != head.version.environment
    assert base.python != head.python
    venvs, installs = installer.commands[::2], installer.commands[1::2]
    assert [[*c[1:3], c[3]] for c in venvs] == [
        ["-m", "venv", str(side.path.parent.parent / "environments" / side.version.environment)]
        for side in (base, head)
    ]
    assert ["torch"] == installs[0][-1:]
    constraints = str(repository.folder / "constraints.txt")
    assert ["-c", constraints, "torch>=2.12"] == installs[1][-3:]
    # made once
    both(repository, "main", None)
    assert 4 == len(installer.commands)


def test_one_environment_for_both_if_asked_for(repository, monkeypatch):
    installer = Installer(monkeypatch)
    repository.commit()
    repository.edit("pyproject.toml", '"torch"', '"torch>=2.12"')
    base, head = both(repository, "main", None, same_environment=True)
    assert ("this", "this") == (base.version.environment, head.version.environment)
    assert [] == installer.commands


def test_packages_that_cannot_be_installed_are_an_error(repository, monkeypatch):
    Installer(monkeypatch, fail=True)
    repository.commit()
    repository.edit("pyproject.toml", '"torch"', '"torch>=99"')
    with pytest.raises(ValueError, match="of main cannot be installed: ERROR: no such version"):
        both(repository, "main", None)
