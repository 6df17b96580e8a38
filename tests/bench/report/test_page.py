import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markupsafe import escape

from vidcost.bench.count import record
from vidcost.bench.report.page import gather, marked, page, powers, script
from vidcost.bench.report.page import sections as sections_of
from vidcost.bench.report.plots import anchor

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
    assert sorted(set(read.ids)) == sorted(read.ids)
    assert [] == [x for x in read.links if not x.startswith(("#", "data:text/csv"))]


def test_the_page_loads_nothing(whole, read):
    assert ["data:,"] == read.loaded
    style = re.search("<style>(.*?)</style>", whole, re.DOTALL)[1]
    assert not re.search(r"@import|url\(", style)
    assert "default-src 'none'" in whole


def test_a_hostile_name_stays_text(whole, read, data):
    hostile = replace(data, entries=[replace(each, row=HOSTILE) for each in data.entries])
    shown = page(sections_of(hostile), hostile)
    assert HOSTILE not in shown + whole
    assert str(escape(HOSTILE)) in shown
    # in scripts, too, it is no element
    assert not any(HOSTILE in each for each in read.scripts)


def test_every_network_is_in_one_table_with_its_printed_figures(sections):
    (networks,) = next(each for each in sections if each.name == "Networks").parts
    lines = {line["row"]: line for line in networks.table.lines}
    assert ("11.66G", "79.74%") == tuple(
        lines["mfnet-nl"][key] for key in ("flops_printed", "top1")
    )
    assert 944_111_616 / 12_451_829_760 == lines["mfnet-nl"]["attention"]
    # a row that cannot be built has its printed figures
    assert "31.9G" == lines["2plus-c1-d"]["flops_printed"]
    assert "macs" not in lines["2plus-c1-d"]


def test_the_plot_has_its_data_as_a_file(whole):
    assert 'download="accuracy.csv" href="data:text/csv' in whole


def test_without_timings_stands_the_command_that_makes_them(whole, data):
    bare = replace(data, devices={})
    assert "`vidcost time` makes them" not in whole
    assert "<code>vidcost time</code> makes them" in page(sections_of(bare), bare)


def test_text_is_marked_up_and_nothing_else():
    assert "&lt;b&gt; <code>a &lt; b</code> <strong>yes</strong>" == marked("<b> `a < b` **yes**")
    assert "2C<sup>3</sup>N + 2<sup>(n-1)</sup> &lt; 1" == powers("2C^3N + 2^(n-1) < 1")
    # a script cannot be ended from inside
    written = script("a = '</script>'; b = '</SCRIPT>'; c = '<!--'").lower()
    assert not re.search("</script|<!--", written)
    # an anchor has no letter that HTML or a link reads
    assert "row--script-alert-1-script-" == anchor("row", "<script>alert(1)</script>")
    assert "row-mfnet-pnl_x.5" == anchor("row", "mfnet-pnl_x.5")


def test_rows_are_counted_anew_beside_stored_answers(tmp_path, committed):
    wrong = committed["mfnet"].model_copy(update={"conv": 1})
    record.write(tmp_path, [wrong], command="vidcost run")
    found = gather(tmp_path).records
    assert found["mfnet"] == committed["mfnet"]
    # a row without stored answers is counted all the same
    assert {} == found["mfnet-nl"].reference_counters
    assert committed["mfnet-nl"].macs == found["mfnet-nl"].macs
