"""Audits of published tables, the atlas, and what several sources print of one network."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from vidcost.atlas.audit import Audit, Convention, Judged
from vidcost.atlas.networks import Network, front
from vidcost.bench.audit import KINDS, Verdict
from vidcost.bench.report.table import Column, Table, billions, compact, integer

VERDICTS = (*Verdict, None)


def words(verdict: Verdict | None) -> str:
    """A verdict in words."""
    return str(verdict or "not built")


def audit_markdown(audit: Audit) -> str:
    """The document of a source: what agrees, what does not fit, and all figures."""
    source = audit.source
    counts = ", ".join(
        f"{audit.counts[each]} {words(each)}" for each in VERDICTS if audit.counts[each]
    )
    parts = [
        f"# Audit of {source.name}",
        f"{source.source}, read {source.read}. It says of its figures: {source.states}.",
    ]
    if source.counted:
        parts.append(f"Counted: {source.counted}.")
    if not audit.judged:
        parts.append("It prints no cost. Its networks and accuracies stand in the atlas.")
        return "\n\n".join(parts) + "\n"
    parts.append(f"Of {len(audit.judged)} printed figures: {counts}.")
    if audit.possible:
        parts.append(
            f"FLOPs: **{audit.convention.name}** gives {audit.met} of the {audit.possible} that "
            f"could be counted, most of {audit.tried} conventions that were tried; one that weighs "
            "a further quantity must give two figures more."
        )
    found = [*_findings(audit)]
    if found:
        parts += [
            "## What does not fit, or fits otherwise",
            "\n".join(f"- {each}" for each in found),
        ]
    if source.left_out:
        parts.append(f"Left out: {source.left_out}.")
    parts += ["## Figures", figure_table(audit).wide().markdown().strip()]
    return "\n\n".join(parts) + "\n"


def _findings(audit: Audit) -> Iterable[str]:
    """Figures of other conventions, other settings and other networks; a line for each kind."""
    groups: dict[str, list[str]] = defaultdict(list)
    for each in audit.judged:
        label = f"{each.row.label} ({each.row.table}) {KINDS[each.kind]} {each.printed.printed}"
        if each.verdict is Verdict.EXACT:
            if each.otherwise:
                groups[f"Exact if {each.otherwise}"].append(label)
            elif each.by and each.by != audit.convention.name:
                groups[f"Exact by another convention, {each.by}"].append(label)
        elif each.otherwise and each.verdict:
            groups[f"Not what is counted, but {each.otherwise}"].append(label)
        elif each.verdict is Verdict.NOT_REPRODUCED and each.value is not None:
            groups["Not explained"].append(f"{label}, counted {each.value:,}")
    for words, labels in groups.items():
        yield f"{words}: {'; '.join(dict.fromkeys(labels))}."
    for network, why in audit.missing.items():
        yield f"Not built: {network}: {why}"


def figure_table(audit: Audit) -> Table:
    """Every printed figure of a source with its verdict."""
    return Table(
        title=f"Figures of {audit.source.name}",
        columns=(
            Column("table", "Table", is_wide=True),
            Column("label", "Network"),
            Column("figure", "Figure"),
            Column("printed", "Printed", str),
            Column("verdict", "Verdict"),
            Column("value", "Counted", compact, integer),
            Column("difference", "Off", lambda value: f"{value:+.2%}"),
            Column("by", "By", is_wide=True),
            Column("otherwise", "But", is_wide=True),
            Column("clip", "Clip", is_wide=True),
            Column("network", "Built as", is_wide=True),
        ),
        lines=[_figure(each) for each in audit.judged],
        legend=(
            "exact: the convention gives the figure to the digits printed, rounded or cut off; "
            "close: within 1% of it. Counted: all parameters, or FLOPs by the source's convention, "
            "or by another that gives the figure.",
        ),
    )


def _figure(each: Judged) -> dict[str, Any]:
    row = each.row
    return {
        "table": row.table,
        "label": row.label,
        "figure": KINDS[each.kind],
        "printed": each.printed.printed,
        "verdict": words(each.verdict),
        "value": each.value,
        "difference": None if each.printed.is_bound else each.difference,
        "by": each.by or None,
        "otherwise": each.otherwise or None,
        "clip": _clip(row.at),
        "network": row.network,
        "classes": row.classes,
    }


def _clip(size: Iterable[int]) -> str:
    return "x".join(map(str, size))


def audits_table(audits: Sequence[Audit]) -> Table:
    """A line for each source: how many figures have each verdict, and its convention."""
    return Table(
        title="Audits of published tables",
        columns=(
            Column("source", "Source"),
            *(Column(words(each), words(each).capitalize(), integer) for each in VERDICTS),
            Column("convention", "FLOPs by", is_wide=True),
        ),
        lines=[
            {
                "source": each.source.name,
                **{words(verdict): each.counts[verdict] for verdict in VERDICTS},
                "convention": each.convention.name if each.possible else None,
                "tried": each.tried,
            }
            for each in audits
        ],
    )


def atlas_lines(networks: Sequence[Network]) -> list[dict[str, Any]]:
    """A line for each network and dataset; the most frequent dataset first, the best of each."""
    of_dataset, on_front = Counter(each.best.dataset for each in networks), front(networks)

    def place(each: Network) -> tuple[int, str, float]:
        return -of_dataset[each.best.dataset], each.best.dataset, -(each.best.top1 or 0)

    return [_network(each, each in on_front) for each in sorted(networks, key=place)]


def atlas_markdown(tables: Sequence[Table]) -> str:
    """The document of the atlas: the picture, what sources print differently, every network."""
    texts = [f"## {each.title}\n\n{each.wide().markdown().strip()}" for each in tables[::-1]]
    picture = "![Accuracy against MACs](figures/atlas.svg)"
    return "\n\n".join(["# Atlas", picture, *texts]) + "\n"


def _network(each: Network, is_on_front: bool) -> dict[str, Any]:
    counted, best = each.counted, each.best
    return {
        "label": each.label,
        "dataset": best.dataset,
        "clip": _clip(each.clip),
        "params": counted.params,
        "macs": counted.macs,
        "attention": counted.attention / counted.macs,
        "peak_bytes": counted.peak_bytes,
        "views": best.view_count,
        "macs_per_video": each.per_video,
        "top1": best.top1,
        "front": "front" if is_on_front else None,
        "source": best.source,
        "printed": _printed(each) or None,
        "network": best.network,
        "row": each.row,
    }


def _printed(each: Network) -> str:
    return ", ".join(f"{figure} ({name})" for name, figure in each.printed)


def shared_table(shared: Sequence[Network]) -> Table:
    """Networks of which several sources print different FLOPs, beside what conventions give."""
    given = [Convention(f"+ {k}", {"macs": 1, "batch_norm": k, "layer_norm": k}) for k in (2, 5)]
    return Table(
        title="One network, several prints",
        columns=(
            Column("label", "Network"),
            Column("clip", "Clip"),
            Column("printed", "FLOPs printed"),
            *(Column(name, name, billions, integer) for name in ("MACs", "+ 2", "+ 5")),
        ),
        lines=[
            {"label": each.label, "clip": _clip(each.clip), "printed": _printed(each)}
            | {"MACs": each.counted.macs}
            | {convention.name: convention.of(each.counted, None) for convention in given}
            for each in shared
        ],
        legend=("+ k: k more for each element of BatchNorm and other norms.",),
    )
