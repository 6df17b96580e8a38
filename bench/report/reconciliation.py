"""Tables of the reconciliation: a statement for each row, and an overview of all."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from vidcost.bench.count.reconcile import Candidate, Entry
from vidcost.bench.count.references.asking import ALL
from vidcost.bench.count.references.reference import Status
from vidcost.bench.report.table import Column, Table, integer, integer_or_words
from vidcost.papers.figures import Figure

_QUANTITIES = {
    "flops": ("our MACs", "FLOPs printed"),
    "params": ("our parameters", "parameters printed"),
}
"""What is ours and what is printed, by the quantity of an entry."""


def statement_table(entries: Sequence[Entry]) -> Table:
    """The entries of one row: terms down, counters across."""
    (row,) = {entry.row for entry in entries}
    lines: list[dict[str, Any]] = []
    for quantity, (ours, printed) in _QUANTITIES.items():
        found = [entry for entry in entries if entry.quantity == quantity]
        names = dict.fromkeys(term.name for entry in found for term in entry.terms)
        cells: list[tuple[str, Callable[[Entry], Any]]] = [
            (ours, lambda entry: entry.ours),
            *((name, partial(_amount, name)) for name in names),
            (printed, _printed),
            ("remainder", lambda entry: entry.remainder),
        ]
        for what, cell in cells if found else ():
            lines.append({"what": what} | {each.counter: cell(each) for each in found})
    return Table(
        title=f"Reconciliation of {row}",
        columns=(Column("what", ""), *_counters(entries)),
        lines=lines,
        legend=(
            "Each column adds up: ours and the terms are what the counter prints, the remainder is "
            "what they leave unexplained. An en dash: no such term, or a counter that prints no "
            f"parameters. {_versions(entries)}",
        ),
    )


def reconciliation_table(entries: Sequence[Entry]) -> Table:
    """A line for each row: what every counter prints, and the remainders."""
    lines = []
    for row in dict.fromkeys(entry.row for entry in entries):
        of_row = [entry for entry in entries if entry.row == row]
        flops = [entry for entry in of_row if entry.quantity == "flops"]
        left = [f"{e.counter} {e.quantity}: {_left(e)}" for e in of_row if not e.balanced]
        line: dict[str, Any] = {"row": row, "macs": flops[0].ours}
        line |= {entry.counter: _printed(entry) for entry in flops}
        lines.append(line | {"entries": len(of_row), "remainder": "; ".join(left) or "0"})
    return Table(
        title="Reconciliation",
        columns=(
            Column("row", "Row"),
            Column("macs", "MACs", integer),
            *_counters(entries),
            Column("entries", "Entries", integer),
            Column("remainder", "Remainder"),
        ),
        lines=lines,
        legend=(
            "FLOPs as each counter prints them. Entries: FLOPs and parameters of each counter, "
            "each explained from ours by named terms; remainder 0 means that all of them add up, "
            f"in total and in each category of the counter. {_versions(entries)}",
        ),
    )


def tidy_table(entries: Iterable[Entry]) -> Table:
    """A line for each amount, for programs."""
    keys = ("row", "counter", "version", "status", "quantity")
    lines = [
        {key: getattr(entry, key) for key in keys} | {"what": what, "amount": amount}
        for entry in entries
        for what, amount in entry.amounts
    ]
    return Table("Reconciliation", (), lines)


def printed_table(
    best: Sequence[Candidate], flops: Figure, params: Figure | None, *, tried: int
) -> Table:
    """The conventions and settings that come nearest to printed figures."""
    equal = {(i, "flops") for i, each in enumerate(best) if flops.equals(each.flops)}
    if params is not None:
        equal |= {(i, "params") for i, each in enumerate(best) if params.equals(each.params)}
    printed = flops.printed + (f" with {params.printed} parameters" if params else "")
    return Table(
        title=f"What gives {printed}",
        columns=(
            Column("setting", "Setting"),
            Column("convention", "Convention"),
            Column("flops", "FLOPs", integer),
            Column("difference", "Off by", lambda share: f"{share:+.2%}"),
            Column("params", "Parameters", integer),
        ),
        lines=[
            asdict(each) | {"difference": flops.difference(each.flops), "tried": tried}
            for each in best
        ],
        equal=frozenset(equal),
        legend=(
            f"The nearest of {tried:,} different figures that were tried. ✓: rounded, it is the "
            "printed figure. Among so many one may be met by chance.",
        ),
    )


def reconciliation_markdown(entries: Sequence[Entry]) -> str:
    """The whole reconciliation: overview, and the statement of each row."""
    rows = dict.fromkeys(entry.row for entry in entries)
    balanced = sum(entry.balanced for entry in entries)
    return "\n".join(
        [
            "# Reconciliation\n",
            f"{len(rows)} rows, {len(entries)} entries, {balanced} of them with remainder 0.\n",
            reconciliation_table(entries).markdown(),
            *(
                statement_table([entry for entry in entries if entry.row == row]).markdown()
                for row in rows
            ),
        ]
    )


def _counters(entries: Iterable[Entry]) -> list[Column]:
    names = dict.fromkeys(entry.counter for entry in entries)
    return [Column(name, ALL[name].title, integer_or_words) for name in names]


def _amount(name: str, entry: Entry) -> int | None:
    amounts = [term.amount for term in entry.terms if term.name == name]
    return sum(amounts) if amounts else None


def _printed(entry: Entry) -> int | Status:
    return entry.status if entry.printed is None else entry.printed


def _left(entry: Entry) -> str:
    """What is not explained, by category; the status of a counter without an answer."""
    if entry.printed is None:
        return entry.status
    return ", ".join(f"{category} {amount:+,}" for category, amount in entry.off.items())


def _versions(entries: Iterable[Entry]) -> str:
    versions = dict.fromkeys(f"{entry.counter} {entry.version}" for entry in entries)
    return f"Versions: {', '.join(versions)}."
