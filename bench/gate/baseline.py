"""The exact baseline of counts: holding the code against it, and accepting what differs.

``results/counts.jsonl`` is the baseline, ``results/counts-history.jsonl`` says when and why it was
changed.

fvcore and thop take minutes on real tensors, and a gate must not. What is held against a counter's
stored answer is the integer that our account of its convention gives
(:mod:`vidcost.bench.count.conventions`), computed from the trace without asking it. The stored side
is what the counter really answered; the ledger holds the account to it with remainder 0, and
:func:`accept` asks it again before it stores another integer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from vidcost.bench import files
from vidcost.bench.count import record
from vidcost.bench.count.answer import Answer
from vidcost.bench.count.distribution import version
from vidcost.bench.count.measure import measure, steps
from vidcost.bench.count.reconcile import Examined, complaints, examine, reconcile
from vidcost.bench.count.record import COUNTS, Record
from vidcost.bench.gate.count_changes import ROW, Change, Comparison, differences
from vidcost.bench.gate.git import git
from vidcost.papers.row import Row

HISTORY = "counts-history.jsonl"

Progress = Callable[[int], AbstractContextManager[Callable[[str], None]]]
"""Given the number of steps, what is called with a few words after each."""


@contextmanager
def _silent(total: int) -> Iterator[Callable[[str], None]]:
    yield lambda what: None


class Acceptance(BaseModel):
    """One change of the baseline.

    ``commit`` is what git had checked out, which the change is on top of; None outside of git.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accepted: AwareDatetime
    reason: str
    vidcost: str
    commit: str | None
    changes: tuple[Change, ...]


def compare(rows: Sequence[Row], results: Path, *, progress: Progress = _silent) -> Comparison:
    """Count ``rows`` and compare with the baseline in ``results``, every figure exactly.

    ``rows`` are all there are: one of the baseline that is not among them is gone. Rows that cannot
    be built are left out. A row whose network or count fails is a change, so that the others are
    compared all the same.
    Raises: ValueError if there is no baseline or it is damaged.
    """
    baseline = _baseline(results)
    return differences(baseline, _recounted(rows, progress))


def unlike_baseline(records: Mapping[str, Record], results: Path) -> list[str]:
    """A line if ``records``, of all rows, differ from the baseline; none if there is no other.

    One that is damaged is no baseline, and an answer that a counter did not give then may be added.
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


def accept(
    rows: Sequence[Row], results: Path, reason: str, *, progress: Progress = _silent
) -> Acceptance:
    """Make what is counted now the baseline, and append the reason to its history.

    fvcore, thop and the others are asked about the rows that changed; the rest keep the answers
    they have. Either both files are written, or neither.
    Raises: ValueError if the reason is blank, nothing differs, a row cannot be counted, a counter
        fails or does not answer what our account of its convention says, or a file is damaged or
        cannot be written.
    """
    if not reason.strip():
        raise ValueError("the reason is blank: say why the counts change with --reason")
    baseline = _baseline(results)
    past = _history_text(results)
    files.check_folder(results)
    now = _recounted(rows, progress)
    if failed := [f"{row}: {why}" for row, why in now.items() if isinstance(why, str)]:
        raise ValueError(f"cannot accept {_one_line(failed)}")
    comparison = differences(baseline, now)
    if not comparison.changes:
        raise ValueError(f"nothing to accept: the counts are those of {results / COUNTS}")
    changed = [row for row in _buildable(rows) if row.name in comparison.changed_rows]
    asked = _asked(changed, progress)
    acceptance = Acceptance(
        accepted=datetime.now(UTC).replace(microsecond=0),
        reason=reason.strip(),
        vidcost=version("vidcost"),
        commit=_commit(results),
        changes=comparison.changes,
    )
    records = baseline | asked
    _write(
        results,
        [records[row.name] for row in _buildable(rows)],
        past=past,
        line=acceptance.model_dump_json(),
    )
    return acceptance


def history(results: Path) -> list[Acceptance]:
    """What was accepted, oldest first; empty if there is no history.

    Raises: ValueError naming the file and line if it is damaged.
    """
    return _parsed(results / HISTORY, _history_text(results))


def _buildable(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.build is not None]


def _baseline(results: Path) -> dict[str, Record]:
    baseline = record.read(results)
    if not baseline:
        raise ValueError(
            f"no baseline {results / COUNTS}: `vidcost run` writes it, --results names another "
            "folder"
        )
    return baseline


def _recounted(rows: Sequence[Row], progress: Progress) -> dict[str, Record | str]:
    """What is counted now, or why a row cannot be."""
    now: dict[str, Record | str] = {}
    with progress(len(_buildable(rows))) as advance:
        for row in _buildable(rows):
            try:
                now[row.name] = _explained(examine(row))
            # whatever a change of the code has broken is news of that row
            except Exception as error:
                why = " ".join(str(error).split())
                now[row.name] = f"not counted, {type(error).__name__}: {why}"
            advance(f"counted {row.name}")
    return now


def _explained(examined: Examined) -> Record:
    """The record with the answer that our account of each convention gives."""
    answers = {
        name: Answer(
            version="", flops=account.flops, params=account.seen_params, parts=account.parts
        )
        for name, account in examined.explanations.items()
    }
    return examined.record.model_copy(update={"reference_counters": answers})


def _asked(rows: Sequence[Row], progress: Progress) -> dict[str, Record]:
    """The records of ``rows`` with what the counters really answer."""
    with progress(steps(rows)) as advance:
        examined = measure(rows, advance=advance)
    wrong = [
        line
        for each in examined
        for entry in reconcile(each)
        if not entry.balanced
        for line in complaints(entry)
    ]
    if wrong:
        raise ValueError(f"cannot accept {_one_line(wrong)}; `vidcost explain` shows the accounts")
    return {each.record.row: each.record for each in examined}


def _one_line(found: Sequence[str]) -> str:
    more = len(found) - 1
    return found[0] + (f" (and {more} more)" if more else "")


def _commit(folder: Path) -> str | None:
    try:
        return git(folder, "rev-parse", "HEAD")
    except ValueError:
        return None


def _history_text(results: Path) -> str | None:
    """The history as it stands; None if there is no such file."""
    path = results / HISTORY
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    _parsed(path, text)
    return text


def _parsed(path: Path, text: str | None) -> list[Acceptance]:
    found = []
    for number, line in enumerate((text or "").splitlines(), start=1):
        try:
            found.append(Acceptance.model_validate_json(line))
        except ValidationError:
            raise ValueError(
                f"{path}, line {number} is damaged: take the file from the last commit that has it"
            ) from None
    return found


def _write(results: Path, records: Sequence[Record], *, past: str | None, line: str) -> None:
    """Write both files or neither."""
    path = results / HISTORY
    before = past or ""
    if before and not before.endswith("\n"):
        before += "\n"
    # first the history: if the process dies in between, the gate stays red
    files.write(path, f"{before}{line}\n")
    try:
        record.write(results, records, command="vidcost gate accept")
    except BaseException:
        if past is None:
            path.unlink(missing_ok=True)
        else:
            files.write(path, past)
        raise
