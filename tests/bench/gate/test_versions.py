"""Unpacking two versions and making them ready to run."""

import os
import shutil
import subprocess
import sys

import pytest

from vidcost.bench.gate import versions


@pytest.fixture
def prepare(git, tmp_path_factory):
    """Prepare two refs of the repository that the test stands in."""

    def run(base="main", head=None):
        return versions.prepare(git.folder, base, head, tmp_path_factory.mktemp("sides"))

    return run


@pytest.mark.slow
def test_a_version_runs_its_own_models_under_this_harness(git, prepare):
    git.edit("papers/pnl2020/rows.py", '"mfnet-nl"', '"mfnet-non-local"')
    base, head = prepare()
    renamed = set(base.rows()) ^ set(head.rows())
    assert {"mfnet-nl", "mfnet-non-local"} <= renamed
    assert all(name.startswith(("mfnet-nl", "mfnet-non-local")) for name in renamed)
    for side in (base, head):
        command = [sys.executable, "-P", "-c", "import vidcost.bench as b; print(*b.__path__)"]
        said = subprocess.check_output(command, env=os.environ | side.variables, text=True)
        assert f"{side.path}/vidcost/bench" == said.strip()
    assert base.version.code != head.version.code
    (head.path / "vidcost/papers/catalog.py").write_text("import no_such_module\n")
    with pytest.raises(ValueError, match="working tree cannot be run: ModuleNotFoundError"):
        head.rows()


def test_equal_code_is_copied_twice_and_the_repository_left_alone(git, prepare):
    before = {path: path.read_bytes() for path in git.folder.rglob("*") if path.is_file()}
    base, head = prepare("HEAD")
    assert base.version.code == head.version.code
    assert base.path != head.path
    assert len(str(base.path)) == len(str(head.path))
    assert before == {path: path.read_bytes() for path in git.folder.rglob("*") if path.is_file()}


def test_a_commit_is_named_with_its_changes(git, prepare):
    commit = git.git("rev-parse", "HEAD")
    (git.folder / "notes.txt").write_text("not a model")
    _, clean = prepare()
    assert ("working tree", commit) == (clean.version.ref, clean.version.commit)
    git.edit("papers/pnl2020/rows.py", '"mfnet-nl"', '"mfnet-non-local"')
    base, after = prepare()
    assert (commit, f"{commit}+changes") == (base.version.commit, after.version.commit)
    assert clean.version.code == base.version.code != after.version.code


def test_versions_that_ask_for_other_packages(git, prepare):
    base, head = prepare()
    assert base.requirements == head.requirements
    git.edit("pyproject.toml", '"torch"', '"torch>=2.12"')
    base, head = prepare()
    assert base.requirements != head.requirements


@pytest.mark.parametrize("ref", ["--upload-pack=evil", "HEAD~9"])
def test_an_unknown_ref_is_named(prepare, ref):
    with pytest.raises(ValueError, match="no ref") as error:
        prepare(ref)
    assert repr(ref) in str(error.value)
    assert "\n" not in str(error.value)


def test_without_a_repository_or_git(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(ValueError, match="not a git repository"):
        versions.prepare(tmp_path, "main", None, tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="git is not installed"):
        versions.prepare(tmp_path, "main", None, tmp_path)


def test_a_version_without_models_is_rejected(git, prepare):
    shutil.rmtree(git.folder / "models")
    with pytest.raises(ValueError, match="working tree has no models/"):
        prepare()
    git.commit()
    with pytest.raises(ValueError, match="HEAD has no models/"):
        prepare("HEAD")


def test_versions_that_ask_for_other_packages_differ(tmp_path):
    def asked(pyproject, **locks):
        folder = tmp_path / str(len([*tmp_path.iterdir()]))
        folder.mkdir()
        (folder / "pyproject.toml").write_text(pyproject)
        for name, text in locks.items():
            (folder / name.replace("_", ".")).write_text(text)
        return versions.requirements_in(folder)

    project = "[project]\nname = 'lab'\nversion = '1'\ndependencies = ['torch']\n"
    same = asked(project, uv_lock="torch 2.8")
    # a version of its own, or its settings, are no packages
    assert same == asked(project.replace("'1'", "'2'") + "[tool.x]\n", uv_lock="torch 2.8")
    assert same != asked(project.replace("'torch'", "'torch>2'"), uv_lock="torch 2.8")
    assert same != asked(project + "optional-dependencies = {a = ['b']}\n", uv_lock="torch 2.8")
    assert same != asked(project, uv_lock="torch 2.9")
    assert same != asked(project)
