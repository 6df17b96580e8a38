"""Small git repositories with planted records."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from vidcost.bench.count import record
from vidcost.bench.count.record import Record
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import Store


class Repository:
    """A repository whose commits are a day apart; ``results`` is its results folder."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = top
        self.results = top / "results"
        self._monkeypatch = monkeypatch
        self._commits = 0
        top.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *args: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.top), *args], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def counts(self, *records: Record) -> None:
        record.write(self.results, records, command="vidcost run")

    def timings(self, *timings: Timing, file: str = "abacus.jsonl") -> None:
        store = Store(self.results / "timings" / file)
        for timing in timings:
            store.append(timing)

    def write(self, path: str, content: str) -> None:
        (self.results / path).parent.mkdir(parents=True, exist_ok=True)
        (self.results / path).write_text(content, encoding="utf-8")

    def commit(self, subject: str) -> str:
        """Commit all there is; returns the commit."""
        self._date()
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.git("rev-parse", "HEAD")

    def merge(self, branch: str, subject: str) -> str:
        self._date()
        self.git("merge", "--quiet", "--no-ff", "--message", subject, branch)
        return self.git("rev-parse", "HEAD")

    def _date(self) -> None:
        self._commits += 1
        for who in ("AUTHOR", "COMMITTER"):
            date = f"2026-{1 + self._commits // 28:02d}-{1 + self._commits % 28:02d}T12:00:00+00:00"
            self._monkeypatch.setenv(f"GIT_{who}_DATE", date)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have git know nobody's settings, and no repository above the tests'."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ada@example.com")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return Repository(tmp_path / "repository", monkeypatch)


@pytest.fixture
def lines() -> Callable[[Iterable[Record]], bytes]:
    """The baseline of records, as a commit has it."""

    def make(records: Iterable[Record]) -> bytes:
        every = list(records)
        head = f'{{"records": {len(every)}}}'
        return "\n".join([head, *(each.model_dump_json() for each in every), ""]).encode()

    return make
