"""What the gates say: tables, sentences, workflow commands and summaries of GitHub, JUnit XML."""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from vidcost.bench.gate import record
from vidcost.bench.gate.baseline import Comparison
from vidcost.bench.report.table import Column, Table, end, integer, integer_or_words, percent, text
from vidcost.bench.report.timing import machine_in_words, megabytes, milliseconds
from vidcost.bench.timing.record import UNKNOWN

# exact counts


def change_table(found: Comparison, *legend: str) -> Table:
    """A line for each figure that differs from a baseline."""
    of = f" of {found.changed[0]}" if len(found.changed) == 1 else ""
    return Table(
        title=f"Counts{of} that differ from the baseline",
        columns=(
            Column("row", "Network", is_wide=bool(of)),
            Column("field", "Figure"),
            Column("before", "Before", integer_or_words),
            Column("after", "After", integer_or_words),
            Column("difference", "Difference", lambda value: f"{value:+,}"),
            Column("percent", "Percent", _percent),
        ),
        lines=[
            asdict(each) | {"difference": each.difference, "percent": each.percent}
            for each in found.changes
        ],
        legend=legend,
    )


def row_legend(found: Comparison) -> tuple[str, str]:
    """What the figures of rows are, whose baseline has other counters' answers, and what to do."""
    advice = (
        'If the change is intended: `vidcost gate accept --reason "..."`, which asks the other '
        "counters about the changed rows and keeps the reason."
    )
    if broken := [each.row for each in found.changes if each.is_broken]:
        advice = (
            f"Mend first: {', '.join(broken)}. A row that cannot be counted, or whose closed form "
            "does not give the count, is not accepted."
        )
    return (
        "Before: the baseline, with the answers of fvcore and thop on real tensors. After: "
        "counted now, and for the other counters computed from their conventions, without "
        "running them. An improvement fails as well. An en dash: no such figure.",
        advice,
    )


def summary_line(found: Comparison, baseline: Path) -> str:
    """How much was compared, and how much differs."""
    compared = f"{found.networks:,} networks, {found.figures:,} figures compared"
    if not found.changes:
        return f"{compared}: all as in {baseline}"
    return (
        f"{compared}: {len(found.changes):,} differences from {baseline} in "
        f"{len(found.changed):,} networks"
    )


def change_annotations(found: Comparison) -> list[str]:
    """A workflow command of GitHub for each change."""
    return [
        annotation("error", f"{each.row}: {each.field}", f"was {each.before}, is {each.after}")
        for each in found.changes
    ]


def _percent(percent: float) -> str:
    """Three digits, never an exponent: 1 of 7,842,568 is +0.0000128%."""
    return f"{Decimal(f'{percent:.3g}'):+,f}%"


# verdicts

_MEANINGS: Mapping[record.Word, str] = {
    "REGRESSED": "slower, or needs more memory, by more than the margin",
    "INVALID": "not measured as planned, which says nothing about the change",
    "INCONCLUSIVE": "shown neither to differ by more than the margin nor to be equal",
    "IMPROVED": "faster, or needs less memory, by more than the margin",
    "EQUIVALENT": "shown not to differ by more than is allowed",
}
"""In the order of the table: first what needs an action."""


def change(ratio: float) -> str:
    """1.0623 -> +6.2%."""
    return f"{ratio - 1:+z.1%}"


_COLUMNS = (
    Column("target", "Target", end, text),
    Column("metric", "Metric"),
    Column("word", "Verdict"),
    Column("ratio", "Head/base", change),
    Column("low", "95% from", change),
    Column("high", "to", change),
    Column("margin", "Margin", percent, is_wide=True),
    Column("pairs", "Pairs", integer, is_wide=True),
    Column("base_s", "Base, ms", milliseconds, is_wide=True),
    Column("head_s", "Head, ms", milliseconds, is_wide=True),
    Column("base_bytes", "Base, MB", megabytes, is_wide=True),
    Column("head_bytes", "Head, MB", megabytes, is_wide=True),
    Column("why", "Why", is_wide=True),
)


def verdict_table(verdicts: Sequence[record.Verdict], ran: Sequence[str] = ()) -> Table:
    """A line for each verdict, the worst first, otherwise in the order given.

    The legend has the reasons, but for EQUIVALENT, and ``ran``, of :func:`what_ran`.
    """
    ordered = sorted(verdicts, key=lambda verdict: list(_MEANINGS).index(verdict.word))
    numbers = Counter(verdict.word for verdict in ordered)
    tally = ", ".join(f"{number:,} {word}" for word, number in numbers.items())
    lines = [_line(verdict) for verdict in ordered]
    meanings = "; ".join(f"{word}: {_MEANINGS[word]}" for word in numbers)
    return Table(
        title=f"Gate: {tally or 'nothing judged'}",
        columns=_COLUMNS,
        lines=lines,
        legend=[
            *(
                f"{v.word}, {v.target}, {v.metric}: {' '.join(v.why.split())}."
                for v in ordered
                if v.word != "EQUIVALENT" and v.why
            ),
            *ran,
            f"{meanings}. Head/base: how much slower (+) or faster (-) head is, or how much more "
            "or less memory it needs, with the 95% interval. Latency: medians of processes; "
            "memory: the peak above the weights. --wide: margin, pairs, both sides.",
        ],
    )


def _line(verdict: record.Verdict) -> dict[str, Any]:
    sides: dict[str, Any] = dict.fromkeys(("base_s", "head_s", "base_bytes", "head_bytes"))
    if verdict.metric == "latency":
        sides |= {"base_s": verdict.base, "head_s": verdict.head}
    elif verdict.base is not None and verdict.head is not None:
        sides |= {"base_bytes": int(verdict.base), "head_bytes": int(verdict.head)}
    known = {"pairs": verdict.pairs or None, "why": " ".join(verdict.why.split()) or None}
    return verdict.model_dump(exclude={"base", "head", "p"}) | sides | known


def sentence(verdict: record.Verdict) -> str:
    """The reason and the ratio of a verdict, without its target."""
    said = " ".join(verdict.why.split())
    if verdict.ratio is None:
        return said
    interval = ""
    if verdict.low is not None and verdict.high is not None:
        interval = f" (95%: {change(verdict.low)} to {change(verdict.high)})"
    return f"{said}; head over base {change(verdict.ratio)}{interval}"


def what_ran(measured: record.Run | record.SampleComparison) -> tuple[str, ...]:
    """The two sides, the machine, the number of pairs, and what is missing."""
    notes = [f"Note: {note}." for note in measured.notes]
    if isinstance(measured, record.SampleComparison):
        sides = f"Base: {measured.base}. Head: {measured.head}. vidcost {measured.vidcost}."
        known = [f"{field} {value}" for field, value in measured.conditions.items()]
        known = [each for each in known if not each.endswith(UNKNOWN)]
        return (sides, f"Conditions: {', '.join(known)}.", *notes)
    rule = measured.rule
    confirmed = len({visit.cell for visit in measured.visits if visit.stage == "confirm"})
    if not measured.complete:
        notes.append("Incomplete: pairs are still to be measured.")
    return (
        f"Base: {_version(measured.base)}. Head: {_version(measured.head)}. Started "
        f"{measured.started}, seed {measured.seed}, vidcost {measured.vidcost}.",
        machine_in_words(measured.machine),
        f"Pairs of processes, base and head in random order: {rule.screen_pairs} for each of "
        f"{len(measured.cells):,} targets; {confirmed:,} of them again on {rule.confirm_pairs} to "
        f"{rule.most_pairs} fresh ones.",
        *notes,
    )


def _version(version: record.Version) -> str:
    short = version.commit[:12]
    return short if version.ref == version.commit else f"{version.ref} ({short})"


# GitHub Actions. Sources: "Workflow commands for GitHub Actions"; the escapes are those of its
# toolkit, packages/core/src/command.ts


def annotations(verdicts: Sequence[record.Verdict], rule: record.Rule) -> list[str]:
    """A workflow command for each verdict that needs an action, and notices of IMPROVED."""
    return [
        annotation(each, f"{v.word}: {v.target}, {v.metric}", sentence(v))
        for each in get_args(record.Level)
        for v in verdicts
        if record.level(v, rule) == each
    ]


def annotation(kind: record.Level, title: str, message: str) -> str:
    """A workflow command that shows a message beside the change."""
    title = _data(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={title}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def tell_github(commands: Iterable[str], markdown: str, *, err: bool = False) -> None:
    """On GitHub Actions, print workflow commands and append to the summary of the step.

    ``err`` keeps standard output for data: GitHub reads both outputs of a step. A summary that
    cannot be written changes no verdict: a line says so.
    """
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in commands:
            print(line, file=sys.stderr if err else sys.stdout)
    if name := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(name).open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"\n{markdown}")
        except OSError as error:
            print(f"vidcost: cannot write the summary {name}: {error.strerror}", file=sys.stderr)


# OpenMetrics 1.0, whose changes GitLab shows beside a merge request

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def openmetrics(verdicts: Sequence[record.Verdict]) -> str:
    """A gauge of latency and one of memory, with a sample of each target and side."""
    lines = []
    for metric, unit in (("latency", "seconds"), ("memory", "bytes")):
        name = f"vidcost_{metric}_{unit}"
        lines += [f"# TYPE {name} gauge", f"# UNIT {name} {unit}"]
        lines += [
            f'{name}{{target="{each.target.translate(_ESCAPED)}",side="{side}"}} {value!r}'
            for each in verdicts
            if each.metric == metric
            for side, value in (("base", each.base), ("head", each.head))
            if value is not None
        ]
    return "\n".join([*lines, "# EOF", ""])


# JUnit XML, which CI servers show as tests

# XML 1.0, production 2: no document may hold these, escaped or not
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(verdicts: Sequence[record.Verdict], ran: Sequence[str] = ()) -> str:
    """A test suite for each metric with a test case for each target; needs the extra junit.

    REGRESSED is a failure, INVALID an error, INCONCLUSIVE skipped. The time of a test case is
    head's latency in seconds. ``ran``, of :func:`what_ran`, are properties of each suite.
    """
    # only who wants this file needs the package for it
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    kinds = {"REGRESSED": Failure, "INVALID": Error, "INCONCLUSIVE": Skipped}
    suites: dict[str, TestSuite] = {}
    for verdict in verdicts:
        case = TestCase(_legal(verdict.target), classname=f"vidcost.gate.{verdict.metric}")
        if verdict.metric == "latency" and verdict.head is not None:
            case.time = verdict.head
        if kind := kinds.get(verdict.word):
            result = kind(_legal(verdict.why), verdict.word)
            result.text = _legal(sentence(verdict))
            case.result = [result]
        suites.setdefault(verdict.metric, TestSuite(verdict.metric)).add_testcase(case)
    root = JUnitXml("vidcost gate")
    for suite in suites.values():
        for number, line in enumerate(ran, start=1):
            suite.add_property(f"ran.{number}", _legal(line))
        root.add_testsuite(suite)
    root.update_statistics()  # type: ignore[no-untyped-call]
    written: bytes = root.tostring()  # type: ignore[no-untyped-call]
    return written.decode() + "\n"


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
