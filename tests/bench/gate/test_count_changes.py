"""What differs between two sides of counts: every figure, and nothing else."""

from __future__ import annotations

import json

import pytest

from vidcost.bench.count.answer import Answer
from vidcost.bench.count.record import Record
from vidcost.bench.gate.count_changes import Change, Comparison, differences


def integers(found, path=()):
    """The path of every integer in parsed JSON."""
    if isinstance(found, int):
        yield path
    elif isinstance(found, dict | list):
        for key, inside in found.items() if isinstance(found, dict) else enumerate(found):
            yield from integers(inside, (*path, key))


def one_more(record, path):
    """``record`` with 1 more at ``path``, and what stood there."""
    found = json.loads(record.model_dump_json())
    *outer, last = path
    inside = found
    for key in outer:
        inside = inside[key]
    inside[last] += 1
    return Record.model_validate(found), inside[last] - 1


def field(path):
    """The field that names the integer at ``path``."""
    if path[0] != "reference_counters":
        return path[0]
    return ".".join(path[1:]).replace(".parts.", ".flops.")


def test_the_same_on_both_sides_is_no_change(made_up):
    record = made_up("a", conv=7, fvcore=11)
    # ten integers and the inputs; FLOPs and parameters of fvcore
    assert Comparison((), 1, 14) == differences({"a": record}, {"a": record})


@pytest.mark.parametrize("row", ["r50-cgnl", "resframe-ts", "mfnet-pnl"])
def test_one_more_in_any_integer_is_found_and_named(committed, row):
    now = committed[row]
    paths = list(integers(json.loads(now.model_dump_json())))
    assert len(paths) > 30
    for path in paths:
        before, was = one_more(now, path)
        (change,) = differences({row: before}, {row: now}).changes
        assert (row, field(path)) == (change.row, change.field)
        if path[0] != "inputs":
            assert (was + 1, was) == (change.before, change.after)


def test_a_clip_of_another_size_is_named_whole(made_up):
    before = made_up("a").model_copy(update={"inputs": ((3, 5, 7, 11), (2, 1, 7, 11))})
    now = made_up("a").model_copy(update={"inputs": ((3, 5, 7, 11), (2, 1, 7, 13))})
    (change,) = differences({"a": before}, {"a": now}).changes
    assert Change("a", "inputs", "3x5x7x11, 2x1x7x11", "3x5x7x11, 2x1x7x13") == change


def test_swapped_rows_are_both_named(made_up):
    seven, eleven = made_up("a", conv=7), made_up("b", conv=11)
    baseline = {"a": eleven.model_copy(update={"row": "a"}), "b": seven}
    assert (Change("a", "conv", 11, 7), Change("b", "conv", 7, 11)) == (
        differences(baseline, {"a": seven, "b": eleven}).changes
    )


def test_the_order_of_rows_is_no_figure(made_up):
    a, b = made_up("a", conv=7), made_up("b", conv=11)
    assert () == differences({"b": b, "a": a}, {"a": a, "b": b}).changes


def test_rows_on_one_side_and_rows_that_cannot_be_counted(made_up):
    a, b, c = made_up("a"), made_up("b"), made_up("c")
    found = differences(
        {"a": a, "c": c, "gone": made_up("gone")}, {"new": b, "c": "not counted, E: x", "a": a}
    )
    assert (
        Change("new", "row", None, "present"),
        Change("c", "row", "present", "not counted, E: x"),
        Change("gone", "row", "present", None),
    ) == found.changes
    assert (1, ("new", "c", "gone")) == (found.rows, found.changed_rows)
    (broken_and_new,) = differences({}, {"n": "not counted, E: y"}).changes
    assert Change("n", "row", None, "not counted, E: y") == broken_and_new


def test_changes_stand_in_the_order_of_rows_then_fields(made_up):
    now = {row: made_up(row) for row in ("z", "a")}
    baseline = {row: made_up(row, matmul=3, params=2, conv=5) for row in ("a", "z")}
    assert [(row, field) for row in ("z", "a") for field in ("params", "conv", "matmul")] == [
        (change.row, change.field) for change in differences(baseline, now).changes
    ]


def test_a_counter_on_one_side_only(made_up):
    with_it, without = made_up("a", fvcore=11), made_up("a")
    assert (
        Change("a", "fvcore.flops", None, 11),
        Change("a", "fvcore.params", None, 7),
    ) == differences({"a": without}, {"a": with_it}).changes
    assert (
        Change("a", "fvcore.flops", 11, None),
        Change("a", "fvcore.params", 7, None),
    ) == differences({"a": with_it}, {"a": without}).changes


def test_a_stored_failure_is_no_figure(made_up):
    (change, _) = differences(
        {"a": made_up("a", thop="exit status -9")}, {"a": made_up("a", thop=13)}
    ).changes
    assert Change("a", "thop.flops", None, 13) == change


def test_headings_are_named_where_they_cancel_out_in_the_total(made_up):
    def answered(total, **parts):
        answer = Answer(version="1", flops=total, params=2, parts=parts)
        return {"a": made_up("a").model_copy(update={"reference_counters": {"thop": answer}})}

    moved = differences(answered(18, norm=7, pool=11), answered(18, norm=5, softmax=13))
    assert (
        Change("a", "thop.flops.norm", 7, 5),
        Change("a", "thop.flops.softmax", None, 13),
        Change("a", "thop.flops.pool", 11, None),
    ) == moved.changes
    # the total says it
    more = differences(answered(18, norm=7, pool=11), answered(20, norm=7, pool=13))
    assert (Change("a", "thop.flops", 18, 20),) == more.changes


def test_a_version_is_no_figure(made_up):
    older, newer = made_up("a", fvcore=11), made_up("a", fvcore=11)
    newer.reference_counters["fvcore"] = Answer(version="9", flops=11, params=7)
    assert () == differences({"a": older}, {"a": newer}).changes


@pytest.mark.parametrize(
    ("before", "after", "percent"),
    [(8, 9, 12.5), (8, 7, -12.5), (8, 0, -100.0), (0, 7, None), (None, 7, None), (7, None, None)],
)
def test_percent_of_before(before, after, percent):
    assert percent == Change("a", "conv", before, after).percent


def test_texts_have_no_percent():
    assert None is Change("a", "inputs", "3x5", "3x7").percent
