"""What README shows is what the tool prints."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).parent.parent


def test_table_3_stands_in_readme_as_the_tool_prints_it():
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    shown = readme.split("<!-- table 3: as printed by `vidcost tables 3` -->\n", 1)[1]
    shown = shown.split("<!-- end of table 3 -->", 1)[0]
    printed = (CHECKOUT / "results/tables/table3.md").read_text(encoding="utf-8")
    assert printed.split("-->\n", 1)[1].strip() == shown.strip()
