import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markupsafe import escape

from vidcost.bench.report.page.gathered import gather
from vidcost.bench.report.page.page import marked, page, plots_of, script
from vidcost.bench.report.page.sections import NO_TIMINGS, Prose, Sections

HOSTILE = "<script>document.title='run'</script>"


class Reader(HTMLParser):
    """Collects ids, links, the elements that ask for something, and the text by element."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.asked, self.scripts = [], [], [], []
        self._in_script = False

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        if "id" in known:
            self.ids.append(known["id"])
        if tag == "a":
            self.links.append(known.get("href", ""))
        self.asked += [known[key] for key in ("src", "srcset", "action", "poster") if key in known]
        if tag == "link":
            self.asked.append(known["href"])
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
def whole(every_section, sections, gathered):
    return page(every_section, sections.headlines(), made=gathered.made)


@pytest.fixture(scope="module")
def few(small_sections, gathered_small):
    return page(small_sections, Sections(gathered_small).headlines(), made=gathered_small.made)


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


def test_every_link_leads_somewhere_on_the_page(whole):
    reader = read(whole)
    inside = {link[1:] for link in reader.links if link.startswith("#")}
    assert "row-mfnet-nl" in inside
    assert set() == inside - set(reader.ids)
    assert [] == [x for x in reader.links if not x.startswith(("#", "data:text/csv"))]


def test_an_id_stands_once(whole, few):
    for text in (whole, few):
        ids = read(text).ids
        assert sorted(set(ids)) == sorted(ids)


def test_the_page_asks_for_nothing(whole):
    assert ["data:,"] == read(whole).asked
    style = re.search("<style>(.*?)</style>", whole, re.DOTALL)[1]
    assert not re.search(r"@import|url\(", style)
    assert "default-src 'none'" in whole


def test_a_hostile_name_stays_text(few):
    assert HOSTILE not in few
    assert few.count(str(escape(HOSTILE))) > 3
    reader = read(few)
    # in the data of plots it is a string
    spec = next(script for script in reader.scripts if "Latency, ms (log scale)" in script)
    assert HOSTILE in {
        x.get("target") for d in json.loads(spec)["spec"]["data"] for x in d.get("values", [])
    }


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


def test_the_headlines_are_counted(sections, gathered):
    assert [
        ("42", "rows"),
        ("7 of 37", "audit"),
        ("294 of 294", "ledger"),
    ] == [(each.number, each.section) for each in sections.headlines()]
    broken = gathered.entries[0]
    wrong = replace(gathered, entries=(replace(broken, printed=1), *gathered.entries[1:]))
    assert "293 of 294" == Sections(wrong).headlines()[2].number


def test_without_timings_the_section_says_what_makes_them(gathered_small):
    sections = Sections(replace(gathered_small, devices=())).all()
    (timings,) = [each for each in sections if each.name == "timings"]
    assert (Prose(NO_TIMINGS),) == timings.parts


def test_timings_have_plots_and_tables_and_their_failures(few):
    for name in ("latency-abacus", "roofline-abacus"):
        assert f'id="plot-{name}"' in few
    assert 'id="timings-Abacus"' in few
    assert "oom: out of memory" in few


def test_every_source_of_numbers_is_named(gathered):
    by_what = {source.what: source for source in gathered.sources}
    counts = by_what["Counts, and what fvcore, thop and torch print"]
    assert "vidcost run" == counts.command
    assert "torch 2.13.0+cpu" in counts.versions
    assert "fvcore 0.1.5.post20221221" in counts.versions


def test_no_counts_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no counts.jsonl in .*: `vidcost run` writes it"):
        gather(tmp_path)


def test_every_plot_has_its_data_as_a_table_and_a_file(whole, every_section):
    names = [plot.name for plot in plots_of(every_section)]
    # and a latency or a roofline of every device that was measured
    of_devices = [name for name in names if name.startswith(("latency-", "roofline-"))]
    assert ["accuracy", "growth", "ledger", *of_devices] == names
    for name in names:
        assert f'id="{name}-data"' in whole
        assert f'download="{name}.csv" href="data:text/csv' in whole


def test_marks_make_code_and_nothing_else():
    assert "&lt;b&gt; <code>a &lt; b</code> <strong>yes</strong>" == marked("<b> `a < b` **yes**")


def test_a_script_cannot_be_ended_from_inside():
    assert "</script" not in script("a = '</script>'; b = '</SCRIPT>'; c = '<!--'").lower()
    assert "<!--" not in script("c = '<!--'")
