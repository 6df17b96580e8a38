"""A second paper, as docs/extending.md writes it: a folder, and no existing file."""

import re
from pathlib import Path

import pytest

from vidcost.bench.audit import judge, problems
from vidcost.papers import catalog

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize(("file", "language"), [("figures.toml", "toml"), ("rows.py", "python")])
def test_the_example_is_the_one_of_the_documentation(file, language):
    page = (CHECKOUT / "docs/extending.md").read_text(encoding="utf-8").split("## A paper\n")[1]
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert block == (CHECKOUT / "papers/example" / file).read_text(encoding="utf-8")


def test_the_audit_finds_the_misprint():
    paper = catalog.paper("example")
    judged = judge(paper)
    assert 4 == len(judged)
    assert [("example-r50-nl", "params")] == [(e.row.name, e.kind) for e in judged if not e.met]
    assert [] == problems(paper, judged)


def test_nothing_of_the_example_is_in_default_outputs():
    names = {row.name for row in catalog.rows_of("example")}
    assert 2 == len(names)
    assert not names & {row.name for row in catalog.select()}
    assert not names & {row.name for row in catalog.rows_beside(["mfnet"])}
