"""The gate of exact counts: compare the code with the baseline, and accept what differs.

fvcore and thop take minutes on real tensors, too long for a gate. Their stored answers are compared
with the integers that we explain for them, computed from the count without running them; they are
asked again before :func:`accept` stores another integer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from vidcost import models, papers
from vidcost.bench import count as counting
from vidcost.bench import files
from vidcost.bench.count import record
from vidcost.bench.count.reconcile import examine, measure, reconcile, steps
from vidcost.bench.count.record import COUNTS, Record
from vidcost.bench.count.references.asking import ALL
from vidcost.bench.count.references.reference import version
from vidcost.bench.errors import named
from vidcost.bench.gate.baseline import Comparison, Entry, differences
from vidcost.bench.gate.versions import digest
from vidcost.bench.progress import progress
from vidcost.papers.row import Row

HISTORY = "counts-history.jsonl"
"""When and why the baseline, ``counts.jsonl``, was changed."""


def compare(rows: Sequence[Row], results: Path) -> Comparison:
    """Count ``rows``, which must be all rows, and compare every figure with the baseline.

    Rows that cannot be built are left out; one that fails to count is a change.
    Raises: ValueError if there is no baseline in ``results`` or it is damaged, or the files beside
        ``results`` are not those that are installed.
    """
    return _compared(_baseline(results), rows)


def accept(rows: Sequence[Row], results: Path, reason: str) -> Comparison:
    """Make the counts of now the baseline, and append the reason to its history.

    The reference counters are asked about the rows that changed; the rest keep their answers.
    Both files are written, or neither.
    Raises: ValueError as :func:`compare` does, and if the reason is blank, nothing differs, a row
        cannot be counted, a counter fails or its answer is not explained exactly, or a file is
        damaged or cannot be written.
    """
    if not reason.strip():
        raise ValueError("the reason is blank: say why the counts change with --reason")
    baseline = _baseline(results)
    files.check_folder(results)
    comparison = _compared(baseline, rows)
    if failed := [each for each in comparison.changes if each.is_broken]:
        raise ValueError(f"cannot accept {failed[0].row}: {failed[0].after}")
    if not comparison.changes:
        raise ValueError(f"nothing to accept: the counts are those of {results / COUNTS}")
    buildable = [row for row in rows if row.build is not None]
    changed = [row for row in buildable if row.name in comparison.changed]
    records = baseline | _asked(changed)
    acceptance = {
        "accepted": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "reason": reason.strip(),
        "vidcost": version("vidcost"),
        "changes": [asdict(change) for change in comparison.changes],
    }
    # the history is replaced last, and only if the counts could be written
    with files.replaced(results / HISTORY) as draft:
        past = (results / HISTORY).read_bytes() if (results / HISTORY).exists() else b""
        lines = [*past.splitlines(), to_json(acceptance)]
        draft.write_bytes(b"".join(line + b"\n" for line in lines))
        accepted = [records[row.name] for row in buildable]
        record.write(results, accepted, command="vidcost gate accept")
    return comparison


def entry(record: Record) -> Entry:
    """Every figure of a record by its field, including fields that are added to it later.

    Those of other counters' answers are among them; versions are none.
    """
    known: dict[str, Any] = record.model_dump(exclude={"row", "reference_counters"})
    known["inputs"] = ", ".join("x".join(map(str, clip)) for clip in record.inputs)
    for name, answer in record.reference_counters.items():
        known[f"{name}.flops"] = answer.flops
        known[f"{name}.params"] = answer.params
        known |= {f"{name}.flops.{part}": amount for part, amount in answer.parts.items()}
    return Entry({field: each for field, each in known.items() if each is not None})


def _compared(baseline: Mapping[str, Record], rows: Sequence[Row]) -> Comparison:
    """Compare with the counts of now, with the answers that we explain for each counter."""
    buildable = [row for row in rows if row.build is not None]
    now: dict[str, Entry | str] = {}
    with progress("counting", len(buildable)) as advance:
        for row in buildable:
            try:
                examined = examine(row)
                answers = {n: ALL[n].explained_answer(e) for n, e in examined.explained.items()}
                known = examined.record.model_copy(update={"reference_counters": answers})
                now[row.name] = entry(known)
            # whatever a change of the code broke is reported for its row
            except Exception as error:
                now[row.name] = f"not counted, {named(error)}"
            advance(f"counted {row.name}")
    return differences({name: entry(each) for name, each in baseline.items()}, now)


def _asked(rows: Sequence[Row]) -> dict[str, Record]:
    """The records of ``rows`` with real answers of the counters."""
    with progress("asking", steps(rows)) as advance:
        examined = measure(rows, advance=advance)
    wrong = [line for each in examined for entry in reconcile(each) for line in entry.complaints]
    if wrong:
        raise ValueError(f"cannot accept {wrong[0]}; `vidcost explain` shows the entries")
    return {each.record.row: each.record for each in examined}


def _baseline(results: Path) -> dict[str, Record]:
    here = results.resolve().parent
    if (here / "papers" / "catalog.py").is_file():
        installed = [Path(package.__path__[0]) for package in (models, papers, counting)]
        if digest(here / name for name in ("models", "papers", "bench/count")) != digest(installed):
            raise ValueError(
                f"{here} differs from what is installed and would be counted: run "
                f"`pip install -e {here}`"
            )
    baseline = record.read(results)
    if not baseline:
        raise ValueError(
            f"no baseline {results / COUNTS}: `vidcost run` writes it, --results names another "
            "folder"
        )
    return baseline
