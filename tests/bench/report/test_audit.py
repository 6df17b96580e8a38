"""The audit's document and tables: their numbers counted, the committed files kept fresh."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from vidcost.bench.audit import Recipe, judge
from vidcost.bench.report import audit as report
from vidcost.bench.report.audit import audit_markdown, findings, recipe_table
from vidcost.bench.report.formulas import formula_markdown
from vidcost.papers import catalog

HEAD = "<!-- written by: vidcost {} pnl2020 -->\n\n"


@pytest.fixture(scope="module")
def judged():
    return judge(catalog.paper())


@pytest.fixture(scope="module")
def found(judged):
    return findings(catalog.paper(), judged)


@pytest.fixture(scope="module")
def document(judged, found):
    return audit_markdown(catalog.paper(), judged, found)


def test_the_committed_audit_is_fresh(results, document):
    committed = (results / "audits/pnl2020.md").read_text()
    assert HEAD.format("audit") + document == committed, "stale: run `vidcost audit`"


def test_the_committed_formulas_are_fresh(results):
    document = formula_markdown(catalog.paper())
    committed = (results / "formulas/pnl2020.md").read_text()
    assert HEAD.format("formulas") + document == committed, "stale: run `vidcost formulas`"
    # what GitHub rejects, and what would leave a formula open
    assert "operatorname" not in document
    assert document.count("$`") == document.count("`$")


def test_every_command_of_a_finding_is_one(found):
    assert all(each.commands for each in found)
    for command in {each for finding in found for each in finding.commands}:
        program, name, *rest = shlex.split(command)
        assert "vidcost" == program
        assert name in ("count", "audit", "formulas")
        if rest[:1] == ["--recipe"]:
            Recipe.parse(rest[1])


def test_a_finding_that_no_longer_holds_is_marked(monkeypatch, judged):
    real = report.ours

    def cheap(row):
        flops = {name: value // 2 for name, value in real(row).flops.items()}
        return replace(real(row), flops=flops) if row == "mfnet-pnl-x5" else real(row)

    monkeypatch.setattr(report, "ours", cheap)
    found = findings(catalog.paper(), judged)
    gone = [words for each in found for words in each.gone]
    assert ["thop-2020 gives 11.38G", "five PNL need more MACs than one NL"] == gone[:2]
    written = audit_markdown(catalog.paper(), judged, found)
    assert "**This finding no longer holds: the audit does not find that thop-2020 gives" in written
    assert 1 == written.count("no longer holds")


# templates of any paper

FINDING = """
{% set holds = counted("c3d").params < LIMIT %}
{% call finding("C3D is small", {"C3D is small": holds}, ["vidcost list"]) %}
It has {{ counted("c3d").params | millions }}.
{% endcall %}
"""


def test_a_finding_that_is_gone_fails_the_audit_and_leaves_the_report(tiny, vidcost, tmp_path):
    tiny(findings=FINDING.replace("LIMIT", "10"))
    status, out, err = vidcost("audit", "tiny", "--results", "r")
    assert 1 == status
    assert "vidcost: the audit finds no longer that C3D is small: rewrite the finding" in err
    assert "**This finding no longer holds: the audit does not find that C3D is small.**" in out
    assert (tmp_path / "r/audits/tiny.md").read_text().endswith(out)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ nothing }}", "findings.md.j2 cannot be rendered: 'nothing' is undefined"),
        ("{% call %}", "findings.md.j2, line 1: "),
        ("{{ 1 + none }}", "findings.md.j2 cannot be rendered: unsupported operand"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_named(template, said, tiny, complaint):
    tiny(findings=template)
    assert said in complaint("audit", "tiny")


def test_a_paper_without_formulas_says_so(tiny, complaint):
    tiny()
    assert "paper tiny has no formulas.md.j2" in complaint("formulas", "tiny")


# tables


def test_a_recipe_beside_what_is_printed():
    table = recipe_table(Recipe.parse("r50-ucf101 classes=200 frames=16"))
    (line,) = table.lines
    assert (23_917_832, "23.92M", "10.29G") == (
        line["params"],
        line["params_printed"],
        line["flops_printed"],
    )
    assert {(0, "params"), (0, "fvcore"), (0, "thop-2020")} == table.equal
