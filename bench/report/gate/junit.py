"""Verdicts of a gate as JUnit's XML, which CI servers show as tests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from vidcost.bench.gate.record import Run
from vidcost.bench.gate.sample_comparison import SampleComparison
from vidcost.bench.gate.verdict import Verdict, Word
from vidcost.bench.report.gate.verdicts import sentence

_ELEMENTS: Mapping[Word, str] = {
    "REGRESSED": "failure",
    "INVALID": "error",
    "INCONCLUSIVE": "skipped",
}
"""What a test case holds that did not pass."""

_COUNTERS = {"failure": "failures", "error": "errors", "skipped": "skipped"}

# XML 1.0, production 2: what no document may hold, escaped or not
_NO_CHARACTER = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(verdicts: Sequence[Verdict], properties: Mapping[str, str]) -> str:
    """A test suite for each metric, a test case for each subject; ``properties`` are all suites'.

    REGRESSED is a failure, INVALID an error, INCONCLUSIVE skipped. The time of a test case is
    head's latency in seconds; one without a latency has none.
    """
    root = ElementTree.Element("testsuites", {"name": "vidcost gate", **_counts(verdicts)})
    # a suite may say how many were skipped, all of them together may not
    del root.attrib["skipped"]
    for metric in dict.fromkeys(verdict.metric for verdict in verdicts):
        chosen = [verdict for verdict in verdicts if verdict.metric == metric]
        suite = ElementTree.SubElement(root, "testsuite", {"name": metric, **_counts(chosen)})
        about = ElementTree.SubElement(suite, "properties")
        for name, value in properties.items():
            ElementTree.SubElement(about, "property", name=_legal(name), value=_legal(value))
        for verdict in chosen:
            _add_case(suite, verdict)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written.decode() + "\n"


def properties_of(measured: Run | SampleComparison) -> dict[str, str]:
    """What a reader of the XML needs to know: versions, seed, machines; or files and machines."""
    return _of_run(measured) if isinstance(measured, Run) else _of_samples(measured)


def _of_run(run: Run) -> dict[str, str]:
    found = {
        "vidcost": run.vidcost,
        "started": run.started,
        "seed": str(run.seed),
        "complete": str(run.complete).lower(),
    }
    for side, version in (("base", run.base), ("head", run.head)):
        known = version.model_dump(exclude={"machine"})
        if version.machine is not None:
            fields = version.machine.model_dump().items()
            known |= {f"machine.{name}": value for name, value in fields}
        found |= {f"{side}.{name}": str(value) for name, value in known.items()}
    return found


def _of_samples(samples: SampleComparison) -> dict[str, str]:
    found = {"vidcost": samples.vidcost, "base": samples.base, "head": samples.head}
    for number, machine in enumerate(samples.machines):
        found |= {f"machine.{number}.{field}": value for field, value in machine.items()}
    return found


def _counts(verdicts: Sequence[Verdict]) -> dict[str, str]:
    found = [_ELEMENTS.get(verdict.word) for verdict in verdicts]
    counts = {counter: str(found.count(element)) for element, counter in _COUNTERS.items()}
    return {"tests": str(len(verdicts)), **counts}


def _add_case(suite: ElementTree.Element, verdict: Verdict) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=f"vidcost.gate.{verdict.metric}",
        name=_legal(verdict.subject),
    )
    if verdict.metric == "latency" and verdict.head is not None:
        case.set("time", f"{verdict.head:.9f}")
    if element := _ELEMENTS.get(verdict.word):
        found = ElementTree.SubElement(case, element, message=_legal(verdict.why))
        found.text = _legal(sentence(verdict))
        # a skipped test has no type in JUnit's schema
        if element != "skipped":
            found.set("type", verdict.word)


def _legal(text: str) -> str:
    return _NO_CHARACTER.sub("\ufffd", text)
