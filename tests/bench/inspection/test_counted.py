"""Users' networks and blocks counted apart, whatever they do."""

from __future__ import annotations

import re

import pytest

from vidcost.bench.inspection.counted import counted, explained
from vidcost.bench.timing.cell import Cell, checked_cell
from vidcost.bench.timing.plan import code_of, network_fields
from vidcost.models.cost import Cost

# 3 x 4 x 5 positions of 7 clips
CLIP = ("7x3x3x4x5",)
P = 7 * 60
NET = Cost(params=3 * 5 + 5 * 2, conv=15 * P, linear=10 * 7, pool=7 * 5)


def network(name: str) -> Cell:
    return checked_cell(network_fields(f"theirs.py:{name}", CLIP))


def in_a_row(block: str, row: str = "mfnet") -> Cell:
    return Cell(
        row=row,
        frames=4,
        size=64,
        blocks=(("conv4:before-last", block),),
        code=code_of([block]),
    )


def test_a_network_is_counted_in_a_process_of_its_own():
    found = counted(network("Net"), reference_counters=("fvcore", "thop"))
    assert ("ok", NET) == (found.status, found.total)
    assert {"fvcore": NET.macs, "thop": NET.macs} == {
        name: answer.flops for name, answer in found.answers.items()
    }


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", ["Net", "NotANumber", "ReadsValues"])
def test_a_network_is_counted_whether_it_needs_values_or_not(name):
    found = counted(network(name))
    assert ("ok", "") == (found.status, found.error)
    assert NET == found.total
    assert 0 == found.closed_forms
    modules = [(module.module, module.type, module.forward.macs) for module in found.modules]
    assert [("", name, NET.macs), ("stem", "Conv3d", 15 * P), ("head", "Linear", 70)] == modules


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("Leaves", "raised", r"sys\.exit\(0\)"),
        ("Dies", "exited", "exit status 7"),
    ],
)
def test_what_a_process_does_instead_is_its_status(name, status, error):
    check_failure(counted(network(name)), status, error)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("Raises", "raised", r"ValueError: theirs \(.*theirs\.py, line \d+\)"),
        ("Uncounted", "uncounted", r"no counting rule for operator aten.*svd"),
    ],
)
def test_what_a_network_does_instead_is_its_status(name, status, error):
    check_failure(counted(network(name)), status, error)


def check_failure(found, status, error):
    assert status == found.status
    assert None is found.total
    assert re.search(error, found.error)


def test_a_network_that_hangs_is_given_up():
    found = counted(network("Hangs"), limit_s=8.0)
    assert ("timed out", "not done within 8 s") == (found.status, found.error)


@pytest.mark.usefixtures("in_this_process")
def test_every_counter_is_accounted_for():
    cell = network("Net")
    entries, failure = explained(cell, limit_s=60)
    assert "" == failure
    assert {"fvcore", "thop", "thop-2020", "torch"} == {entry.counter for entry in entries}
    assert all(entry.balanced for entry in entries)


@pytest.mark.usefixtures("in_this_process")
def test_a_closed_form_is_checked_where_there_is_one():
    # 384 channels, 2 frames of 4 x 4 behind the last but one unit of conv4
    params = 384**2 * 27
    with_form = counted(in_a_row("theirs.py:Scale:width=3"))
    plain = counted(Cell(row="mfnet", frames=4, size=64, blocks=()))
    assert ("ok", 1) == (with_form.status, with_form.closed_forms)
    assert params == with_form.total.params - plain.total.params
    assert params * 32 == with_form.total.macs - plain.total.macs
    without = counted(in_a_row("theirs:NoCost"))
    assert ("ok", 0) == (without.status, without.closed_forms)


@pytest.mark.usefixtures("in_this_process")
def test_a_closed_form_that_is_wrong_is_said_to_differ():
    found = counted(in_a_row("theirs.py:WrongCost"))
    assert "differs" == found.status
    assert "conv4.after_B05 was counted as Cost(params=147456" in found.error
    # the count stands
    assert found.total is not None


@pytest.mark.usefixtures("in_this_process")
def test_a_closed_form_that_fails_says_nothing_against_the_count():
    found = counted(in_a_row("theirs.py:NoneCost"))
    assert "raised" == found.status
    assert found.error.startswith("cost: ")
    assert found.total is not None


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("block", ["theirs.py:ReadsWhileBuilt", "theirs.py:Needs:width=3"])
def test_a_block_may_read_values_while_it_is_built_and_need_arguments(block):
    assert ("ok", 1) == (counted(in_a_row(block)).status, counted(in_a_row(block)).closed_forms)


@pytest.mark.usefixtures("in_this_process")
def test_what_is_no_block_is_said_of_it():
    found = counted(in_a_row("theirs.py:no_block"))
    assert ("raised", "theirs.py:no_block returned no nn.Module but a int") == (
        found.status,
        found.error,
    )


@pytest.mark.usefixtures("in_this_process")
def test_blocks_go_into_networks_that_read_values_or_fail():
    fields = network_fields("theirs.py:ReadsValues", CLIP)
    found = counted(checked_cell(fields | {"blocks": (("stem", "cgd"),)}))
    assert ("ok", 1) == (found.status, found.closed_forms)
    fields = network_fields("theirs.py:Raises", CLIP)
    found = counted(checked_cell(fields | {"blocks": (("stem", "cgd"),)}))
    assert "raised" == found.status
    assert found.error.startswith("ValueError: theirs")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (in_a_row, "no position 'conv4:before-last'"),
        (in_a_row, "theirs.py has no 'Missing'"),
    ],
)
def test_what_cannot_be_as_given_is_rejected(cell, message):
    chosen = cell("theirs.py:Missing") if "Missing" in message else cell("theirs.py:Scale", "r3d18")
    with pytest.raises(ValueError, match=message):
        counted(chosen)
