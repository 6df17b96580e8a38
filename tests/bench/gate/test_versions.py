"""Unpacking two versions and making them ready to run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vidcost.bench.gate import versions

WHICH = """\
import vidcost.bench.timing.worker, vidcost.papers.pnl2020.rows, json
print(json.dumps([vidcost.bench.timing.worker.__file__, vidcost.papers.pnl2020.rows.__file__]))
"""


@pytest.fixture
def prepare(git, cache):
    """Prepare two refs of the repository that the test stands in."""

    def run(base="main", head=None):
        return versions.prepare(git.folder, base, head, cache=cache)

    return run


@pytest.fixture
def uncompiled(monkeypatch):
    """Compiling the sides takes seconds, and these tests start no process of theirs."""
    monkeypatch.setattr(versions.compileall, "compile_dir", lambda *_, **__: True)


@pytest.mark.slow
def test_a_version_runs_its_own_models_under_this_harness(git, prepare):
    git.edit("papers/pnl2020/rows.py", '"mfnet-nl"', '"mfnet-non-local"')
    base, head = prepare()
    renamed = set(base.rows()) ^ set(head.rows())
    assert {"mfnet-nl", "mfnet-non-local"} <= renamed
    assert all(name.startswith(("mfnet-nl", "mfnet-non-local")) for name in renamed)
    for side in (base, head):
        process = subprocess.run(
            [sys.executable, "-P", "-c", WHICH],
            env=os.environ | side.variables,
            capture_output=True,
            text=True,
            check=True,
        )
        assert all(Path(each).is_relative_to(side.path) for each in json.loads(process.stdout))
    assert base.version.code != head.version.code


@pytest.mark.slow
def test_models_that_do_not_import_are_named(git, prepare):
    (git.folder / "papers" / "catalog.py").write_text("import no_such_module\n")
    _, head = prepare()
    with pytest.raises(ValueError, match="working tree cannot be run: ModuleNotFoundError"):
        head.rows()


def test_equal_code_is_copied_twice(prepare, uncompiled):
    base, head = prepare("HEAD")
    assert base.version.code == head.version.code
    assert base.path != head.path
    assert len(str(base.path)) == len(str(head.path))


def test_a_commit_is_named_with_its_changes(git, prepare, uncompiled):
    commit = git.git("rev-parse", "HEAD")
    clean, before = prepare(None)
    assert ("working tree", commit) == (clean.version.ref, clean.version.commit)
    (git.folder / "notes.txt").write_text("not a model")
    assert commit == prepare(None)[0].version.commit
    git.edit("papers/pnl2020/rows.py", '"mfnet-nl"', '"mfnet-non-local"')
    _, after = prepare(None)
    assert f"{commit}+changes" == after.version.commit
    assert before.path != after.path


def test_a_version_is_unpacked_once_and_the_repository_left_alone(git, prepare, cache, uncompiled):
    commit = git.git("rev-parse", "HEAD")
    before = {path: path.read_bytes() for path in git.folder.rglob("*") if path.is_file()}
    prepare()
    folder = cache / "versions" / commit
    assert {"models", "papers"} == {path.name for path in folder.iterdir()}
    (folder / "kept").touch()
    prepare("main", "HEAD")
    (folder / "kept").unlink()
    assert before == {path: path.read_bytes() for path in git.folder.rglob("*") if path.is_file()}


def test_versions_that_ask_for_other_packages(git):
    assert not versions.requirements_differ(Path(), "main", None)
    git.edit("pyproject.toml", '"torch"', '"torch>=2.12"')
    assert versions.requirements_differ(Path("models"), "main", None)
    assert not versions.requirements_differ(Path(), "main", "HEAD")


@pytest.mark.parametrize("ref", ["--upload-pack=evil", "HEAD~9"])
def test_an_unknown_ref_is_named(prepare, ref):
    with pytest.raises(ValueError, match="no ref") as error:
        prepare(ref)
    assert repr(ref) in str(error.value)
    assert "\n" not in str(error.value)


def test_without_a_repository_or_git(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(ValueError, match="not a git repository"):
        versions.prepare(tmp_path, "main", None, cache=cache)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="git is not installed"):
        versions.prepare(tmp_path, "main", None, cache=cache)


def test_a_version_without_models_is_rejected(git, prepare, uncompiled):
    shutil.rmtree(git.folder / "models")
    with pytest.raises(ValueError, match="working tree has no models/"):
        prepare()
