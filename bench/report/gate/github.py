"""Output of a gate for GitHub Actions: annotations, and the summary of the step.

Sources: GitHub's "Workflow commands for GitHub Actions"; the escapes are those of its toolkit,
packages/core/src/command.ts.
"""

# without __future__.annotations: a function here has that name
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, assert_never, get_args

from vidcost.bench.gate.record import Rule, Verdict, hides
from vidcost.bench.report.gate.verdicts import sentence

Level = Literal["error", "warning", "notice"]

MOST_ANNOTATIONS = 10
"""GitHub shows so many of one level for a step and drops the rest."""

SUMMARY_BYTES = 1 << 20
"""GitHub rejects a larger summary of a step."""

_CUT = b"\nThe rest is left out: GitHub takes no more than 1 MiB.\n"


def annotations(verdicts: Sequence[Verdict], rule: Rule) -> list[str]:
    """A workflow command for each verdict that needs an action, and notices of IMPROVED."""
    lines = []
    for level in get_args(Level):
        found = [v for v in verdicts if _level(v, rule) == level]
        titles = [f"{v.word}: {v.target}, {v.metric}" for v in found]
        lines += annotated(level, list(zip(titles, map(sentence, found), strict=True)))
    return lines


def annotated(level: Level, found: Sequence[tuple[str, str]]) -> list[str]:
    """Workflow commands of titles and messages; the last one counts those that GitHub drops."""
    shown = list(found)
    if len(found) > MOST_ANNOTATIONS:
        shown = shown[: MOST_ANNOTATIONS - 1]
        shown.append((f"{len(found) - len(shown):,} more", "The log and the summary have them all"))
    return [f"::{level} title={_property(title)}::{_data(message)}" for title, message in shown]


def announce(lines: Iterable[str], *, err: bool = False) -> None:
    """Print workflow commands if this runs on GitHub Actions, which reads both outputs of a step.

    ``err`` keeps standard output for data.
    """
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in lines:
            print(line, file=sys.stderr if err else sys.stdout)


def append_summary(markdown: str) -> str | None:
    """Append to the summary of the step, if there is one; cut at a line what GitHub rejects.

    Returns: why it could not be written, or None.
    """
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return None
    path, text = Path(name), f"\n{markdown}".encode(errors="backslashreplace")
    try:
        room = SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0)
        if len(text) > room:
            text = text[: max(0, text.rfind(b"\n", 0, room - len(_CUT)) + 1)] + _CUT
        if len(text) > room:
            return f"no summary: {name} has no room left"
        with path.open("ab") as file:
            file.write(text)
    except OSError as error:
        return f"no summary, cannot write {name}: {error.strerror or error}"
    return None


def _level(verdict: Verdict, rule: Rule) -> Level | None:
    match verdict.word:
        case "REGRESSED" | "INVALID":
            return "error"
        case "INCONCLUSIVE" if hides(verdict, rule):
            return "error" if rule.inconclusive == "fail" else "warning"
        case "IMPROVED":
            return "notice"
        case "INCONCLUSIVE" | "EQUIVALENT":
            return None
        case _:
            assert_never(verdict.word)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
