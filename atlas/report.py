"""Audits of published tables, the atlas, and what several sources print of one network."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from vidcost.atlas.audit import Audit, Convention, Judged
from vidcost.atlas.networks import Network, front
from vidcost.bench.audit import KINDS, Verdict
from vidcost.bench.files import ATLAS, stored_lines
from vidcost.bench.report.page import Section, Shown
from vidcost.bench.report.plots import COLORS, LABELS, POINTS, Choice, Plot, log
from vidcost.bench.report.table import Column, Table, billions, compact, integer, millions, percent

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


def atlas_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Every network once per dataset, under one convention."""
    return Table(
        title="Atlas of video networks",
        columns=(
            Column("label", "Network"),
            Column("dataset", "Dataset"),
            Column("clip", "Clip"),
            Column("params", "Params", millions, integer),
            Column("macs", "MACs", billions, integer),
            Column("top1", "Top-1", str),
            Column("attention", "Attention", percent, is_wide=True),
            Column("peak_bytes", "Peak bytes", compact, integer, is_wide=True),
            Column("views", "Views", integer, is_wide=True),
            Column("macs_per_video", "Per video", compact),
            Column("front", "Pareto", is_wide=True),
            Column("source", "Source", is_wide=True),
            Column("printed", "FLOPs printed", is_wide=True),
            Column("network", "Built as", is_wide=True),
        ),
        lines=lines,
        legend=(
            "MACs of one view at the clip of the accuracy, multiply-accumulates of convolutions, "
            "linear layers and products, and of all views of a video where the source says how "
            "many. Top-1: the best that a source prints, in percent; mAP on Charades and AVA. "
            "Attention: its share of MACs. Peak bytes: activations alive at once in float32, "
            "without weights. Pareto: none of the dataset has a higher top-1 at as many MACs.",
        ),
    )


def atlas_plot(networks: Iterable[Mapping[str, Any]]) -> Plot | None:
    """Top-1 as printed against MACs per video, by dataset, of lines of the atlas; None without."""
    lines = [dict(each) for each in networks if each["top1"] is not None and each["macs_per_video"]]
    if not lines:
        return None
    datasets = Counter(str(line["dataset"]) for line in lines)
    words = {name: name for name in sorted(datasets)}
    choice = Choice("dataset", "Dataset", words, datasets.most_common(1)[0][0])
    top1 = alt.Y("top1:Q").scale(zero=False, padding=18)
    base = (
        alt.Chart()
        .transform_filter(choice.filter)
        .encode(
            log(alt.X("macs_per_video:Q"), "MACs per video", padding=20, format="~s"),
            top1.axis(title="Top-1 as printed, %", tickCount=6),
        )
    )
    is_front, grey, blue, red = "datum.front === 'front'", COLORS[5], COLORS[0], COLORS[1]
    line = base.transform_filter(is_front).mark_line(
        interpolate="step-after", strokeWidth=1.2, strokeDash=[4, 3]
    )
    named = alt.condition(is_front, alt.Text("label:N"), alt.value(""))
    names = base.mark_text().encode(text=named)
    points = base.mark_point().encode(
        color=alt.condition(is_front, alt.value(red), alt.value(blue)),
        tooltip=["label:N", "top1:Q", "macs_per_video:Q", "source:N", "network:N"],
    )
    layers = [line.encode(color=alt.value(grey)), points.properties(name=POINTS)]
    layers.append(names.properties(name=LABELS))
    return Plot(
        name="atlas",
        title="Accuracy against MACs per video",
        caption="The dashed line joins networks that no other beats in both.",
        chart=alt.LayerChart(layer=layers, height=420),
        lines=lines,
        choices=(choice,),
    )


def atlas_section(results: Path) -> Section:
    """The stored atlas as a section of the page.  Raises: ValueError if the file is damaged."""
    lines = stored_lines(results / ATLAS, "vidcost atlas")
    parts = (atlas_plot(lines), Shown("atlas-networks", atlas_table(lines).wide()))
    return Section(
        "Atlas",
        "Networks of published tables",
        [each for each in parts if each] if lines else [],
        is_folded=True,
        text="No atlas: `vidcost atlas` makes it.",
    )
