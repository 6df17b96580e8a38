"""From our MACs, step by step, to what another counter prints."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt

from vidcost.bench.count.reconcile import Entry
from vidcost.bench.report.plots.plot import GRID, INK, MUTED, Choice, Color, Plot

KINDS = {
    "ours": Color.BLUE,
    "added": Color.ORANGE,
    "unseen": Color.PURPLE,
    "unexplained": "#b00020",
    "printed": INK,
}
"""The kinds of steps, with their colours."""


def reconciliation_plot(
    entries: Iterable[Entry], first: tuple[str, str] | None = None
) -> Plot | None:
    """The terms of one row and counter, each beginning where the last one ended.

    Shown first are the row and the counter of ``first``. None if no counter answered.
    """
    lines = steps(entries)
    answered = list(dict.fromkeys((line["row"], line["counter"]) for line in lines))
    if not answered:
        return None
    row, counter = first if first in answered else answered[0]
    choices = (
        Choice("row", "Row", {key[0]: key[0] for key in answered}, row),
        Choice("counter", "Counter", {key[1]: key[1] for key in answered}, counter),
    )
    return Plot(
        name="reconciliation",
        title="From our MACs to what a counter prints",
        caption=(
            "Each term begins where the one above it ended. The scale does not begin at zero, so "
            "only the lengths of terms compare. FLOPs as the counter counts them."
        ),
        chart=_chart(choices),
        lines=lines,
        choices=choices,
    )


def steps(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """The FLOPs of every counter that answered as steps from ``start`` to ``end``, in order.

    Our MACs and what is printed are positions: there ``start`` is ``end``, and ``amount`` is both.
    """
    lines: list[dict[str, Any]] = []
    for entry in entries:
        if entry.quantity != "flops" or entry.printed is None:
            continue
        amounts: Counter[str] = Counter()
        for term in entry.terms:
            amounts[term.name] += term.amount
        parts = [(name, "added" if more > 0 else "unseen", more) for name, more in amounts.items()]
        if entry.remainder:
            parts.append(("not explained", "unexplained", entry.remainder))
        parts.insert(0, ("our MACs", "ours", entry.ours))
        parts.append((f"printed by {entry.counter}", "printed", entry.printed))
        end = 0
        for order, (what, kind, amount) in enumerate(parts):
            is_position = kind in ("ours", "printed")
            start, end = (amount, amount) if is_position else (end, end + amount)
            line = {"row": entry.row, "counter": entry.counter, "order": order, "what": what}
            lines.append(line | {"kind": kind, "amount": amount, "start": start, "end": end})
    return lines


def _chart(choices: Sequence[Choice]) -> alt.LayerChart:
    is_total = "(datum.kind === 'ours' || datum.kind === 'printed')"
    signed = "(datum.amount < 0 ? '−' : '+') + format(abs(datum.amount), ',')"
    base = alt.Chart().encode(y=alt.Y("order:O").axis(None).scale(padding=0))
    for choice in choices:
        base = base.transform_filter(choice.filter)
    base = base.transform_calculate(said=f"{is_total} ? format(datum.amount, ',') : {signed}")
    axis = alt.Axis(
        title="FLOPs, the scale does not begin at zero",
        labelExpr="format(datum.value / 1e9, ',.6~g') + 'G'",
        tickCount=5,
        domain=True,
        domainColor=GRID,
        ticks=True,
        tickColor=GRID,
    )
    kinds = alt.Scale(domain=list(KINDS), range=[str(color) for color in KINDS.values()])
    drawn = base.encode(
        x=alt.X("start:Q").scale(zero=False, padding=24).axis(axis),
        color=alt.Color("kind:N").scale(kinds).legend(None),
        tooltip=["what:N", "said:N", "end:Q"],
    )
    terms = drawn.transform_filter(f"!{is_total}")
    totals = drawn.transform_filter(is_total)
    # the name of a term stands above its bar at the left, its amount at the right
    names = base.mark_text(align="left", dy=-10, limit=alt.expr("width - 125"))
    amounts = base.mark_text(align="right", dy=-10, color=MUTED)
    return alt.LayerChart(
        layer=[
            terms.mark_bar(height=12, yOffset=9).encode(x2="end:Q"),
            # a small term would be invisible as a bar
            terms.mark_tick(thickness=2.5, size=18, yOffset=9).encode(x="end:Q"),
            totals.mark_point(shape="diamond", size=130, yOffset=9),
            names.encode(x=alt.value(0), text="what:N"),
            amounts.encode(x=alt.value("width"), text="said:N"),
        ],
        height=alt.Step(46),
    )
