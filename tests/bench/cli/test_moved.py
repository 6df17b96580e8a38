"""Commands of earlier versions: one line names the new one."""

from __future__ import annotations

import pytest

from vidcost.bench.cli.moved import MOVED, check_moved


@pytest.mark.parametrize("old", MOVED)
def test_a_moved_command_names_its_replacement(old, complaint):
    assert f"`vidcost {old}` is gone: {MOVED[old]}" == complaint(*old.split(), "mfnet")


def test_an_option_moves_without_its_command(monkeypatch):
    monkeypatch.setitem(MOVED, "audit --search", "use another")
    check_moved(["audit"])
    check_moved(["count", "--search", "mfnet"])
    for given in (["--search", "mfnet"], ["--json", "--search=mfnet"]):
        with pytest.raises(ValueError, match="`vidcost audit --search` is gone: use another"):
            check_moved(["audit", *given])
