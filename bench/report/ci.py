"""Output of a gate for CI: GitHub's annotations and summary of the step, and JUnit XML.

Sources: GitHub's "Workflow commands for GitHub Actions"; the escapes are those of its toolkit,
packages/core/src/command.ts.
"""

# without __future__.annotations: a function here has that name
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, assert_never, get_args

from vidcost.bench.gate.record import Rule, Verdict, hides
from vidcost.bench.report.gate import sentence

Level = Literal["error", "warning", "notice"]

MOST_ANNOTATIONS = 10
"""GitHub shows so many of one level for a step and drops the rest."""

# XML 1.0, production 2: no document may hold these, escaped or not
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


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
    """Append to the summary of the step, if there is one.

    Returns: why it could not be written, or None.
    """
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    try:
        if name:
            with Path(name).open("ab") as file:
                file.write(f"\n{markdown}".encode(errors="backslashreplace"))
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


def junit(verdicts: Sequence[Verdict], ran: Sequence[str] = ()) -> str:
    """A test suite for each metric with a test case for each target.

    REGRESSED is a failure, INVALID an error, INCONCLUSIVE skipped. The time of a test case is
    head's latency in seconds. ``ran``, of :func:`what_ran`, are properties of each suite.
    """
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    results = {"REGRESSED": Failure, "INVALID": Error, "INCONCLUSIVE": Skipped}
    root = JUnitXml("vidcost gate")
    for metric in dict.fromkeys(verdict.metric for verdict in verdicts):
        suite = TestSuite(metric)
        for number, line in enumerate(ran, start=1):
            suite.add_property(f"ran.{number}", _legal(line))
        for verdict in (each for each in verdicts if each.metric == metric):
            case = TestCase(_legal(verdict.target), classname=f"vidcost.gate.{metric}")
            if metric == "latency" and verdict.head is not None:
                case.time = verdict.head
            if kind := results.get(verdict.word):
                result = kind(_legal(verdict.why), verdict.word)
                result.text = _legal(sentence(verdict))
                case.result = [result]
            suite.add_testcase(case)
        root.add_testsuite(suite)
    root.update_statistics()  # type: ignore[no-untyped-call]
    written: bytes = root.tostring()  # type: ignore[no-untyped-call]
    return written.decode() + "\n"


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
