"""The plots as files for papers, each with its data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from vidcost.bench import files
from vidcost.bench.report.page.html_table import anchor
from vidcost.bench.report.page.plot import Plot

FIGURES = "figures"
"""The folder in results/."""


def write_figures(plots: Iterable[Plot], results: Path) -> list[Path]:
    """Write every plot to ``results``/figures: its data, and SVG and PNG of each shown choice.

    Returns: the paths.
    Raises: ValueError with the path if one cannot be written.
    """
    folder = results / FIGURES
    written = []
    for plot in plots:
        written.append(folder / f"{plot.name}.csv")
        files.write(written[-1], plot.data.csv())
        for stem, chosen in shown(plot):
            vector, pixels = folder / f"{stem}.svg", folder / f"{stem}.png"
            files.write(vector, plot.svg(chosen))
            files.write(pixels, plot.png(chosen))
            written += [vector, pixels]
    return written


def shown(plot: Plot) -> Iterator[tuple[str, dict[str, str]]]:
    """The stem of a file and the choice of the controls that it shows.

    What is chosen at first, and for a plot that asks for it every value of each control in turn,
    but for those that have nothing to draw.
    """
    first = {control.name: control.chosen for control in plot.controls}
    yield plot.name, first
    for control in plot.controls:
        if control.name not in plot.filed:
            continue
        for value, _ in control.options:
            chosen = first | {control.name: value}
            if value != control.chosen and tuple(chosen.values()) not in plot.said:
                yield anchor(plot.name, value), chosen
