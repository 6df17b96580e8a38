"""The views are those of docs/query.md."""

from __future__ import annotations

import re
from pathlib import Path

from vidcost.bench.query.views import VIEWS

PAGE = (Path(__file__).resolve().parents[3] / "docs/query.md").read_text(encoding="utf-8")


def test_the_documented_views_are_those_there_are():
    sections = re.findall(r"^### (\w+)\n\nA line is (.*)\.\n((?:\n|\|.*\n?)+)", PAGE, re.MULTILINE)
    documented = {
        name: (line, re.findall(r"^\| `(\w+)` \| ([\w()]+) \| (.*) \|$", table, re.MULTILINE))
        for name, line, table in sections
    }
    assert {
        view.name: (view.line, [(c.name, c.type, c.meaning) for c in view.columns])
        for view in VIEWS
    } == documented


def test_columns_have_their_units():
    for view in VIEWS:
        for column in view.columns:
            if column.name.endswith("_ms"):
                assert column.meaning.endswith(", ms") or ", ms;" in column.meaning, column
            if column.name.endswith("_bytes"):
                assert column.meaning.endswith(", bytes"), column
