"""Asking git about the repository that is gated."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    """What git prints.  Raises: ValueError, in a line, if it fails or is not installed."""
    try:
        process = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        raise ValueError("git is not installed: two versions are checked out by it") from None
    if process.returncode:
        last = process.stderr.strip().splitlines()[-1:] or ["it failed"]
        raise ValueError(f"git {arguments[0]}: {last[0].removeprefix('fatal: ')}")
    return process.stdout.strip()
