"""What git tells of a folder on a branch, and what is said where it cannot."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from vidcost.bench.history.git_log import open_log

Repository = Any
"""The fixture's: small repositories."""


def read(folder: Path, *paths: str, branch: str | None = None) -> list[tuple[str, dict[str, str]]]:
    """Subjects, and files with their contents; a removed one is empty."""
    log = open_log(folder, branch)
    with log.contents() as content:
        return [
            (
                step.commit.subject,
                {
                    path: "" if blob is None else content(blob).decode()
                    for path, blob in step.files.items()
                },
            )
            for step in log.steps(paths)
        ]


def test_files_are_as_each_commit_wrote_them(repository: Repository) -> None:
    repository.write("a", "one")
    repository.write("deep/b, with a name\u00e9", "two\n\n")
    first = repository.commit("begin")
    repository.write("c", "not asked for")
    repository.commit("another file")
    repository.write("a", "three")
    repository.commit("change: \u00e9")
    (repository.results / "a").unlink()
    repository.commit("remove")
    assert [
        ("begin", {"a": "one", "deep/b, with a name\u00e9": "two\n\n"}),
        ("change: \u00e9", {"a": "three"}),
        ("remove", {"a": ""}),
    ] == read(repository.results, "a", "deep")
    step = open_log(repository.results).steps(["a"])[0]
    assert (first, "2026-01-02T12:00:00+00:00") == (step.commit.sha, step.commit.date)
    assert first.startswith(step.commit.short)
    assert 8 == len(step.commit.short)


def test_a_merge_shows_what_it_brought_and_its_branch_does_not(repository: Repository) -> None:
    repository.write("a", "one")
    repository.commit("begin")
    repository.git("switch", "--quiet", "--create", "topic")
    repository.write("a", "half")
    repository.commit("half way")
    repository.write("a", "two")
    repository.commit("all of it")
    repository.git("switch", "--quiet", "main")
    repository.write("b", "beside")
    repository.commit("beside it")
    repository.merge("topic", "take it")
    assert [
        ("begin", {"a": "one"}),
        ("beside it", {"b": "beside"}),
        ("take it", {"a": "two"}),
    ] == read(repository.results, "a", "b")
    assert ["begin", "half way", "all of it"] == [
        subject for subject, _ in read(repository.results, "a", "b", branch="topic")
    ]


def test_settings_of_the_user_change_nothing(repository: Repository) -> None:
    repository.write("\u00e9", "one")
    repository.commit("begin")
    repository.git("mv", "results/\u00e9", "results/b")
    repository.commit("rename")
    before = read(repository.results, "\u00e9", "b")
    assert [("begin", {"\u00e9": "one"}), ("rename", {"\u00e9": "", "b": "one"})] == before
    for setting in (
        "log.showRoot=false",
        "log.showSignature=true",
        "log.diffMerges=off",
        "log.decorate=full",
        "log.date=relative",
        "log.abbrevCommit=true",
        "diff.renames=copies",
        "diff.noprefix=true",
        "color.ui=always",
        "core.quotePath=true",
        "i18n.logOutputEncoding=latin1",
        "format.pretty=oneline",
    ):
        repository.git("config", *setting.split("="))
    assert before == read(repository.results, "\u00e9", "b")


def test_without_a_choice_it_is_main_else_master_else_what_is_checked_out(
    repository: Repository,
) -> None:
    repository.write("a", "one")
    repository.commit("begin")
    repository.git("switch", "--quiet", "--create", "topic")
    repository.commit("on topic")
    assert "main" == open_log(repository.results).branch
    repository.git("branch", "--quiet", "--move", "main", "master")
    assert "master" == open_log(repository.results).branch
    repository.git("branch", "--quiet", "--delete", "master")
    assert "HEAD" == open_log(repository.results).branch
    assert "topic" == open_log(repository.results, "topic").branch


@pytest.mark.parametrize("branch", ["mian", "-n1", ""])
def test_another_branch_is_refused(repository: Repository, branch: str) -> None:
    repository.write("a", "one")
    repository.commit("begin")
    with pytest.raises(ValueError, match=rf"^no branch '{branch}' in .*`git branch --all` lists"):
        open_log(repository.results, branch)


def test_a_shallow_clone_says_how_to_get_the_rest(repository: Repository, tmp_path: Path) -> None:
    repository.write("a", "one")
    repository.commit("begin")
    repository.commit("more")
    clone = tmp_path / "clone"
    source = f"file://{repository.top}"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", source, str(clone)], check=True)
    with pytest.raises(ValueError, match=r"shallow clone, .*`git fetch --unshallow` gets it$"):
        open_log(clone / "results")
    subprocess.run(["git", "-C", str(clone), "fetch", "--quiet", "--unshallow"], check=True)
    assert [("begin", {"a": "one"})] == read(clone / "results", "a")


def test_there_must_be_a_folder_a_repository_and_a_commit(
    repository: Repository, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"^no folder .*results: choose .* --results$"):
        open_log(repository.results)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="bare is in no git repository, so it has no history"):
        open_log(tmp_path / "bare")
    repository.write("a", "one")
    with pytest.raises(ValueError, match="has no commits yet: commit the results folder first"):
        open_log(repository.results)


def test_a_repository_that_git_refuses_is_told_in_its_words(repository: Repository) -> None:
    repository.write("a", "one")
    repository.commit("begin")
    (repository.top / ".git" / "config").write_text("[broken", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^git cannot read the history of .*bad config line"):
        open_log(repository.results)


def test_there_must_be_git(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.write("a", "one")
    monkeypatch.setenv("PATH", str(repository.top))
    with pytest.raises(ValueError, match=r"^the history needs git, which cannot be run"):
        open_log(repository.results)


def test_a_lost_object_is_named(repository: Repository) -> None:
    repository.write("a", "one")
    repository.commit("begin")
    with (
        open_log(repository.results).contents() as content,
        pytest.raises(ValueError, match=r"git has no object 1111.*`git fsck` says more"),
    ):
        content("1" * 40)


def test_the_folder_may_be_the_repository_s_top_or_deep_in_it(repository: Repository) -> None:
    repository.write("x/y/a", "one")
    repository.commit("begin")
    assert [("begin", {"a": "one"})] == read(repository.results / "x" / "y", "a")
    assert [("begin", {"results/x/y/a": "one"})] == read(repository.top, "results")
