"""Answers of the counters, kept under the user's cache folder by the content of the question."""

from __future__ import annotations

from pathlib import Path

from vidcost.bench import files


def folder() -> Path:
    """Where the answers lie."""
    return files.cache_folder() / "reference_counters"


def load(key: str) -> str | None:
    """The answer kept under ``key``; None if there is none that can be read."""
    try:
        return (folder() / f"{key}.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def store(key: str, answer: str) -> None:
    """Keep ``answer``; a cache folder that cannot be written costs only the time next time."""
    try:
        files.write(folder() / f"{key}.json", answer)
    except ValueError:
        return


def clear() -> int:
    """Forget all answers; returns how many there were.

    Raises: ValueError if one cannot be removed.
    """
    kept = sorted(folder().glob("*.json"))
    for path in kept:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ValueError(f"cannot remove {path}: {error.strerror}") from None
    return len(kept)
