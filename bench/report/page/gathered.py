"""Everything the report shows, read from the results folder or counted on the spot."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vidcost.bench.audit import Judged, judge
from vidcost.bench.count import record
from vidcost.bench.count.reconcile import Entry
from vidcost.bench.count.record import Record
from vidcost.bench.report.page.accounts import accounts
from vidcost.bench.report.page.growth import Size, growth
from vidcost.bench.report.page.measured import Device, devices
from vidcost.bench.report.page.provenance import Source, sources
from vidcost.bench.report.page.roofline import Roofline, roofline
from vidcost.papers import catalog
from vidcost.papers.figures import Paper


@dataclass(frozen=True)
class Gathered:
    """The data of a report."""

    results: Path
    made: datetime.datetime
    paper: Paper
    records: Mapping[str, Record]
    entries: tuple[Entry, ...]
    sizes: tuple[Size, ...]
    devices: tuple[tuple[Device, Roofline], ...]
    judged: tuple[Judged, ...]
    sources: tuple[Source, ...]


def gather(results: Path) -> Gathered:
    """Read ``results`` and count what is not stored; no other counter is asked, nothing is timed.

    Raises: ValueError if there are no counts or a file is damaged; ClosedFormMismatch.
    """
    records = record.read(results)
    if not records:
        raise ValueError(f"no {record.COUNTS} in {results}: `vidcost run` writes it")
    paper = catalog.paper()
    timed = devices(results)
    made = datetime.datetime.now(datetime.UTC)
    return Gathered(
        results=results,
        made=made,
        paper=paper,
        records=records,
        entries=tuple(accounts(records)),
        sizes=tuple(growth()),
        devices=tuple((device, roofline(device)) for device in timed),
        judged=judge(paper),
        sources=tuple(
            sources(
                results,
                timed,
                now=made,
            )
        ),
    )
