"""Copies of large files of timings as Parquet, with their figures, in the user's cache folder.

A copy holds the records of the first so many bytes of a file. It stands for them as long as those
bytes are what they were; what has been appended since is read from the file itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel

from vidcost.bench import files
from vidcost.bench.query import records
from vidcost.bench.query.sql import quoted
from vidcost.bench.timing.store import Store

if TYPE_CHECKING:
    import duckdb

SMALL_BYTES = 16 << 20
"""So much is read in a tenth of a second: no smaller file is copied, and no copy made anew because
less has been appended."""

_PIECE_BYTES = 32 << 20
_BUFFER_BYTES = 1 << 20


class Source(NamedTuple):
    """SQL of a file's figures, and the Parquet file that it reads, if any."""

    sql: str
    parquet: Path | None


class _Copy(BaseModel):
    """What a copy, the file ``parquet``, is of: so many bytes and lines of ``source``.

    ``digests`` are those of the pieces of its bytes. ``seen`` are size, time and inode that the
    source had when they were last compared.
    """

    source: Path
    parquet: Path
    size_bytes: int
    lines: int
    digests: tuple[str, ...]
    seen: tuple[int, int, int]


def folder() -> Path:
    """Where the copies lie."""
    return files.cache_folder() / "timings"


def clear() -> int:
    """Remove all copies; returns how many there were.

    Raises: ValueError if one cannot be removed.
    """
    copies = sorted(folder().glob("*.parquet"))
    for path in [*folder().glob("*.json"), *copies]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ValueError(f"cannot remove {path}: {error.strerror}") from None
    return len(copies)


def source(
    con: duckdb.DuckDBPyConnection,
    path: Path,
    table: str,
    *,
    workspace: Path,
    note: Callable[[str], None],
) -> Source:
    """The figures of the latest record of every key in a file of timings.

    What is read from the file itself lies in ``stored.<table>`` then. ``workspace`` is a folder of
    this process; ``note`` is told what a user should know.
    Raises: ValueError naming file and line if one is damaged.
    """
    end, warning = Store(path).extent()
    if warning:
        note(warning)
    copy = None
    if end > SMALL_BYTES:
        copy = _kept(path, end) or _made(con, path, end, workspace, note)
    start = copy.size_bytes if copy else 0
    if copy and start == end:
        return Source(f"from read_parquet({quoted(copy.parquet)})", copy.parquet)
    with path.open("rb") as file:
        file.seek(start)
        piece = file.read(end - start)
    rest = workspace / f"{table}.jsonl"
    rest.write_bytes(piece)
    lines = piece.count(b"\n") + (not piece.endswith(b"\n") and bool(piece))
    sql = records.read(con, rest, lines, of=path, before=copy.lines if copy else 0)
    con.execute(f"create or replace table stored.{table} as {sql}")
    rest.unlink()
    if copy is None:
        return Source(f"from stored.{table}", None)
    return Source(
        f"from read_parquet({quoted(copy.parquet)}) where key not in "
        f"(select key from stored.{table}) union all by name from stored.{table}",
        copy.parquet,
    )


def _kept(path: Path, end: int) -> _Copy | None:
    """The copy of the beginning of ``path``, if there is one and nothing of that has changed."""
    about = _about(path)
    try:
        copy = _Copy.model_validate_json(about.read_bytes())
    except (OSError, ValueError):
        return None
    if not copy.parquet.is_file() or not 0 <= end - copy.size_bytes <= SMALL_BYTES:
        return None
    seen = _state(path)
    if seen != copy.seen:
        if _digests(path, copy.size_bytes) != copy.digests:
            return None
        copy = copy.model_copy(update={"seen": seen})
        # only saves comparing again
        with contextlib.suppress(ValueError):
            files.write(about, copy.model_dump_json())
    return copy


def _made(
    con: duckdb.DuckDBPyConnection,
    path: Path,
    end: int,
    workspace: Path,
    note: Callable[[str], None],
) -> _Copy:
    """Copy the lines of ``path`` that end before ``end``; into the workspace if it must be."""
    # what is changed from now on is compared the next time
    seen = _state(path)
    end = _last_newline(path, end)
    digests = _digests(path, end)
    lines = sum(bytes(data).count(b"\n") for data in _read(path, 0, end))
    sql = records.read(con, path, lines, of=path)
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    where = folder()
    try:
        files.check_folder(where)
    except ValueError:
        note(f"no copy of {path} can be kept in {where}: every query reads all of it")
        where = workspace
    _remove_orphans()
    parquet = where / f"{_about(path).stem}-{digest[:16]}.parquet"
    with files.replaced(parquet) as draft:
        con.execute(f"copy ({sql}) to {quoted(draft)} (format parquet, compression zstd)")
    con.execute("drop table stored.raw")
    copy = _Copy(
        source=path.resolve(),
        parquet=parquet,
        size_bytes=end,
        lines=lines,
        digests=digests,
        seen=seen,
    )
    if where != workspace:
        files.write(_about(path), copy.model_dump_json())
        for old in where.glob(f"{_about(path).stem}-*.parquet"):
            if old != parquet:
                old.unlink(missing_ok=True)
        note(f"{lines:,} lines of {path} are kept as Parquet in {where}: the next query is faster")
    return copy


def _about(path: Path) -> Path:
    """The file that says what the copy of ``path`` is of."""
    name = f"{records.LAYOUT}\n{path.resolve()}"
    return folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _remove_orphans() -> None:
    """Remove the copies of files that are gone."""
    for about in folder().glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            copy = _Copy.model_validate_json(about.read_bytes())
            if not copy.source.exists():
                about.unlink(missing_ok=True)
                copy.parquet.unlink(missing_ok=True)


def _state(path: Path) -> tuple[int, int, int]:
    now = path.stat()
    return now.st_size, now.st_mtime_ns, now.st_ino


def _digests(path: Path, end: int) -> tuple[str, ...]:
    """Digests of the first ``end`` bytes, piece by piece."""

    def digest(start: int) -> str:
        found = hashlib.sha256()
        for data in _read(path, start, min(start + _PIECE_BYTES, end)):
            found.update(data)
        return found.hexdigest()

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return tuple(threads.map(digest, range(0, end, _PIECE_BYTES)))


def _read(path: Path, start: int, end: int) -> Iterator[memoryview]:
    """The bytes from ``start`` to ``end``, in one buffer after the other, which is always the same:
    new memory takes as long as reading.
    """
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while start < end and (size := file.readinto(buffer[: end - start])):
            start += size
            yield buffer[:size]


def _last_newline(path: Path, end: int) -> int:
    """Where the last line of the first ``end`` bytes ends that has a newline."""
    with path.open("rb") as file:
        while end:
            start = max(0, end - (1 << 16))
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return end
