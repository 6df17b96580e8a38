import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markupsafe import escape

from vidcost.bench.report.page.page import marked, page, script
from vidcost.bench.report.page.sections import NO_TIMINGS, Prose, headlines
from vidcost.bench.report.page.sections import sections as sections_of

pytestmark = pytest.mark.slow
HOSTILE = "<script>document.title='run'</script>"


class Reader(HTMLParser):
    """Collects ids, links, the elements that load something, and scripts."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loaded, self.scripts = [], [], [], []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        if "id" in known:
            self.ids.append(known["id"])
        if tag == "a":
            self.links.append(known.get("href", ""))
        self.loaded += [known[key] for key in ("src", "srcset", "action", "poster") if key in known]
        if tag == "link":
            self.loaded.append(known["href"])
        if tag == "script":
            self._in_script = True
            self.scripts.append("")

    def handle_data(self, data):
        if self._in_script:
            self.scripts[-1] += data

    def handle_endtag(self, tag):
        if tag == "script":
            self._in_script = False


@pytest.fixture(scope="module")
def sections(data):
    return sections_of(data)


@pytest.fixture(scope="module")
def whole(sections, data):
    return page(sections, data)


@pytest.fixture(scope="module")
def read(whole):
    return Reader(whole)


def test_every_link_leads_somewhere_on_the_page(read):
    inside = {link[1:] for link in read.links if link.startswith("#")}
    assert "row-mfnet-nl" in inside
    assert set() == inside - set(read.ids)
    assert [] == [x for x in read.links if not x.startswith(("#", "data:text/csv"))]


def test_an_id_stands_once(read):
    assert sorted(set(read.ids)) == sorted(read.ids)


def test_the_page_loads_nothing(whole, read):
    assert ["data:,"] == read.loaded
    style = re.search("<style>(.*?)</style>", whole, re.DOTALL)[1]
    assert not re.search(r"@import|url\(", style)
    assert "default-src 'none'" in whole


def test_a_hostile_name_stays_text(whole, read):
    assert HOSTILE not in whole
    assert whole.count(str(escape(HOSTILE))) > 3
    # in the data of plots it is a string
    spec = next(each for each in read.scripts if "Latency, ms (log scale)" in each)
    names = {x.get("target") for d in json.loads(spec)["data"] for x in d.get("values", [])}
    assert HOSTILE in names


def test_the_tables_are_all_there_with_the_printed_figures(whole):
    for number in range(1, 7):
        assert f'id="table-{number}"' in whole
    line = re.search(r'<tr id="table-5-mfnet-nl">(.*?)</tr>', whole, re.DOTALL)[1]
    cells = re.findall(r'data-value="([^"]*)"', line)
    # Top-1 and parameters printed and counted, FLOPs printed, fvcore, thop, thop of 2020, ours
    assert [79.74, 8.15e6, 8138248, 11.66e9, 12584093696, 11772246784, 11639982848] == [
        float(cell) for cell in cells[:7]
    ]
    assert "8.15M" in line


def test_the_headlines_are_counted(data):
    found = [(each.number, each.section) for each in headlines(data)]
    assert [("3", "rows"), ("7 of 37", "audit"), ("14 of 14", "reconciliation")] == found
    wrong = replace(data, entries=(replace(data.entries[0], printed=1), *data.entries[1:]))
    assert "13 of 14" == headlines(wrong)[2].number


def test_without_timings_the_section_says_what_makes_them(data):
    (timings,) = [x for x in sections_of(replace(data, devices=())) if x.name == "Timings"]
    assert (Prose((NO_TIMINGS,)),) == timings.parts


def test_timings_have_tables_and_their_failures(whole):
    assert 'id="timings-Abacus"' in whole
    assert "oom: out of memory" in whole


def test_every_plot_has_its_data_as_a_table_and_a_file(whole, sections):
    names = [plot.name for section in sections for plot in section.plots]
    of_device = ["latency-abacus", "roofline-abacus"]
    assert ["accuracy", "growth", "reconciliation", *of_device] == names
    for name in names:
        assert f'id="{name}-data"' in whole
        assert f'download="{name}.csv" href="data:text/csv' in whole


def test_marks_make_code_and_nothing_else():
    assert "&lt;b&gt; <code>a &lt; b</code> <strong>yes</strong>" == marked("<b> `a < b` **yes**")


def test_a_script_cannot_be_ended_from_inside():
    assert "</script" not in script("a = '</script>'; b = '</SCRIPT>'; c = '<!--'").lower()
    assert "<!--" not in script("c = '<!--'")
