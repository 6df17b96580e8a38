"""What a gate tells GitHub Actions: annotations, and the summary of the step.

Sources: GitHub's "Workflow commands for GitHub Actions"; the escapes are those of its own toolkit,
packages/core/src/command.ts.
"""

# without __future__.annotations: a function here has that name
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from vidcost.bench.gate.verdict import Verdict
from vidcost.bench.report.gate.verdicts import sentence

Level = Literal["error", "warning", "notice"]

MOST_ANNOTATIONS = 10
"""GitHub shows so many of one level for a step and drops the rest."""

SUMMARY_BYTES = 1 << 20
"""GitHub refuses a step's summary that is larger."""


def annotations(verdicts: Sequence[Verdict]) -> list[str]:
    """Errors of what regressed or is invalid, warnings, and notices of what improved.

    INCONCLUSIVE is a warning where the screen saw something that fresh pairs did not settle.
    """
    levels: dict[Level, list[tuple[str, str]]] = {"error": [], "warning": [], "notice": []}
    for verdict in verdicts:
        if level := _level(verdict):
            title = f"{verdict.word}: {verdict.subject}, {verdict.metric}"
            levels[level].append((title, sentence(verdict)))
    return [line for level, found in levels.items() for line in annotated(level, found)]


def annotated(level: Level, found: Sequence[tuple[str, str]]) -> list[str]:
    """Workflow commands for titles and messages; the last says how many GitHub would drop."""
    shown = list(found)
    if len(found) > MOST_ANNOTATIONS:
        shown = shown[: MOST_ANNOTATIONS - 1]
        shown.append((f"{len(found) - len(shown):,} more", "The log and the summary have them all"))
    return [f"::{level} title={_property(title)}::{_data(message)}" for title, message in shown]


def announce(lines: Iterable[str], *, err: bool = False) -> None:
    """Print workflow commands where GitHub reads them, and nowhere else.

    It reads both outputs of a step; ``err`` keeps standard output for data.
    """
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in lines:
            print(line, file=sys.stderr if err else sys.stdout)


def append_summary(markdown: str) -> str | None:
    """Append to the summary of the step, if there is one; say why if it cannot be written.

    What is too long for GitHub loses rows of its table from below, and says how many.
    """
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return None
    path = Path(name)
    try:
        written = path.stat().st_size if path.exists() else 0
        text = _fitting(("\n" if written else "") + markdown, SUMMARY_BYTES - written)
        if text is None:
            return f"no summary: {name} has no room left"
        with path.open("ab") as file:
            file.write(_encoded(text))
    except OSError as error:
        return f"no summary, cannot write {name}: {error.strerror or error}"
    return None


def _level(verdict: Verdict) -> Level | None:
    match verdict.word:
        case "REGRESSED" | "INVALID":
            return "error"
        # only what was confirmed has a p
        case "INCONCLUSIVE" if verdict.p is not None:
            return "warning"
        case "IMPROVED":
            return "notice"
    return None


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _fitting(markdown: str, most_bytes: int) -> str | None:
    """The text, without as many rows as needed; None if the rest is too long as well."""
    excess = len(_encoded(markdown)) - most_bytes
    if excess <= 0:
        return markdown
    lines = markdown.split("\n")
    # a table's heading and the line below it stay
    rows = [number for number, line in enumerate(lines) if line.startswith("|")][2:]
    excess += len(_encoded(_left_out(len(rows))))
    cut = set()
    while rows and excess > 0:
        cut.add(rows[-1])
        excess -= len(_encoded(lines[rows.pop()])) + len("\n")
    if excess > 0:
        return None
    kept = [line for number, line in enumerate(lines) if number not in cut]
    return "\n".join(kept) + _left_out(len(cut))


def _left_out(rows: int) -> str:
    return f"\n{rows:,} rows are left out: GitHub takes no more than 1 MiB.\n"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="backslashreplace")
