"""What people see of the fast path beside the textbook's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from vidcost.bench.block_spec import fast
from vidcost.bench.report.fast import fast_markdown, fast_tables, findings
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.fast_plan import tried_cells
from vidcost.bench.timing.store import Store
from vidcost.bench.timing.stored import stored_anywhere

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def pair(timed):
    def make(spec, frames, ratio, *, phase="inference", device="cpu", **known):
        shape = (384, frames, 14, 14)
        reference = Cell(block=spec, shape=shape, phase=phase, device=device)
        cell = Cell(block=fast(spec), shape=shape, phase=phase, device=device, against=reference)
        sides = {"subject": (1.0,) * 6, "reference": (ratio,) * 6}
        if phase == "training":
            sides |= {f"subject_{part}": (0.4,) * 6 for part in ("forward", "backward")}
            sides |= {"reference_forward": (0.4 * ratio,) * 6, "reference_backward": (0.2,) * 6}
        return timed(cell, samples_s=sides, **known)

    return make


def test_a_table_for_each_phase_in_order(pair):
    timings = [pair("pnl:n=4", 32, 2.5), pair("nl", 32, 1.5), pair("nl", 2, 1.1)]
    timings += [pair("nl", 2, 1.2, phase="training")]
    inference, training = fast_tables(timings)
    assert [("nl", 392), ("nl", 6272), ("pnl:n=4", 6272)] == [
        (line["block"], line["positions"]) for line in inference.lines
    ]
    assert "| 1.50 (1.50 to 1.50) |" in inference.markdown()
    (step,) = training.lines
    assert ("1.20 (1.20 to 1.20)", "0.50 (0.50 to 0.50)") == (
        step["forward_shown"], step["backward_shown"],
    )  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_was_tried_has_a_table_of_its_own(device, timed):
    cells = tried_cells({"device": device})
    sides = {"subject": (1.0,) * 6, "reference": (2.0,) * 6}
    (table,) = fast_tables([timed(cell, samples_s=sides) for cell in cells])
    assert {cell.block for cell in cells} == {line["tried"] for line in table.lines}


def test_what_is_slower_is_named(pair):
    said = "\n".join(findings([pair("nl", 2, 0.9), pair("cgd", 2, 1.0), pair("cgnl", 2, 1.3)]))
    assert "of 3 comparisons of a whole pass or step: nl at N = 392 (inference, 0.90 (" in said
    assert said.count("N = 392 (inference") == 1
    assert "cgd" not in said
    assert "Most is gained by cgnl" in said
    said = "\n".join(findings([pair("nl", 2, 1.3, phase="training")]))
    assert "step: none. Of the parts of a step, forward: none; backward: nl at N = 392" in said


def test_other_conditions_have_sections_of_their_own(pair):
    one = pair("nl", 32, 1.5)
    threads = {"threads": 2}
    reference = one.cell.against.model_copy(update=threads)
    two = one.model_copy(
        update={"cell": one.cell.model_copy(update={**threads, "against": reference})}
    )
    text = fast_markdown([one, two])
    assert text.index("## Abacus, batch 1, fp32") < text.index("2 threads\n")
    assert 2 == text.count("**Inference**")


def test_other_shapes_are_no_part_of_the_study(pair):
    one = pair("nl", 32, 1.5)
    shape = {"shape": (256, 32, 14, 14)}
    other = one.cell.model_copy(
        update={**shape, "against": one.cell.against.model_copy(update=shape)}
    )
    other = one.model_copy(update={"cell": other})
    assert fast_markdown([one]) == fast_markdown([one, other])
    # in a table beside each other they say their shapes
    (table,) = fast_tables([one, other])
    assert "| 256x32x14x14 |" in table.markdown()
    assert "256 and 384 channels" in table.markdown()


def test_a_gpu_has_a_goal_of_its_own(pair):
    memory = {"memory": {"weights": 1, "peak": 10}, "memory_without": {"weights": 1, "peak": 100}}
    (said, *_) = findings([pair("nl", 32, 2.5, device="cuda", **memory)])
    assert "The goal on a GPU, 3 times, is not reached" in said


def test_a_gpu_says_how_far_from_its_roofline_both_are(pair):
    one = pair("cgd", 32, 2.0, device="cuda", macs_total=1152, peak_macs_per_s=2.6e13)
    gpu = one.machine.model_copy(update={"device": "NVIDIA H100 80GB HBM3"})
    (table,) = fast_tables([one.model_copy(update={"machine": gpu})])
    (line,) = table.lines
    # 1 s and 2 s were made up
    least_s = 4 * (2 * 384 * 6272 + 6 * 384) / 3.35e12
    assert pytest.approx((least_s, least_s / 2)) == (
        line["share_of_roofline"], line["reference_share_of_roofline"],
    )  # fmt: skip
    assert "| Of roofline textbook | fast |" in re.sub(" +", " ", table.markdown())
    assert "Of roofline: the least time" in table.markdown()
    (elsewhere,) = fast_tables([one])
    assert "roofline" not in elsewhere.markdown()


@pytest.mark.parametrize(("ratio", "word"), [(2.1, "is reached"), (1.9, "is not reached")])
def test_the_goal(pair, ratio, word):
    memory = {"memory": {"weights": 1, "peak": 10}, "memory_without": {"weights": 1, "peak": 100}}
    (said, *_) = findings([pair("nl", 32, ratio, peak_macs_per_s=2e10, **memory)])
    assert word in said
    rate, times = (
        float(found)
        for found in re.search(r"at (\d+)% of a .* would be ([\d.]+) times", said).groups()
    )
    assert times == pytest.approx(ratio / (rate / 100), rel=0.01)
    assert "10.0% of the textbook's" in said


def test_what_failed_says_how(pair):
    (table,) = fast_tables(
        [
            pair("nl", 2, 1.0).model_copy(
                update={"status": "oom", "error": "too large", "samples_s": {}}
            )
        ]
    )
    assert "oom: too large" in table.markdown()


def test_devices_have_sections_of_their_own(pair):
    here = pair("nl", 2, 1.5)
    gpu = here.machine.model_copy(update={"device": "GPU"})
    text = fast_markdown(
        [here, pair("nl", 2, 3.0, device="cuda").model_copy(update={"machine": gpu})]
    )
    assert text.index("## Abacus") < text.index("## GPU")
    assert "No raw samples of a GPU are stored" not in text
    assert "No raw samples of a GPU are stored" in fast_markdown([here])
    with pytest.raises(ValueError, match="nothing is stored"):
        fast_markdown([])


def test_the_latest_record_of_a_cell_counts_whatever_the_code(pair, tmp_path):
    first, second = pair("nl", 2, 1.5), pair("nl", 2, 1.7).model_copy(update={"key": "other code"})
    store = Store(tmp_path / "timings" / "abacus.jsonl")
    store.append(first)
    store.append(second)
    assert [second] == stored_anywhere(tmp_path)


def test_the_command_of_some_blocks(vidcost, stopwatch, timed, monkeypatch):
    monkeypatch.setattr("vidcost.bench.timing.machine.default_threads", lambda _: 1)
    reference = Cell(block="nl", shape=(8, 2, 3, 5))
    cell = Cell(block="nl:path=fast", shape=(8, 2, 3, 5), against=reference)
    stopwatch[cell] = timed(cell, samples_s={"subject": (1.0,) * 6, "reference": (2.0,) * 6})
    status, out, err = vidcost("fast", "nl", "--shape", "8x2x3x5", "--phase", "inference")
    assert (0, "") == (status, err)
    assert "2.00 (2.00 to 2.00)" in out
    assert not Path("results/fast.md").exists()


def test_the_command_of_all_writes_what_is_stored(vidcost, pair):
    store = Store(Path("results/fast/timings/abacus.jsonl"))
    memory = {"memory": {"weights": 1, "peak": 10}, "memory_without": {"weights": 1, "peak": 100}}
    store.append(pair("nl", 32, 1.5, **memory))
    status, out, err = vidcost("fast", "--budget", "0s")
    assert 0 == status, err
    assert out in Path("results/fast.md").read_text()
    assert "1.50 (1.50 to 1.50)" in out


def test_what_is_stored_of_some_blocks(vidcost, pair):
    memory = {"memory": {"weights": 1, "peak": 10}, "memory_without": {"weights": 1, "peak": 100}}
    store = Store(Path("results/fast/timings/abacus.jsonl"))
    for timing in (
        pair("nl", 32, 1.5, **memory),
        pair("cgd", 32, 1.2),
        pair("nl", 32, 1.4, phase="training", **memory),
    ):
        store.append(timing.model_copy(update={"key": timing.cell.key()}))
    status, out, _ = vidcost("fast", "nl", "--budget", "0s", "--json")
    assert 0 == status
    assert [("nl", 1.5), ("nl", 1.4)] == [(x["block"], x["speed"]) for x in json.loads(out)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fast", "nl:path=fast"), "names its path: leave it out"),
        (("fast", "my.py:Mine"), "has no fast path: choose from nl, cgnl, cgd, pnl"),
        (("fast", "--budget", "0s"), "nothing is stored: give `vidcost fast` some time"),
    ],
)
def test_refusals(complaint, arguments, words):
    assert words in complaint(*arguments)


def test_the_document_is_that_of_the_committed_records():
    written = (CHECKOUT / "results" / "fast.md").read_text()
    timings = stored_anywhere(CHECKOUT / "results" / "fast")
    assert written.partition("\n\n")[2] == fast_markdown(timings)
    # all blocks at all sizes, in both phases, and what was tried
    assert {"ok"} == {timing.status for timing in timings}
    assert len(timings) >= 9 * 4 * 2 + len(tried_cells({}))
