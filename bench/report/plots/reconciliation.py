"""From our MACs, step by step, to what another counter prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import altair as alt

from vidcost.bench.count.ledger import Entry
from vidcost.bench.report.plots.plot import (
    BLUE,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    Choice,
    Plot,
    tooltips,
)
from vidcost.bench.report.table import Column, Table, integer

KINDS = {
    "ours": BLUE,
    "added": ORANGE,
    "unseen": PURPLE,
    "unexplained": "#b00020",
    "printed": INK,
}
"""The kinds of steps, with their colours."""


def steps(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """The FLOPs of every counter that answered as steps from ``start`` to ``end``, in order.

    Our MACs and what is printed are positions: there ``start`` is ``end``, and ``amount`` is both.
    """
    return [
        {"row": entry.row, "counter": entry.counter, "order": order, **step}
        for entry in entries
        if entry.quantity == "flops" and entry.printed is not None
        for order, step in enumerate(_steps(entry, entry.printed))
    ]


def reconciliation_plot(entries: Sequence[Entry]) -> Plot:
    """The terms of one row and counter, each beginning where the last one ended.

    Shown first is the counter that is furthest from ours.
    Raises: ValueError if no counter answered.
    """
    lines = steps(entries)
    if not lines:
        raise ValueError("no counter answered for any row: `vidcost run` asks them")
    answered = {(line["row"], line["counter"]): line for line in lines if line["kind"] == "printed"}
    ours = {line["row"]: line["end"] for line in lines if line["kind"] == "ours"}
    row, counter = max(answered, key=lambda key: abs(answered[key]["end"] / ours[key[0]] - 1))
    rows, counters = (dict.fromkeys(key[place] for key in answered) for place in (0, 1))
    choices = (
        Choice("row", "Row", {each: each for each in rows}, row),
        Choice("counter", "Counter", {each: each for each in counters}, counter),
    )
    return Plot(
        name="reconciliation",
        title="From our MACs to what a counter prints",
        caption=(
            "Each term begins where the one above it ended. The scale does not begin at zero, so "
            "only the lengths of terms compare. FLOPs as the counter counts them."
        ),
        chart=_chart(choices),
        data=Table(
            title="Reconciliation of FLOPs",
            columns=(
                Column("row", "Row"),
                Column("counter", "Counter"),
                Column("what", "Term"),
                Column("amount", "Amount", integer),
                Column("end", "Running total", integer),
            ),
            lines=lines,
        ),
        choices=choices,
        empty={
            (row, counter): f"{counter} gave no answer for {row}."
            for row in rows
            for counter in counters
            if (row, counter) not in answered
        },
    )


def _steps(entry: Entry, printed: int) -> Iterator[dict[str, Any]]:
    amounts: dict[str, int] = {}
    for term in entry.terms:
        amounts[term.name] = amounts.get(term.name, 0) + term.amount
    at = entry.ours
    yield {"what": "our MACs", "kind": "ours", "amount": at, "start": at, "end": at}
    terms = [
        (name, "added" if amount > 0 else "unseen", amount) for name, amount in amounts.items()
    ]
    if entry.remainder:
        terms.append(("not explained", "unexplained", entry.remainder))
    for name, kind, amount in terms:
        yield {"what": name, "kind": kind, "amount": amount, "start": at, "end": at + amount}
        at += amount
    what = f"printed by {entry.counter}"
    yield {"what": what, "kind": "printed", "amount": printed, "start": printed, "end": printed}


def _chart(choices: Sequence[Choice]) -> alt.LayerChart:
    is_total = "(datum.kind === 'ours' || datum.kind === 'printed')"
    signed = "(datum.amount < 0 ? '−' : '+') + format(abs(datum.amount), ',')"
    base = alt.Chart()
    for choice in choices:
        base = base.transform_filter(choice.filter)
    # the name of a term stands above its bar at the left, its amount at the right
    base = base.transform_calculate(
        said=f"{is_total} ? format(datum.amount, ',') : {signed}", total=is_total
    ).encode(y=alt.Y("order:O").axis(None).scale(padding=0))
    axis = alt.Axis(
        title="FLOPs, the scale does not begin at zero",
        labelExpr="format(datum.value / 1e9, ',.6~g') + 'G'",
        tickCount=5,
        grid=False,
        domain=True,
        domainColor=GRID,
        ticks=True,
        tickColor=GRID,
    )
    drawn = base.encode(
        x=alt.X("start:Q").scale(zero=False, padding=24).axis(axis),
        color=alt.Color("kind:N")
        .scale(domain=list(KINDS), range=list(KINDS.values()))
        .legend(None),
        tooltip=tooltips(("what", "Term"), ("said", "Amount"), ("end", "Running total", ",")),
    )
    terms = drawn.transform_filter("!datum.total")
    return alt.layer(
        terms.mark_bar(height=12, yOffset=9).encode(x2="end:Q"),
        # a small term would be invisible as a bar
        terms.mark_tick(thickness=2.5, size=18, yOffset=9).encode(x="end:Q"),
        drawn.transform_filter("datum.total").mark_point(
            shape="diamond", filled=True, size=130, opacity=1, yOffset=9
        ),
        base.mark_text(align="left", dy=-10, color=INK, limit=alt.expr("width - 125")).encode(
            x=alt.value(0), text="what:N"
        ),
        base.mark_text(align="right", dy=-10, color=MUTED).encode(
            x=alt.value("width"), text="said:N"
        ),
    ).properties(height=alt.Step(46))
