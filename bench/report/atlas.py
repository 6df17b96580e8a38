"""The atlas for people: every network of published tables, from its stored lines."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from vidcost.bench.report.plots import COLORS, LABELS, POINTS, Choice, Plot, log
from vidcost.bench.report.table import Column, Table, billions, compact, integer, millions, percent


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
