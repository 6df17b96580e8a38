"""The page: one HTML file that needs nothing beside it; and its plots as files."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import jinja2
import vl_convert
from markupsafe import Markup, escape

from vidcost.bench.files import write
from vidcost.bench.report.page.data import Data
from vidcost.bench.report.page.html_table import html_table
from vidcost.bench.report.page.sections import Prose, Section, headlines
from vidcost.bench.report.plots.plot import Plot

_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*(.+?)\*\*")


def page(sections: Sequence[Section], data: Data) -> str:
    """The HTML of the page; every text in it stays text."""
    plots = [plot for section in sections for plot in section.plots]
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_asset),
    )
    environment.filters["marked"] = marked
    environment.tests["plot"] = lambda part: isinstance(part, Plot)
    environment.tests["prose"] = lambda part: isinstance(part, Prose)
    return environment.get_template("report.html.j2").render(
        sections=sections,
        headlines=headlines(data),
        paper=data.paper.paper,
        made=data.made.strftime("%Y-%m-%d %H:%M UTC"),
        style=Markup(_asset("report.css")),
        scripts=[script(_vega()), script(_asset("report.js"))],
        specs={plot.name: plot.vega() for plot in plots},
        tables={plot.name: html_table(f"{plot.name}-data", plot.data, ()) for plot in plots},
        files={plot.name: _data_url(plot) for plot in plots},
    )


def write_figures(plots: Iterable[Plot], folder: Path) -> list[Path]:
    """Write every plot into ``folder``: its data as CSV, and SVG of the choices that it files.

    Returns: the paths.
    Raises: ValueError with the path if one cannot be written.
    """
    written = []
    for plot in plots:
        written.append(folder / f"{plot.name}.csv")
        write(written[-1], plot.data.csv())
        for stem, chosen in plot.files():
            written.append(folder / f"{stem}.svg")
            write(written[-1], plot.svg(chosen))
    return written


def marked(text: str) -> Markup:
    """Text with `code` and **strong** words; all else in it stays as it is."""
    with_code = _CODE.sub(r"<code>\1</code>", str(escape(text)))
    return Markup(_STRONG.sub(r"<strong>\1</strong>", with_code))


def script(code: str) -> Markup:
    """JavaScript for a page: nothing in it ends the element."""
    return Markup(re.sub(r"</(?=script)|<(?=!--)", r"\\x3c", code, flags=re.IGNORECASE))


def _data_url(plot: Plot) -> str:
    return "data:text/csv;charset=utf-8," + urllib.parse.quote(plot.data.csv())


def _asset(name: str) -> str:
    return (files("vidcost.bench.report.page") / "assets" / name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
