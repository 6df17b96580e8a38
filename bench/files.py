"""Results files: written whole or not at all."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json

ATLAS = "atlas.jsonl"
"""The atlas, in a results folder."""


def cache_folder() -> Path:
    """The user's cache folder: ``$XDG_CACHE_HOME/vidcost``, by default ``~/.cache/vidcost``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vidcost"


def write(path: Path, content: str | bytes) -> None:
    """Write ``content`` to ``path`` atomically, making its folder; text as UTF-8.

    Raises: ValueError with the path if it cannot be written; what stood there is untouched.
    """
    with replaced(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file to write to, which takes the place of ``path`` when it is done; makes the folder.

    Raises: ValueError with the path if it cannot be written; what stood there is untouched, as it
        is if anything else is raised meanwhile.
    """
    draft = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            draft = Path(file.name)
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        # the temporary file is private; results are for everybody
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o666 & ~umask)
        draft.replace(path)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)


def append_line(file: BinaryIO, line: bytes) -> None:
    """Write ``line`` at the end of an unbuffered file and sync it: all of it or nothing."""
    size = file.seek(0, os.SEEK_END)
    try:
        rest = memoryview(line)
        while rest:
            # a disk that fills up writes only a part
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except BaseException:
        file.truncate(size)
        raise


def is_object(text: bytes) -> bool:
    """Whether ``text`` is a whole JSON object: no part of an object's text is one."""
    try:
        return isinstance(from_json(text), dict)
    except ValueError:
        return False


def check_folder(folder: Path) -> None:
    """Reject a results folder that cannot be written, before any work is done.

    Raises: ValueError with the path.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"cannot write results to {folder}: {error.strerror or error}; "
            "choose another folder with --results"
        ) from None


def stored_lines(path: Path, command: str) -> list[dict[str, Any]]:
    """The lines of a file of JSON lines, below the header that counts them; none without a file.

    Raises: ValueError if it is damaged, with the ``command`` that writes it.
    """
    if not path.is_file():
        return []
    try:
        header, *lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if header["records"] == len(lines) and all(isinstance(line, dict) for line in lines):
            return lines
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise ValueError(f"{path} is damaged: `{command}` writes the file anew")
