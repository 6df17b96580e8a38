"""How the cost of blocks grows with a network's clip, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidcost.bench import files
from vidcost.bench.inspection.comparison import Compared
from vidcost.bench.report import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vP"


def growth_figure(compared: Sequence[Compared], *, title: str, axis: str) -> Figure:
    """What each block adds, against the swept axis: MACs, latency where it was measured, memory.

    Both axes are logarithmic: a straight line is a power of the clip's length or side. A value that
    is not above 0 cannot be drawn there, and is left out.
    """
    # a fifth of a second, which only who draws should pay
    from matplotlib.figure import Figure

    quantities = [
        ("added_macs", 1e-9, "added MACs, G"),
        ("added_s", 1e3, "added latency, ms"),
        ("added_peak_bytes", 1e-6, "added peak memory, MB"),
    ]
    drawn = [each for each in quantities if any(_points(compared, each[0]).values())]
    figure = Figure(figsize=(1 + 3.6 * max(1, len(drawn)), 3.8), layout="constrained")
    panels = figure.subplots(1, max(1, len(drawn)), squeeze=False)[0]
    for panel, (key, factor, label) in zip(panels, drawn, strict=False):
        _panel(panel, _points(compared, key), factor, label, axis)
        if key == "added_s":
            _whiskers(panel, compared)
    figure.suptitle(f"What a block adds to {title}", x=0.01, ha="left", fontsize=11)
    return figure


def write_growth(compared: Sequence[Compared], path: Path, *, title: str, axis: str) -> None:
    """Write the figure to ``path``, by its suffix as SVG or PNG.

    Raises: ValueError with the path if it cannot be written.
    """
    figure = growth_figure(compared, title=title, axis=axis)
    # text stays text, which can be found and read aloud
    is_svg = path.suffix == ".svg"
    files.write(path, drawing.svg(figure, text=True) if is_svg else drawing.png(figure))


def _points(compared: Sequence[Compared], key: str) -> dict[str, list[tuple[int, float]]]:
    """(value of the axis, what is added) by block, as far as it can be drawn."""
    found: dict[str, list[tuple[int, float]]] = {}
    for each in compared:
        value, amount = each.variant.value, getattr(each, key)
        if each.variant.block and value is not None and amount is not None and amount > 0:
            found.setdefault(each.variant.block, []).append((value, amount))
    return found


def _style(blocks: Sequence[str], block: str) -> tuple[str, str]:
    number = blocks.index(block)
    return drawing.COLORS[number % len(drawing.COLORS)], _MARKERS[number % len(_MARKERS)]


def _panel(
    panel: Axes,
    points: dict[str, list[tuple[int, float]]],
    factor: float,
    label: str,
    axis: str,
) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    values = sorted({value for line in points.values() for value, _ in line})
    for block, line in points.items():
        color, marker = _style(list(points), block)
        xs, ys = zip(*line, strict=True)
        panel.plot(xs, [factor * y for y in ys], color=color, marker=marker, ms=5, label=block)
    panel.set_xticks(values, [str(value) for value in values])
    panel.minorticks_off()
    panel.set_xlabel(axis)
    panel.set_title(label, loc="left", fontsize=9, color=drawing.GREY)
    panel.grid(color="#dddddd", lw=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, fontsize=8)


def _whiskers(panel: Axes, compared: Sequence[Compared]) -> None:
    """The 95% intervals of the added latencies, as far as they are above 0."""
    blocks = list(_points(compared, "added_s"))
    for each in compared:
        low, high, block = each.added_low_s, each.added_high_s, each.variant.block
        if block in blocks and low is not None and high is not None and low > 0:
            color, _ = _style(blocks, block)
            value = each.variant.value or 0
            panel.plot([value, value], [low * 1e3, high * 1e3], color=color, lw=1)
