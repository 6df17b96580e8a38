import re
import shlex
from dataclasses import replace

import pytest

from vidcost.bench.audit.recipe_search import search
from vidcost.bench.audit.recipes import Figures, Recipe
from vidcost.bench.audit.verdicts import FindingGone, judge
from vidcost.bench.report.audit import findings as audit_findings
from vidcost.bench.report.audit.document import audit_markdown
from vidcost.bench.report.audit.findings import findings
from vidcost.bench.report.audit.tables import figure_table, recipe_table, search_table
from vidcost.papers import catalog
from vidcost.papers.catalog import select

HEAD = "<!-- written by: vidcost audit -->\n\n"


@pytest.fixture(scope="module")
def judged():
    return judge(catalog.paper())


@pytest.fixture(scope="module")
def document(judged):
    return audit_markdown(catalog.paper(), judged)


@pytest.fixture(scope="module")
def found(judged):
    return findings(catalog.paper(), judged)


@pytest.fixture(scope="module")
def searched():
    return search(select(["r50-ucf101"])[0], catalog.paper())


def test_the_committed_audit_is_fresh(results, document):
    path = results / "audit.md"
    assert path.is_file(), "results/audit.md is missing: `vidcost audit` writes it"
    assert HEAD + document == path.read_text(), "results/audit.md is stale: run `vidcost audit`"


def test_findings_come_before_figures_and_claims(document):
    order = [line for line in document.splitlines() if line.startswith("## ")]
    assert ["## What changes a conclusion", "## Figures", "## Claims"] == order
    assert document.startswith("# Audit\n")


def test_what_is_equal_is_said_first(found):
    assert all(each.equal.startswith("Equal: ") for each in found)
    assert all(each.differs.startswith("Differs: ") for each in found)


def test_the_head_counts_the_verdicts(document):
    (line,) = re.findall(r"Of (\d+) figures: (\d+) exact, (\d+) close, (\d+) not rep", document)
    total, *parts = map(int, line)
    assert total == sum(parts) == 37


@pytest.mark.parametrize(
    ("number", "words"),
    [
        # five modules against one block
        (0, "16.033G MACs against 12.452G"),
        (0, "MFNet-PNL(×5) has 11.376G FLOPs, as printed (11.38G)"),
        (0, "A module in conv4 needs 0.291G, a block there 1.407G"),
        (1, "200 classes, 16 frames: 23,917,832 parameters"),
        (1, "one of 96 recipes"),
        (2, "8.43G to the baseline"),
        (3, "Res50-NL 27,656,232 (27.66M)"),
        (3, "1,639,200 parameters more"),
        (4, "462,422,016, not 177,570,054,144"),
        (5, "Vanilla concatenation 0.068M, counted 0.019M (per scale 0.074M)"),
        (6, "I3D (RGB) [46]: 12.06M and 107.9G printed"),
    ],
)
def test_what_the_findings_say(found, number, words):
    assert words in f"{found[number].equal} {found[number].differs}"


COMMANDS = [
    "vidcost count mfnet-pnl-x5 mfnet-nl",
    "vidcost audit --recipe mfnet-pnl-x5",
    "vidcost audit --recipe 'r50-ucf101 classes=200 frames=16'",
    "vidcost audit --recipe 'r50-nl classes=1000'",
    "vidcost audit --recipe 'i3d-rgb classes=400 third-branch=1x1x1 norm=none'",
    "vidcost audit --recipe r3d18",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_of_a_finding_runs(command, found, vidcost):
    assert command in {each for finding in found for each in finding.commands}
    status, out, err = vidcost(*shlex.split(command)[1:])
    assert (0, "") == (status, err)
    assert out


def test_every_command_of_a_finding_is_one(found):
    for command in {each for finding in found for each in finding.commands}:
        program, name, *rest = shlex.split(command)
        assert "vidcost" == program
        assert name in ("count", "show", "audit", "formulas")
        if rest[:1] == ["--recipe"]:
            Recipe.parse(rest[1])
        elif rest[:1] == ["--search"]:
            assert rest[1] == select([rest[1]])[0].name


def test_a_finding_that_no_longer_holds_is_not_written(monkeypatch, judged):
    """The conclusion is checked before it is put into words."""
    real = audit_findings.ours

    def cheap(row):
        flops = {name: value // 2 for name, value in real(row).flops.items()}
        return replace(real(row), flops=flops) if row == "mfnet-pnl-x5" else real(row)

    monkeypatch.setattr(audit_findings, "ours", cheap)
    with pytest.raises(FindingGone, match=r"finds no longer that thop-2020 gives 11\.38G"):
        findings(catalog.paper(), judged)


# --- tables


def test_the_figure_table_has_a_line_and_a_note_each(judged):
    table = figure_table(judged)
    assert len(judged) == len(table.lines)
    noted = [index for index, each in enumerate(judged) if each.note]
    assert [(index, "printed") for index in noted] == sorted(table.footnotes)


def test_the_figure_table_names_conventions_and_recipes(judged):
    lines = {(e["table"], e["row"], e["figure"]): e for e in figure_table(judged).lines}
    x5 = lines[5, "mfnet-pnl-x5", "FLOPs"]
    assert ("exact", "thop-2020", 11_375_634_944) == (x5["verdict"], x5["convention"], x5["ours"])
    cgnl = lines[5, "r50-cgnl", "params"]
    assert ("not reproduced", 27_197_480, 768) == (cgnl["verdict"], cgnl["given"], cgnl["tried"])
    assert "nearest: thop-2020" == lines[5, "mfnet-nl", "FLOPs"]["convention"]
    assert None is lines[5, "2plus-c1-d", "FLOPs"]["ours"]
    assert None is lines[5, "i3d-ts", "FLOPs"]["difference"]


def test_a_recipe_beside_what_is_printed():
    table = recipe_table(Recipe.parse("r50-ucf101 classes=200 frames=16"), catalog.paper())
    (line,) = table.lines
    assert (23_917_832, "23.92M", "10.29G") == (
        line["params"],
        line["params_printed"],
        line["flops_printed"],
    )
    assert {(0, "params"), (0, "fvcore"), (0, "thop-2020")} == table.equal


def test_a_recipe_of_a_row_without_printed_figures():
    table = recipe_table(Recipe.parse("r3d18"), catalog.paper())
    assert (None, frozenset()) == (table.lines[0]["params_printed"], table.equal)


def test_a_search_prints_what_was_tried_beside_the_hits(searched):
    table = search_table(searched, most=3)
    text = table.markdown()
    assert 3 == len(table.lines)
    assert "96 recipes tried, each in 4 conventions." in text
    # the parameters are 24 times those of 200 classes
    assert "24 hit the parameters; of the 239 figures of as many digits within 5% they give" in text
    assert "1 hit both" in text
    assert "frames: as described, 16, 64" in text
    assert "2 of 2" == table.lines[0]["hits"]
    assert "r50-ucf101 classes=200 frames=16" == table.lines[0]["spec"]


def test_a_search_that_counted_a_recipe_wrongly_is_not_printed(searched):
    first, *rest = searched.matches
    wrong = replace(first, figures=Figures(first.figures.params + 1, first.figures.flops))
    with pytest.raises(AssertionError):
        search_table(replace(searched, matches=(wrong, *rest)))
