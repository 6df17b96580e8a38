"""Everything the report shows, read from the results folder or counted on the spot."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vidcost.bench import published
from vidcost.bench.audit.verdicts import Judged, judge
from vidcost.bench.count import record
from vidcost.bench.count.ledger import Entry
from vidcost.bench.count.record import Record
from vidcost.bench.gate import trial
from vidcost.bench.gate.study_figures import Comparison, compare
from vidcost.bench.gate.trial import Trial
from vidcost.bench.published import Paper
from vidcost.bench.report.page.accounts import accounts
from vidcost.bench.report.page.growth import Size, growth
from vidcost.bench.report.page.measured import Device, devices
from vidcost.bench.report.page.provenance import Source, sources
from vidcost.bench.report.page.roofline import Roofline, roofline
from vidcost.bench.session.timing import PAIRS
from vidcost.bench.timing.record import Timing


@dataclass(frozen=True)
class Study:
    """A study of the gate in ``path``, and what the rules say of its comparisons."""

    path: Path
    trials: tuple[Trial, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def device(self) -> str:
        """What it ran on."""
        machine = self.trials[0].run.head.machine
        return machine.device if machine else self.path.parent.name


@dataclass(frozen=True)
class Gathered:
    """The data of a report.

    ``paths`` are timings of the fast path of blocks against the textbook's.
    """

    results: Path
    made: datetime.datetime
    paper: Paper
    records: Mapping[str, Record]
    entries: tuple[Entry, ...]
    sizes: tuple[Size, ...]
    devices: tuple[tuple[Device, Roofline], ...]
    paths: tuple[Timing, ...]
    studies: tuple[Study, ...]
    judged: tuple[Judged, ...]
    sources: tuple[Source, ...]


def gather(results: Path) -> Gathered:
    """Read ``results`` and count what is not stored; no other counter is asked, nothing is timed.

    Raises: ValueError if there are no counts or a file is damaged; ClosedFormMismatch.
    """
    records = record.read(results)
    if not records:
        raise ValueError(f"no {record.COUNTS} in {results}: `vidcost run` writes it")
    paper = published.pnl2020()
    timed = devices(results)
    studies = [
        Study(path, tuple(trials), tuple(compare(trials)))
        for path in sorted((results / "gate").glob("*/study.jsonl"))
        if (trials := trial.read(path))
    ]
    paths = devices(results / PAIRS)
    # a cell that was timed by other code too is shown as it is by now
    latest = {(device.name, timing.cell): timing for device in paths for timing in device.timings}
    made = datetime.datetime.now(datetime.UTC)
    return Gathered(
        results=results,
        made=made,
        paper=paper,
        records=records,
        entries=tuple(accounts(records)),
        sizes=tuple(growth()),
        devices=tuple((device, roofline(device)) for device in timed),
        paths=tuple(latest.values()),
        studies=tuple(studies),
        judged=judge(paper),
        sources=tuple(
            sources(
                results,
                timed,
                paths,
                [(study.path, study.trials) for study in studies],
                now=made,
            )
        ),
    )
