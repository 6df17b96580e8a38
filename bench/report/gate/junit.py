"""Verdicts of a gate as JUnit XML, which CI servers show as tests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from vidcost.bench.gate.record import Run, SampleComparison, Verdict, Word
from vidcost.bench.report.gate.verdicts import sentence

_RESULTS: Mapping[Word, type[Error | Failure | Skipped]] = {
    "REGRESSED": Failure,
    "INVALID": Error,
    "INCONCLUSIVE": Skipped,
}

# XML 1.0, production 2: no document may hold these, escaped or not
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(verdicts: Sequence[Verdict], properties: Mapping[str, str]) -> str:
    """A test suite for each metric with a test case for each target, and the same ``properties``.

    REGRESSED is a failure, INVALID an error, INCONCLUSIVE skipped. The time of a test case is
    head's latency in seconds.
    """
    root = JUnitXml("vidcost gate")
    for metric in dict.fromkeys(verdict.metric for verdict in verdicts):
        suite = TestSuite(metric)
        for name, value in properties.items():
            suite.add_property(_legal(name), _legal(value))
        suite.add_testcases([_case(verdict) for verdict in verdicts if verdict.metric == metric])
        root.add_testsuite(suite)
    root.update_statistics()  # type: ignore[no-untyped-call]
    written: bytes = root.tostring()  # type: ignore[no-untyped-call]
    return written.decode() + "\n"


def properties_of(measured: Run | SampleComparison) -> dict[str, str]:
    """Versions, seed and machines of a run; files and machines of stored benchmarks."""
    if isinstance(measured, SampleComparison):
        known = measured.model_dump(include={"vidcost", "base", "head"})
        machines = {f"machine.{n}": machine for n, machine in enumerate(measured.machines)}
        return _flat(known | machines)
    known = measured.model_dump(include={"vidcost", "started", "seed", "complete", "base", "head"})
    return _flat(known)


def _flat(known: Mapping[str, object], above: str = "") -> dict[str, str]:
    """Nested fields by dotted names, without those that are None."""
    found: dict[str, str] = {}
    for name, value in known.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name}.")
        elif value is not None:
            found[f"{above}{name}"] = str(value)
    return found


def _case(verdict: Verdict) -> TestCase:
    case = TestCase(_legal(verdict.target), classname=f"vidcost.gate.{verdict.metric}")
    if verdict.metric == "latency" and verdict.head is not None:
        case.time = verdict.head
    if kind := _RESULTS.get(verdict.word):
        result = kind(_legal(verdict.why), verdict.word)
        result.text = _legal(sentence(verdict))
        case.result = [result]
    return case


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
