"""The studies that are committed say what their raw samples say."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidcost.bench.gate.trial import read
from vidcost.bench.report.gate.study_document import write_study

STUDIES = sorted((Path(__file__).resolve().parents[3] / "results" / "gate").glob("*/study.jsonl"))


def test_there_is_a_study():
    assert STUDIES


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.parent.name)
def test_a_study_is_what_its_trials_give(study, tmp_path):
    write_study(read(study), tmp_path)
    stale = f"stale: `vidcost gate study` writes {study.parent}/README.md anew"
    for name in ("README.md", "power.csv"):
        committed = (study.parent / name).read_text(encoding="utf-8")
        assert (tmp_path / name).read_text(encoding="utf-8") == committed, stale
