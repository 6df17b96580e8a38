"""Verdicts of a gate as JUnit XML, which CI servers show as tests."""

import re
from collections.abc import Mapping, Sequence

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from vidcost.bench.gate.record import Verdict, Word
from vidcost.bench.report.gate.verdicts import sentence

_RESULTS: Mapping[Word, type[Error | Failure | Skipped] | None] = {
    "REGRESSED": Failure,
    "INVALID": Error,
    "INCONCLUSIVE": Skipped,
    "IMPROVED": None,
    "EQUIVALENT": None,
}

# XML 1.0, production 2: no document may hold these, escaped or not
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(verdicts: Sequence[Verdict], ran: Sequence[str] = ()) -> str:
    """A test suite for each metric with a test case for each target.

    REGRESSED is a failure, INVALID an error, INCONCLUSIVE skipped. The time of a test case is
    head's latency in seconds. ``ran``, of :func:`verdicts.what_ran`, are properties of each suite.
    """
    root = JUnitXml("vidcost gate")
    for metric in dict.fromkeys(verdict.metric for verdict in verdicts):
        suite = TestSuite(metric)
        for number, line in enumerate(ran, start=1):
            suite.add_property(f"ran.{number}", _legal(line))
        suite.add_testcases([_case(verdict) for verdict in verdicts if verdict.metric == metric])
        root.add_testsuite(suite)
    root.update_statistics()  # type: ignore[no-untyped-call]
    written: bytes = root.tostring()  # type: ignore[no-untyped-call]
    return written.decode() + "\n"


def _case(verdict: Verdict) -> TestCase:
    case = TestCase(_legal(verdict.target), classname=f"vidcost.gate.{verdict.metric}")
    if verdict.metric == "latency" and verdict.head is not None:
        case.time = verdict.head
    if kind := _RESULTS[verdict.word]:
        result = kind(_legal(verdict.why), verdict.word)
        result.text = _legal(sentence(verdict))
        case.result = [result]
    return case


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
