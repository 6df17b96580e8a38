"""The fast path of blocks beside the textbook's: tables, and the document that tells of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from vidcost.bench.count.record import count_row
from vidcost.bench.report.table import Column, Table, billions, integer
from vidcost.bench.report.timing import (
    CONDITIONS,
    conditions_in_words,
    giga,
    machine_in_words,
    megabytes,
    milliseconds,
    percent,
    present,
)
from vidcost.bench.timing.fast_plan import SHAPES, SPECS, TRIED, TRIED_ON_GPU
from vidcost.bench.timing.figures import machine_of_all
from vidcost.bench.timing.pairs import pair_figures
from vidcost.bench.timing.record import Timing
from vidcost.papers.catalog import rows_of, select

GOAL_POSITIONS = 6272
GOALS = {"cpu": ("a CPU", 2.0), "cuda": ("a GPU", 3.0)}
"""How many times as fast the non-local block should be at so many positions, by kind of device."""


def fast_tables(timings: Sequence[Timing]) -> list[Table]:
    """At inference, in training, and what was tried; of which there is something, or the first.

    Raises: ValueError if the records are of more than one machine.
    """
    ours = [timing for timing in timings if not is_tried(timing)]
    of_phase = {
        phase: [timing for timing in ours if timing.cell.phase == phase]
        for phase in ("inference", "training")
    }
    made = (
        (_inference_table, of_phase["inference"]),
        (_training_table, of_phase["training"]),
        (_tried_table, [timing for timing in timings if is_tried(timing)]),
    )
    return [make(chosen) for make, chosen in made if chosen] or [_inference_table([])]


def is_tried(timing: Timing) -> bool:
    """Whether it is of something that was tried instead."""
    return timing.cell.block in TRIED | TRIED_ON_GPU


def _line(timing: Timing) -> dict[str, Any]:
    cell, figures = timing.cell, pair_figures(timing)
    assert cell.against is not None, cell
    assert cell.against.block is not None, cell
    assert cell.shape is not None, cell
    shown = {
        f"{prefix}shown": speed_in_words(figures, prefix)
        for prefix in ("", "forward_", "backward_")
    }
    rate = figures["macs_per_s"]
    settled = timing.protocol is None or timing.protocol.settled
    return {
        "block": cell.against.block.removesuffix("path=fast").rstrip(":,"),
        "tried": cell.block,
        "channels": cell.shape[0],
        "positions": math.prod(cell.shape[1:]),
        "shape": "x".join(map(str, cell.shape)),
        "phase": cell.phase,
        "device": torch.device(cell.device).type,
        **{key: value for key, value in figures.items() if key not in ("subject", "reference")},
        **shown,
        "share_of_matmul": rate / timing.peak_macs_per_s
        if rate and timing.peak_macs_per_s
        else None,
        "shown_pairs": figures["pairs"] and f"{figures['pairs']:,}{'' if settled else ' ~'}",
        "shown_status": None if timing.status == "ok" else timing.status,
    }


def speed_in_words(figures: Mapping[str, Any], prefix: str = "") -> str | None:
    """1.62 (1.60 to 1.65)."""
    speed, low, high = (figures[f"{prefix}{key}"] for key in ("speed", "speed_low", "speed_high"))
    if speed is None:
        return None
    interval = f"({low:.2f} to {high:.2f})" if low is not None else "(too few pairs)"
    return f"{speed:.2f} {interval}"


_PARTS = ("", "forward_", "backward_")

_SUBJECT = (Column("block", "Block"), Column("positions", "N", integer))
_MEMORY = (
    Column("reference_peak_bytes", "Peak textbook, MB", megabytes),
    Column("peak_bytes", "fast", megabytes),
)
_STATUS = Column("shown_status", "Status")

_ROOFLINE = (
    " Of roofline: the least time over the measured one, for the MACs of each path. The least is "
    "that of its MACs at that rate or, if longer, of input, output and weights moved once at the "
    "memory's bandwidth by the data sheet; a map that a cache holds may take less."
)


def _inference_table(timings: Sequence[Timing]) -> Table:
    columns = (
        Column("reference_s", "Textbook, ms", milliseconds),
        Column("subject_s", "Fast, ms", milliseconds),
        Column("shown", "Times as fast"),
        Column("shown_pairs", "Pairs"),
        *_MEMORY,
        Column("reference_macs_total", "MACs textbook", billions),
        Column("macs_total", "fast", billions),
        Column("macs_per_s", "GMAC/s", giga),
        Column("share_of_matmul", "of matmul", percent),
        Column("reference_share_of_roofline", "Of roofline textbook", percent),
        Column("share_of_roofline", "fast", percent),
    )
    return _table(
        "Inference",
        timings,
        columns,
        "Peak: most that was allocated at once above the weights, input included. GMAC/s: of the "
        "fast path; of matmul: over those of a large matrix product on the same device.",
    )


def _training_table(timings: Sequence[Timing]) -> Table:
    columns = (
        Column("reference_s", "Textbook step, ms", milliseconds),
        Column("subject_s", "Fast step, ms", milliseconds),
        Column("shown", "Times as fast"),
        Column("shown_pairs", "Pairs"),
        Column("forward_shown", "forward"),
        Column("backward_shown", "backward"),
        *_MEMORY,
    )
    return _table(
        "Training",
        timings,
        columns,
        "A step is a forward pass, a backward pass and the optimiser's; its parts are compared by "
        "themselves.",
    )


def _tried_table(timings: Sequence[Timing]) -> Table:
    columns = (
        Column("tried", "Tried"),
        Column("reference_s", "Fast path, ms", milliseconds),
        Column("subject_s", "Tried, ms", milliseconds),
        Column("shown", "Times as fast"),
        Column("shown_pairs", "Pairs"),
        Column("reference_peak_bytes", "Peak fast path, MB", megabytes),
        Column("peak_bytes", "tried", megabytes),
        Column("reference_macs_total", "MACs fast path", billions),
        Column("macs_total", "tried", billions),
    )
    return _table(
        "Tried, and not taken",
        timings,
        columns,
        "Below 1 it is slower than the fast path.",
    )


_RATIO = (
    "Times as fast: the median of the ratios of pairs, with its 95% interval, which is that of one "
    "process: passes of a process are correlated, and another process may differ by more. ~: its "
    "warm-up had not settled. A pair is taken in turns, lines are not: between them the machine "
    "may have become slower or faster."
)


def _table(title: str, timings: Sequence[Timing], columns: Sequence[Column], meaning: str) -> Table:
    machine = machine_of_all(timings)
    order = {spec: number for number, spec in enumerate(SPECS)}
    lines = sorted(
        map(_line, timings), key=lambda line: (line["positions"], order.get(line["block"], 99))
    )
    channels = sorted({line["channels"] for line in lines})
    shape = (Column("shape", "Input"),) if len(channels) > 1 else ()
    shown = present(lines, (*columns, _STATUS))
    if any(column.key == "share_of_roofline" for column in shown):
        meaning += _ROOFLINE
    return Table(
        title=title,
        columns=(*_SUBJECT, *shape, *shown),
        lines=lines,
        footnotes={
            (index, "shown_status"): f"{line['status']}: {line['error']}"
            for index, line in enumerate(lines)
            if line["status"] != "ok"
        },
        legend=(
            f"Both sides in turns in one process; {conditions_in_words(timings)}, "
            f"{' and '.join(map(str, channels))} channels. {_RATIO} {meaning}",
            machine_in_words(machine, timings),
        ),
    )


INTRODUCTION = """\
# The same blocks, faster

Every block takes `path="fast"`: the same parameters, the same state dict, the same outputs and
gradients (to 1e-12 in float64), computed with less memory, fewer MACs or fewer passes over memory.
Rows use the textbook path unless their name ends in `-fast`. What a number belongs to:

- **The Gaussians** hold no matrix of all queries by all keys: they are torch's fused attention. On
  a CPU that would hold it where values have another width than keys, as those of the plain
  Gaussian, so that one takes slices of queries: as many as have 1,048,576 scores, 512 at least,
  all in the same memory. The MACs of a forward pass are the same; for the gradients the scores are
  computed anew. The plain Gaussian's are symmetric: in training a CPU takes one of five products
  less and half of another. A CPU holds the matrix of few scores: up to 1,048,576, and up to
  4,194,304 where there is no fused kernel, or where training would compute scores of more than 128
  channels anew; a GPU up to 33,554,432. Then all operators are the textbook's, but for the
  convolutions of large maps on a CPU, below. On a GPU torch's kernels leave the matrix units unused
  in TF32, and in half precision where values have another width or channels are more than 256: a
  Triton kernel takes its place at inference, where widths are at most 192 in TF32 and 512 in half
  precision, and slices otherwise.
- **Dot product**: queries x keys x values in the order that takes fewer MACs by the closed form.
- **Concatenation**: ReLU(a + b) summed over keys is, with the keys sorted by b, two running sums
  that every query looks up: O(N log N + N D), and no matrix product. Up to 262,144 pairs the matrix
  is taken. a and b are linear in x: unless keys are pooled, theta and phi are multiplied into w_f,
  weight by weight, and half of the convolutions' MACs are gone.
- **CGNL**: the scalar of a group scales its part of W_z, not the map; the inner product is no
  batched product of a row and a column any more, which was slow on a CPU.
- **1x1x1 convolutions** of all these are matrix products on a CPU, theta, phi and g one product,
  for maps of 262,144 values or more: torch's convolutions bring each map into a layout of their own
  and back. A module with hooks, or of another class, is called as ever (hooks on concatenation's
  theta and phi alone see nothing), and counters and tracers see convolutions.
- **CGD**: the gradients of both pools in two passes over the input instead of about six. On a GPU
  a Triton kernel takes both pools in one pass: in training from 262,144 values on, at inference
  from 8,388,608. Else its forward pass is the textbook's.
- **PNL**: its non-local operations as above, and on a CPU, where no gradient is wanted, a pooling
  by the maximum of rows and of columns. On a GPU one Triton kernel reads each scale at its own
  resolution, mixes, normalises and adds: at inference, from 8,388,608 values on. Else f_comb is
  the textbook's: one product over the stacked scales.
"""


def fast_markdown(timings: Sequence[Timing]) -> str:
    """The whole document, a section for each device and set of conditions.

    Raises: ValueError if there are no timings.
    """
    if not timings:
        raise ValueError("nothing is stored: give `vidcost fast` some time")
    parts = [INTRODUCTION, rows_table().markdown()]
    for heading, taken in alike(of_study(timings)):
        parts.append(f"## {heading}\n")
        parts += [f"- {sentence}" for sentence in findings(taken)]
        parts.append("")
        parts += [table.markdown() for table in fast_tables(taken)]
    if all(timing.cell.device == "cpu" for timing in timings):
        parts.append(
            "No raw samples of a GPU are stored yet: `vidcost fast --device cuda` takes them. "
            "Medians of an H100 are in [docs/fast.md](../docs/fast.md#on-an-h100).\n"
        )
    return "\n".join(parts)


def of_study(timings: Iterable[Timing]) -> list[Timing]:
    """Those at the shapes that the document is about; a person may have timed others."""
    return [timing for timing in timings if timing.cell.shape in SHAPES]


def alike(timings: Iterable[Timing]) -> list[tuple[str, list[Timing]]]:
    """``timings`` parted by device and conditions, which head each part."""
    parts: dict[tuple[str, str], list[Timing]] = {}
    for timing in timings:
        device = timing.machine.device if timing.machine else ""
        conditions = timing.cell.model_dump_json(include=set(CONDITIONS) - {"phase"})
        parts.setdefault((device, conditions), []).append(timing)
    return [
        (f"{device}, {conditions_in_words(taken)}", taken) for (device, _), taken in parts.items()
    ]


def rows_table() -> Table:
    """The MACs of each fast row beside those of the row it is a variant of."""
    lines = []
    for row in rows_of():
        if not row.is_fast:
            continue
        fast, textbook = count_row(row), count_row(select([row.name.removesuffix("-fast")])[0])
        lines.append(
            {
                "row": row.name,
                "params": fast.params,
                "textbook_macs": textbook.macs,
                "macs": fast.macs,
                "textbook_attention": textbook.matmul,
                "attention": fast.matmul,
            }
        )
    return Table(
        title="MACs of rows on either path",
        columns=(
            Column("row", "Row"),
            Column("params", "Params", integer),
            Column("textbook_macs", "MACs textbook", integer),
            Column("macs", "fast", integer),
            Column("textbook_attention", "of which attention", integer),
            Column("attention", "fast", integer),
        ),
        lines=lines,
        legend=(
            "Exact, batch 1; each equals its closed form. What is multiplied element by element is "
            "no MAC by convention: concatenation's running sums, and CGNL's inner product, take "
            "work that the fast path's MACs do not show. CGNL's scalars scale its last weight, "
            "so that its convolution is a product of activations, whose MACs count as attention.",
        ),
    )


def findings(timings: Sequence[Timing]) -> list[str]:
    """What the records say of the goals, in sentences."""
    ours = [timing for timing in timings if not is_tried(timing) and timing.status == "ok"]
    lines = [_line(timing) for timing in ours]
    found = []
    goal = [
        line
        for line in lines
        if (line["block"], line["positions"], line["phase"]) == ("nl", GOAL_POSITIONS, "inference")
    ]
    for line in goal:
        device, times = GOALS[line["device"]]
        reached = "reached" if (line["speed_low"] or 0) >= times else "not reached"
        share = line["share_of_matmul"]
        found.append(
            f"The non-local block at N = {GOAL_POSITIONS:,}: {line['shown']} times as fast, peak "
            f"memory {percent(line['memory_ratio'] or 0)} of the textbook's. The goal on {device}, "
            f"{times:g} times, is {reached}"
            + (
                f": the fast path runs at {share:.0%} of a large matrix product's rate, and at all "
                f"of it would be {line['speed'] / share:.2f} times as fast."
                if share
                else "."
            )
        )
    sure = [line for line in lines if line["speed_high"] is not None]
    found.append(
        "Slower than the textbook by the 95% interval, of "
        f"{len(sure)} comparisons of a whole pass or step: {_slower(lines, '')}. Of the parts of "
        f"a step, forward: {_slower(lines, 'forward_')}; backward: {_slower(lines, 'backward_')}. "
        "These are intervals of one process: of equals more than one in 40 lies below 1."
    )
    most = max(sure or lines, key=lambda line: line["speed"] or 0, default=None)
    if most is not None and most["speed"]:
        found.append(
            f"Most is gained by {most['block']} at N = {most['positions']:,} in {most['phase']}: "
            f"{most['shown']} times as fast."
        )
    return found


def _slower(lines: Iterable[Mapping[str, Any]], part: str) -> str:
    """Those whose whole interval lies below 1."""
    return (
        ", ".join(
            f"{line['block']} at N = {line['positions']:,} "
            f"({line['phase']}, {line[f'{part}shown']})"
            for line in lines
            if (line[f"{part}speed_high"] or 1.0) < 1
        )
        or "none"
    )
