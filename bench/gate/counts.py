"""The gate of exact counts: compare the code with the baseline, and accept what differs.

``results/counts.jsonl`` is the baseline; ``results/counts-history.jsonl`` says when and why it was
changed.

fvcore and thop take minutes on real tensors, too long for a gate. The gate compares their stored
answers with the integers that we explain for them (:mod:`vidcost.bench.count.reconcile`), computed
from the count without running them. The stored answers are real ones, and :func:`accept` asks them
again before it stores another integer.
"""

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from vidcost import models, papers
from vidcost.bench import count as counting
from vidcost.bench import files
from vidcost.bench.count import record
from vidcost.bench.count.counter import count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.modules import ClosedFormMismatch, closed_forms
from vidcost.bench.count.reconcile import examine, measure, reconcile, steps
from vidcost.bench.count.record import COUNTS, Record
from vidcost.bench.count.references.reference import version
from vidcost.bench.gate.versions import digest, git
from vidcost.bench.progress import progress
from vidcost.papers.row import Row

HISTORY = "counts-history.jsonl"

ROW = "row"
"""The field of a change of the whole row: new, gone, or no longer counted."""
PRESENT = "present"
CLOSED_FORM = "closed form of "
"""Begins the field of a quantity of a module; before is the closed form's, after is counted."""

Figure = int | str


@dataclass(frozen=True)
class Change:
    """One figure of one row that differs from the baseline.

    ``field`` is a field of ``Record``, or of a counter: ``fvcore.flops``, ``fvcore.params``, and
    ``fvcore.flops.BatchNorm`` for a category; ``row`` if the whole row is new, gone, or cannot be
    counted; ``closed form of MODULE: conv`` if it no longer holds. ``before`` is the figure in the
    baseline, ``after`` the one counted now; None if there is none.
    """

    row: str
    field: str
    before: Figure | None
    after: Figure | None

    @property
    def percent(self) -> float | None:
        """The change in percent of ``before``; None if that is 0 or not a number."""
        if not isinstance(self.before, int) or not isinstance(self.after, int) or not self.before:
            return None
        return 100 * (self.after - self.before) / self.before


Broken = tuple[Change, ...]
"""Of a row that cannot be counted, or whose closed form no longer holds."""


@dataclass(frozen=True)
class Comparison:
    """The changes, in the order of rows and fields, and how much was compared.

    ``rows`` are on both sides; ``figures`` are theirs. ``broken`` rows must be mended: they cannot
    be accepted.
    """

    changes: tuple[Change, ...]
    rows: int
    figures: int
    broken: tuple[str, ...] = ()

    @property
    def changed_rows(self) -> tuple[str, ...]:
        """The rows with a change, each once."""
        return tuple(dict.fromkeys(change.row for change in self.changes))


class Acceptance(BaseModel):
    """One change of the baseline.

    ``commit`` is the one that git had checked out; None outside of git.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accepted: AwareDatetime
    reason: str
    vidcost: str
    commit: str | None
    changes: tuple[Change, ...]


def compare(rows: Sequence[Row], results: Path) -> Comparison:
    """Count ``rows`` and compare every figure with the baseline in ``results``.

    ``rows`` must be all rows: a row of the baseline that is not among them is gone. Rows that
    cannot be built are left out. A row that fails to count is a change, and the others are still
    compared.
    Raises: ValueError if there is no baseline or it is damaged, or the files beside ``results`` are
        not those that are installed.
    """
    baseline = _baseline(results)
    return differences(baseline, _recounted(rows))


def unlike_baseline(records: Mapping[str, Record], results: Path) -> list[str]:
    """A line if ``records``, of all rows, differ from the baseline; none without a baseline.

    A damaged file is no baseline, and an answer that a counter did not give then may be added.
    """
    try:
        stored = record.read(results)
    except ValueError:
        return []
    changes = differences(stored, records).changes
    if not stored or all(change.before is None and change.field != ROW for change in changes):
        return []
    return [
        f"the counts differ from {results / COUNTS}, which was left as it is: "
        '`vidcost gate counts` shows where, `vidcost gate accept --reason "..."` accepts them'
    ]


def accept(rows: Sequence[Row], results: Path, reason: str) -> Acceptance:
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
    past = _history(results / HISTORY)
    files.check_folder(results)
    comparison = differences(baseline, _recounted(rows))
    failed = [each for each in comparison.changes if each.row in comparison.broken]
    if failed:
        lines = [f"{each.row}: {each.field} was {each.before}, is {each.after}" for each in failed]
        raise ValueError(f"cannot accept {_one_line(lines)}")
    if not comparison.changes:
        raise ValueError(f"nothing to accept: the counts are those of {results / COUNTS}")
    buildable = [row for row in rows if row.build is not None]
    changed = [row for row in buildable if row.name in comparison.changed_rows]
    records = baseline | _asked(changed)
    commit = None
    with contextlib.suppress(ValueError):
        commit = git(results, "rev-parse", "HEAD")
    acceptance = Acceptance(
        accepted=datetime.now(UTC).replace(microsecond=0),
        reason=reason.strip(),
        vidcost=version("vidcost"),
        commit=commit,
        changes=comparison.changes,
    )
    with tempfile.TemporaryDirectory(dir=results, prefix=".") as draft:
        written = record.write(
            Path(draft), [records[row.name] for row in buildable], command="vidcost gate accept"
        )
        # the history first: if the process dies in between, the gate still fails
        files.write(results / HISTORY, f"{past}{acceptance.model_dump_json()}\n")
        written.replace(results / COUNTS)
    return acceptance


# comparing


def differences(baseline: Mapping[str, Record], now: Mapping[str, Record | Broken]) -> Comparison:
    """Compare the records of two sides exactly, in any order of rows.

    Versions are not compared. A change in a counter's categories is reported only if its total is
    the same, otherwise the total is.
    """
    changes: list[Change] = []
    rows = figures = 0
    for row in dict.fromkeys((*now, *baseline)):
        old, new = baseline.get(row), now.get(row)
        if isinstance(new, tuple):
            changes += new
        elif old is None or new is None:
            before, after = (PRESENT if side else None for side in (old, new))
            changes.append(Change(row, ROW, before, after))
        else:
            was, now_is = _figures(old), _figures(new)
            rows += 1
            fields = dict.fromkeys((*now_is, *was))
            figures += len(fields)
            changed = [field for field in fields if was.get(field) != now_is.get(field)]
            changes += [
                Change(row, field, was.get(field), now_is.get(field))
                for field in changed
                if field.rpartition(".")[0] not in changed
            ]
    broken = tuple(row for row, new in now.items() if isinstance(new, tuple))
    return Comparison(tuple(changes), rows, figures, broken)


def _figures(record: Record) -> dict[str, Figure]:
    """Every figure of a record by its field, including fields that are added to it later."""
    known: dict[str, Any] = record.model_dump(exclude={"row", "reference_counters"})
    known["inputs"] = ", ".join("x".join(map(str, clip)) for clip in record.inputs)
    for name, answer in record.reference_counters.items():
        known[f"{name}.flops"] = answer.flops
        known[f"{name}.params"] = answer.params
        known |= {f"{name}.flops.{part}": amount for part, amount in answer.parts.items()}
    return {field: figure for field, figure in known.items() if figure is not None}


# counting


def _recounted(rows: Sequence[Row]) -> dict[str, Record | Broken]:
    """The counts of now, with the answers that we explain for each counter."""
    buildable = [row for row in rows if row.build is not None]
    now: dict[str, Record | Broken] = {}
    with progress("counting", len(buildable)) as advance:
        for row in buildable:
            try:
                examined = examine(row)
                answers = {name: e.answer(version="") for name, e in examined.explained.items()}
                now[row.name] = examined.record.model_copy(update={"reference_counters": answers})
            except ClosedFormMismatch:
                now[row.name] = _mismatches(row)
            # whatever a change of the code broke is reported for its row
            except Exception as error:
                why = f"not counted, {type(error).__name__}: {' '.join(str(error).split())}"
                now[row.name] = (Change(row.name, ROW, PRESENT, why),)
            advance(f"counted {row.name}")
    return now


def _mismatches(row: Row) -> Broken:
    """Every quantity in which a closed form differs from its count."""
    model, clips = on_meta(row)
    return tuple(
        Change(row.name, f"{CLOSED_FORM}{check.module or 'the whole'}: {name}", formula, counted)
        for check in closed_forms(model, count(model, *clips))[0]
        for (name, formula), counted in zip(
            asdict(check.formula).items(), asdict(check.counted).values(), strict=True
        )
        if formula != counted
    )


def _asked(rows: Sequence[Row]) -> dict[str, Record]:
    """The records of ``rows`` with real answers of the counters."""
    with progress("asking", steps(rows)) as advance:
        examined = measure(rows, advance=advance)
    wrong = [
        line
        for each in examined
        for entry in reconcile(each)
        if not entry.balanced
        for line in entry.complaints
    ]
    if wrong:
        raise ValueError(f"cannot accept {_one_line(wrong)}; `vidcost explain` shows the entries")
    return {each.record.row: each.record for each in examined}


def _one_line(found: Sequence[str]) -> str:
    more = len(found) - 1
    return found[0] + (f" (and {more} more)" if more else "")


# files


def _baseline(results: Path) -> dict[str, Record]:
    here = results.resolve().parent
    if (here / "papers" / "catalog.py").is_file():
        for name, package in (("models", models), ("papers", papers), ("bench/count", counting)):
            installed = Path(package.__path__[0])
            if digest([here / name]) != digest([installed]):
                raise ValueError(
                    f"{here / name} differs from {installed}, which would be counted: run "
                    f"`pip install -e {here}`"
                )
    baseline = record.read(results)
    if not baseline:
        raise ValueError(
            f"no baseline {results / COUNTS}: `vidcost run` writes it, --results names another "
            "folder"
        )
    return baseline


def _history(path: Path) -> str:
    """The history, of whole lines; empty if there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    for number, line in enumerate(lines, start=1):
        try:
            Acceptance.model_validate_json(line)
        except ValidationError:
            raise ValueError(
                f"{path}, line {number} is damaged: take the file from the last commit that has it"
            ) from None
    return "".join(f"{line}\n" for line in lines)
