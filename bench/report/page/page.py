"""The page: one HTML file that needs nothing beside it."""

from __future__ import annotations

import datetime
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup, escape

from vidcost.bench.report.page.html_table import HtmlTable, html_table
from vidcost.bench.report.page.plot import Plot
from vidcost.bench.report.page.sections import Headline, Prose, Section

_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*(.+?)\*\*")


def page(
    sections: Sequence[Section], headlines: Sequence[Headline], *, made: datetime.datetime
) -> str:
    """The HTML of the page; every text in it stays text."""
    plots = plots_of(sections)
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
        headlines=headlines,
        made=made.strftime("%Y-%m-%d %H:%M UTC"),
        style=Markup(_asset("report.css")),
        scripts=[script(_vega()), script(_asset("tables.js")), script(_asset("plots.js"))],
        plots={plot.name: _for_browser(plot) for plot in plots},
        data_tables={plot.name: _data_table(plot) for plot in plots},
        data_urls={plot.name: _data_url(plot) for plot in plots},
    )


def plots_of(sections: Sequence[Section]) -> list[Plot]:
    """The plots of all sections, in order."""
    return [part for section in sections for part in section.parts if isinstance(part, Plot)]


def marked(text: str) -> Markup:
    """Text with `code` and **strong** words; all else in it stays as it is."""
    with_code = _CODE.sub(r"<code>\1</code>", str(escape(text)))
    return Markup(_STRONG.sub(r"<strong>\1</strong>", with_code))


def script(code: str) -> Markup:
    """JavaScript that can stand in a page: nothing in it ends the element."""
    return Markup(re.sub(r"</(?=script)|<(?=!--)", r"\\x3c", code, flags=re.IGNORECASE))


def _for_browser(plot: Plot) -> Mapping[str, Any]:
    return {
        "spec": plot.vega(),
        "controls": [control.name for control in plot.controls],
        "said": {"\n".join(chosen): words for chosen, words in plot.said.items()},
    }


def _data_table(plot: Plot) -> HtmlTable:
    return html_table(f"{plot.name}-data", plot.data, ())


def _data_url(plot: Plot) -> str:
    return "data:text/csv;charset=utf-8," + urllib.parse.quote(plot.data.csv())


def _asset(name: str) -> str:
    return (files("vidcost.bench.report.page") / "assets" / name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
