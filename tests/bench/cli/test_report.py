"""The command that puts everything on one page."""

import re
import shlex
import shutil

from vidcost.bench.cli.report import report_app


def test_the_example_writes_the_page_and_the_figures(vidcost, results, tmp_path):
    (tmp_path / "results").mkdir()
    shutil.copy(results / "counts.jsonl", tmp_path / "results")
    (command,) = report_app.registered_commands
    (example,) = re.findall("`vidcost (.*)`", command.epilog)
    status, said, err = vidcost(*shlex.split(example))
    assert (0, "") == (status, err)
    assert said.startswith("Written: report.html, and ")
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")
    assert (tmp_path / "results/figures/growth.svg").is_file()


def test_without_counts_it_says_what_writes_them(vidcost, tmp_path):
    status, _, err = vidcost("report", "--results", str(tmp_path))
    expected = f"vidcost: no counts.jsonl in {tmp_path}: `vidcost run` writes it\n"
    assert (2, expected) == (status, err)
