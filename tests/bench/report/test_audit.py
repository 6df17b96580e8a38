import shlex

import pytest

from vidcost.bench.audit import Recipe, judge
from vidcost.bench.report.audit import findings, formula_markdown, recipe_table
from vidcost.papers import catalog


def test_the_committed_formulas_are_fresh(results):
    document = formula_markdown(catalog.paper())
    committed = (results / "formulas/pnl2020.md").read_text()
    head = "<!-- written by: vidcost formulas pnl2020 -->\n\n"
    assert head + document == committed, "stale: run `vidcost formulas`"
    # what GitHub rejects, and what would leave a formula open
    assert "operatorname" not in document
    assert document.count("$`") == document.count("`$")


def test_every_command_of_a_finding_is_one():
    found = findings(catalog.paper(), judge(catalog.paper()))
    assert all(each.commands for each in found)
    for command in {each for finding in found for each in finding.commands}:
        program, name, *rest = shlex.split(command)
        assert ("vidcost", True) == (program, name in ("count", "audit", "formulas"))
        if rest[:1] == ["--recipe"]:
            Recipe.parse(rest[1])


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
    assert (
        "1. C3D is small This finding no longer holds: the audit does not find that C3D is small."
        in " ".join(out.split())
    )
    assert "This finding no longer holds" in (tmp_path / "r/audits/tiny.md").read_text()


@pytest.mark.parametrize(
    ("template", "command", "said"),
    [
        ("{{ nothing }}", "audit", "findings.md.j2 cannot be rendered: 'nothing' is undefined"),
        ("{% call %}", "audit", "findings.md.j2, line 1: "),
        ("{{ 1 + none }}", "audit", "findings.md.j2 cannot be rendered: unsupported operand"),
        ("", "formulas", "paper tiny has no formulas.md.j2"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_named(template, command, said, tiny, complaint):
    tiny(findings=template)
    assert said in complaint(command, "tiny")


def test_a_recipe_beside_the_printed_figures():
    table = recipe_table(Recipe.parse("r50-ucf101 classes=200 frames=16"))
    found = {line["convention"]: (line["ours"], line["printed"]) for line in table.lines}
    assert (23_917_832, "23.92M") == found["params"]
    assert "10.29G" == found["macs"][1]
    assert ["params", "fvcore", "thop-2020"] == [x["convention"] for x in table.lines if x["met"]]
