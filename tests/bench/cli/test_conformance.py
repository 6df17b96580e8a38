"""The command that asks every counter about single operators."""

import json

import pytest
from packaging.version import Version

from vidcost.bench.count import rules
from vidcost.bench.count.references.reference import version


def test_conformance_writes_what_it_prints(vidcost, operators, tmp_path):
    status, out, err = vidcost("conformance", "--results", "here", "--format", "md")
    assert (0, "") == (status, err)
    head, _, body = (tmp_path / "here/conformance.md").read_text().partition("\n\n")
    assert ("<!-- written by: vidcost conformance -->", out) == (head, body)
    # the tables, without a format, too, with shorter lines
    assert out.partition("\n\n")[2].split() == vidcost("conformance").out.split()


def test_conformance_fails_by_the_name_of_what_ours_gets_wrong(vidcost, operators, monkeypatch):
    monkeypatch.setitem(rules.RULES, "baddbmm", lambda *_: ("matmul", 0))
    status, out, err = vidcost("conformance")
    assert 1 == status
    assert "vidcost: torch.baddbmm: ours counts 0, the forward MACs are 210\n" == err
    assert "| ours          | 0.1.0 " in out


def test_conformance_without_a_reference_counter_prints_the_rest(vidcost, operators, tmp_path):
    operators["thop"] = "exit status 1: boom"
    status, out, err = vidcost("conformance", "--format", "json")
    assert (1, "vidcost: thop could not be asked: exit status 1: boom\n") == (status, err)
    line = json.loads(out)[0]
    assert (None, "crashed", 7) == tuple(
        line[key] for key in ("thop_forward", "thop_forward_status", "fvcore_forward")
    )
    assert "not asked" in (tmp_path / "results/conformance.md").read_text()


@pytest.mark.slow
def test_the_committed_conformance_is_what_the_counters_say_now(
    results, vidcost, optional_counters, tmp_path
):
    pinned = dict(
        line.split("==")
        for line in (results.parent / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    for name in ("torch", "fvcore", "thop"):
        # a version may write .post1 or -1
        if Version(version(name)).public != Version(pinned[name]).public:
            pytest.skip(f"{name} is not the version of constraints.txt, other figures are right")
    assert (0, "") == vidcost("conformance")[::2]
    written = (tmp_path / "results/conformance.md").read_text()
    assert written == (results / "conformance.md").read_text(), (
        "stale: `vidcost conformance` writes results/conformance.md anew"
    )
