import re

import pytest

from vidcost.bench.inspection.counted import counted, predict
from vidcost.bench.timing.cell import Cell, checked_cell
from vidcost.bench.timing.plan import code_of, network_fields
from vidcost.models.cost import Cost

# 3 x 4 x 5 positions of 7 clips
CLIP = ("7x3x3x4x5",)
P = 7 * 60
NET = Cost(params=64, conv=50 * P, linear=14 * 7, pool=7 * 7, activation=7 * P)

pytestmark = pytest.mark.usefixtures("folder")


def network(name: str) -> Cell:
    return checked_cell(network_fields(f"theirs.py:{name}", CLIP))


def in_a_row(block: str, row: str = "mfnet") -> Cell:
    return Cell(
        row=row, frames=4, size=64, blocks=(("conv4:before-last", block),), code=code_of([block])
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
    modules = {module.module: (module.type, module.forward.macs) for module in found.count.modules}
    assert (name, NET.macs) == modules[""]
    assert (("Conv3d", 15 * P), ("Linear", 98)) == (modules["stem"], modules["head"])


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


@pytest.mark.parametrize(
    ("name", "status", "error", "limit_s"),
    [
        ("Leaves", "raised", r"sys\.exit\(3\)", 60),
        ("Dies", "exited", "exit status 7", 60),
        ("Hangs", "timed out", "^not done within 8 s$", 8.0),
        ("Raises", "raised", r"ValueError: theirs \(.*theirs\.py, line \d+\)", 60),
        ("Uncounted", "uncounted", r"no counting rule for operator aten.*svd", 60),
    ],
)
def test_the_failure_of_a_network_is_its_status(name, status, error, limit_s, request):
    if name in ("Raises", "Uncounted"):
        request.getfixturevalue("in_this_process")
    found = counted(network(name), limit_s=limit_s)
    assert (status, None) == (found.status, found.total)
    assert re.search(error, found.error)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("block", "status", "error"),
    [
        ("ReadsWhileBuilt", "ok", ""),
        ("Needs:width=3", "ok", ""),
        ("WrongCost", "differs", r"conv4\.after_B05: params was counted as 147456, "),
        # the count stands
        ("NoneCost", "raised", "^cost: "),
        ("no_block", "raised", "^theirs.py:no_block returned no nn.Module but a int$"),
    ],
)
def test_a_block_is_built_and_its_closed_form_checked(block, status, error):
    found = counted(in_a_row(f"theirs.py:{block}"))
    assert status == found.status
    assert re.search(error, found.error)
    assert (block != "no_block") == (found.total is not None)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("name", "status"), [("ReadsValues", "ok"), ("Raises", "raised")])
def test_blocks_go_into_networks_that_read_values_or_fail(name, status):
    fields = network_fields(f"theirs.py:{name}", CLIP)
    assert status == counted(checked_cell(fields | {"blocks": (("stem", "cgd"),)})).status


@pytest.mark.parametrize(
    ("block", "row", "message"),
    [
        ("theirs.py:Scale", "r3d18", "no position 'conv4:before-last'"),
        ("theirs.py:Missing", "mfnet", "theirs.py has no 'Missing'"),
        ("pnl:n=4", "mfnet", "a feature map of 4x4 has room for at most n=3 scales"),
    ],
)
def test_a_block_that_does_not_fit_is_rejected(block, row, message):
    with pytest.raises(ValueError, match=message):
        counted(in_a_row(block, row))


@pytest.mark.parametrize(("phase", "times"), [("inference", 1), ("training", 3)])
def test_predicted_macs_are_those_of_the_batch_and_the_phase(phase, times):
    # 70 positions, 6 channels: 2 x 6^2 x 70 + 6 x 70^2 = 34,440 a clip; the block's input takes a
    # gradient, as inside a network: every product counts once for each of its operands
    predicted = predict(Cell(block="nl", shape=(6, 2, 5, 7), batch=3, phase=phase))
    assert (103_320, times * 103_320) == (predicted.macs, predicted.macs_total)


def test_a_row_is_counted_at_the_clip_of_the_cell():
    assert 11_045_296_128 == predict(Cell(row="mfnet")).macs
    # but for the classifier's 768 x 200, in proportion to the frames
    eight = predict(Cell(row="mfnet", frames=8, batch=5)).macs
    assert 5 * ((11_045_296_128 - 153_600) // 2 + 153_600) == eight
