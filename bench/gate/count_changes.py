"""What differs between the baseline's counts and those of now, figure by figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vidcost.bench.count.record import Record

Figure = int | str

ROW = "row"
"""The field of a change that is the whole row's: new, gone, or no longer counted."""
PRESENT = "present"


@dataclass(frozen=True)
class Change:
    """One figure of one row that is not what the baseline has.

    ``field`` is one of ``Record``'s, or of a counter: ``fvcore.flops``, ``fvcore.params``, and
    ``fvcore.flops.BatchNorm`` for a heading; ``row`` if the whole row is new, gone, or cannot be
    counted. ``before`` is the baseline's figure and ``after`` the one of now; None: there is none.
    """

    row: str
    field: str
    before: Figure | None
    after: Figure | None

    @property
    def percent(self) -> float | None:
        """By how much of ``before`` it changed; None where that is 0 or no number."""
        if not isinstance(self.before, int) or not isinstance(self.after, int) or not self.before:
            return None
        return 100 * (self.after - self.before) / self.before


@dataclass(frozen=True)
class Comparison:
    """What differs, in the rows' and the fields' order, and how much was compared.

    ``rows`` stand on both sides; ``figures`` are theirs.
    """

    changes: tuple[Change, ...]
    rows: int
    figures: int

    @property
    def changed_rows(self) -> tuple[str, ...]:
        """The rows with a change, each once."""
        return tuple(dict.fromkeys(change.row for change in self.changes))


def differences(baseline: Mapping[str, Record], now: Mapping[str, Record | str]) -> Comparison:
    """Compare the records of two sides exactly; the order of rows is no figure.

    A row of ``now`` that could not be counted says why. Versions are not compared: the figures are.
    A counter's headings are compared too, and reported where its total is the same; where it is
    not, the total says it.
    """
    changes: list[Change] = []
    rows = figures = 0
    for row in dict.fromkeys((*now, *baseline)):
        old, new = baseline.get(row), now.get(row)
        if old is None or not isinstance(new, Record):
            changes.append(Change(row, ROW, _presence(old), _presence(new)))
            continue
        before, after = _figures(old), _figures(new)
        rows += 1
        figures += len({*before, *after})
        changes += _of_row(row, before, after)
    return Comparison(tuple(changes), rows, figures)


def _presence(found: Record | str | None) -> str | None:
    return PRESENT if isinstance(found, Record) else found


def _of_row(
    row: str, before: Mapping[str, Figure], after: Mapping[str, Figure]
) -> Iterator[Change]:
    fields = dict.fromkeys((*after, *before))
    changed = {field for field in fields if before.get(field) != after.get(field)}
    for field in fields:
        total, _, _ = field.rpartition(".")
        if field in changed and total not in changed:
            yield Change(row, field, before.get(field), after.get(field))


def _figures(record: Record) -> dict[str, Figure]:
    """Every figure of a record by its field."""
    # whatever a record holds is compared, also what is added to it later
    known: dict[str, Any] = record.model_dump(exclude={"row", "reference_counters"})
    known["inputs"] = ", ".join("x".join(map(str, clip)) for clip in record.inputs)
    for name, answer in record.reference_counters.items():
        known[f"{name}.flops"] = answer.flops
        known[f"{name}.params"] = answer.params
        known |= {f"{name}.flops.{heading}": amount for heading, amount in answer.parts.items()}
    return {field: figure for field, figure in known.items() if figure is not None}
