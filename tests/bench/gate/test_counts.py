"""The gate of counts: every figure is compared, and a change is accepted with its reason."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from vidcost import models, papers
from vidcost.bench import count as counting
from vidcost.bench.count import record
from vidcost.bench.count.reconcile import examine
from vidcost.bench.count.record import Record
from vidcost.bench.count.references.reference import Answer
from vidcost.bench.gate import counts
from vidcost.bench.gate.counts import Change, accept, compare, differences
from vidcost.bench.report.gate import change_table
from vidcost.models.blocks.cgnl import CGNL
from vidcost.papers.catalog import select

# one has two inputs, one attention, one cannot be built
ROWS = [*select(["r50-cgnl"]), *select(["resframe-ts"]), *select(["2plus-c1-d"]), *select(["c3d"])]
NAMES = ["r50-cgnl", "resframe-ts", "c3d"]
C3D_PARAMS = 78_815_176
LESS = Change("c3d", "params", C3D_PARAMS - 1, C3D_PARAMS)
"""What :func:`store` plants with ``C3D_ONE_LESS``."""
C3D_ONE_LESS = {"c3d": {"params": C3D_PARAMS - 1}}


@pytest.fixture
def store(tmp_path, committed):
    """Write a baseline of ROWS as it is committed, but for what is given; its folder."""

    def write(other=None, *, names=NAMES):
        folder = tmp_path / "r"
        records = [committed[name].model_copy(update=(other or {}).get(name, {})) for name in names]
        record.write(folder, records, command="test")
        return folder

    return write


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def integers(found, path=()):
    """The path of every integer in parsed JSON."""
    if isinstance(found, int):
        yield path
    elif isinstance(found, dict | list):
        for key, inside in found.items() if isinstance(found, dict) else enumerate(found):
            yield from integers(inside, (*path, key))


def one_more(record, path):
    """``record`` with 1 more at ``path``, and the integer that was there."""
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


def test_one_more_in_any_integer_is_found_and_named(committed):
    row, now = "resframe-ts", committed["resframe-ts"]
    paths = list(integers(json.loads(now.model_dump_json())))
    assert len(paths) > 30
    for path in paths:
        before, was = one_more(now, path)
        (change,) = differences({row: before}, {row: now}).changes
        assert (row, field(path)) == (change.row, change.field)
        if path[0] != "inputs":
            assert (was + 1, was) == (change.before, change.after)


def test_rows_on_one_side_and_rows_that_cannot_be_counted(made_up):
    a, b, c = made_up("a"), made_up("b"), made_up("c")
    broken = Change("c", "row", "present", "not counted, E: x")
    found = differences({"a": a, "c": c, "gone": b}, {"new": b, "c": (broken,), "a": a})
    new, gone = Change("new", "row", None, "present"), Change("gone", "row", "present", None)
    assert (new, broken, gone) == found.changes
    assert (1, ("new", "c", "gone"), ("c",)) == (found.rows, found.changed_rows, found.broken)


def test_a_counter_on_one_side_only(made_up):
    both, none = made_up("a", fvcore=11), made_up("a")
    added = (Change("a", "fvcore.flops", None, 11), Change("a", "fvcore.params", None, 7))
    assert added == differences({"a": none}, {"a": both}).changes
    # a stored failure has no figure, and a version is none
    failed, newer = made_up("a", fvcore="exit status -9"), made_up("a", fvcore=11)
    newer.reference_counters["fvcore"] = Answer(version="9", flops=11, params=7)
    assert added == differences({"a": failed}, {"a": both}).changes
    assert () == differences({"a": both}, {"a": newer}).changes


def test_categories_are_named_if_they_cancel_out_in_the_total(made_up):
    def answered(total, **parts):
        answer = Answer(version="1", flops=total, params=2, parts=parts)
        return {"a": made_up("a").model_copy(update={"reference_counters": {"thop": answer}})}

    moved = differences(answered(18, norm=7, pool=11), answered(18, norm=5, softmax=13))
    assert (
        Change("a", "thop.flops.norm", 7, 5),
        Change("a", "thop.flops.softmax", None, 13),
        Change("a", "thop.flops.pool", 11, None),
    ) == moved.changes
    more = differences(answered(18, norm=7, pool=11), answered(20, norm=7, pool=13))
    assert (Change("a", "thop.flops", 18, 20),) == more.changes


def test_the_committed_counts_are_those_of_now(store):
    comparison = compare(ROWS, store())
    assert ((), 3) == (comparison.changes, comparison.rows)
    assert 3 * 20 < comparison.figures


def test_a_row_that_is_gone_and_a_row_that_can_no_longer_be_built(store):
    (gone,) = compare(ROWS[:3], store()).changes
    assert Change("c3d", "row", "present", None) == gone
    unbuilt = [*ROWS[:3], dataclasses.replace(ROWS[3], build=None)]
    assert (gone,) == compare(unbuilt, store()).changes


def test_a_row_that_cannot_be_counted_hides_no_other(store, monkeypatch):
    error = ValueError("aten::fold\nhas no rule")

    def broken(row):
        if row.name == "resframe-ts":
            raise error
        return examine(row)

    monkeypatch.setattr(counts, "examine", broken)
    folder = store(C3D_ONE_LESS)
    said = "not counted, ValueError: aten::fold has no rule"
    assert (Change("resframe-ts", "row", "present", said), LESS) == compare(ROWS, folder).changes
    with pytest.raises(
        ValueError, match=f"^cannot accept resframe-ts: row was present, is {said}$"
    ):
        accept(ROWS, folder, "why")


def test_counts_stop_where_the_files_here_are_not_those_installed(store, tmp_path):
    folder = store()
    for name, package in (("models", models), ("papers", papers), ("bench/count", counting)):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(next(iter(package.__path__)), tmp_path / name, ignore=ignored)
    assert () == compare(ROWS, folder).changes
    edited = tmp_path / "models/blocks/non_local.py"
    edited.write_text(edited.read_text() + "# edited\n")
    for act in (lambda: compare(ROWS, folder), lambda: accept(ROWS, folder, "why")):
        with pytest.raises(ValueError, match=f"^{tmp_path}/models differs from .* `pip install -e"):
            act()


def test_a_closed_form_that_no_longer_holds_is_shown_by_field_and_not_advised_to_accept(
    store, monkeypatch
):
    cost = CGNL.cost
    wrong = lambda self, shape: dataclasses.replace(cost(self, shape), pool=7)  # noqa: E731
    monkeypatch.setattr(CGNL, "cost", wrong)
    # rows are memoised per process
    examine.cache_clear()
    comparison = compare(ROWS, store())
    examine.cache_clear()
    (change,) = comparison.changes
    assert Change("r50-cgnl", "closed form of layer3.after_4: pool", 7, 0) == change
    table = change_table(comparison).markdown()
    assert "Mend first: r50-cgnl." in table
    assert "gate accept" not in table


def test_without_a_baseline(tmp_path):
    message = f"^no baseline {tmp_path}/counts.jsonl: `vidcost run` writes it"
    with pytest.raises(ValueError, match=message):
        compare(ROWS, tmp_path)
    record.write(tmp_path, [], command="test")
    with pytest.raises(ValueError, match=message):
        accept(ROWS, tmp_path, "why")


def test_a_damaged_baseline(store):
    path = store() / "counts.jsonl"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(ValueError, match="line 4 is damaged: `vidcost run` writes the file anew"):
        compare(ROWS, path.parent)
    with pytest.raises(ValueError, match="line 4 is damaged"):
        accept(ROWS, path.parent, "why")


def test_accepted_counts_are_the_new_baseline(store, reference_counters, committed):
    folder = store(C3D_ONE_LESS)
    acceptance = accept(ROWS, folder, "  the head is smaller\n")
    assert ("the head is smaller", (LESS,)) == (acceptance.reason, acceptance.changes)
    assert () == compare(ROWS, folder).changes
    written = json.loads((folder / "counts-history.jsonl").read_text())
    assert written.pop("accepted").endswith("Z")
    assert {
        "reason": "the head is smaller",
        "vidcost": record.version("vidcost"),
        "commit": None,
        "changes": [{"row": "c3d", "field": "params", "before": 78_815_175, "after": 78_815_176}],
    } == written
    records = record.read(folder)
    assert NAMES == list(records)
    # only what changed was asked about; the rest keeps its answers
    assert [("c3d", True)] * 4 == [(row, cached) for _, row, cached in reference_counters.asked]
    assert {"0"} == {answer.version for answer in records["c3d"].reference_counters.values()}
    assert committed["r50-cgnl"] == records["r50-cgnl"]
    header = json.loads((folder / "counts.jsonl").read_text().splitlines()[0])
    assert "vidcost gate accept" == header["command"]


def test_the_history_grows(store, reference_counters):
    accept(ROWS, store(C3D_ONE_LESS), "first")
    folder = store({"r50-cgnl": {"conv": 7}, "resframe-ts": {"inputs": ((3, 5, 7, 11),)}})
    path = folder / "counts-history.jsonl"
    # as an editor may leave it
    path.write_text(path.read_text().rstrip("\n"))
    accept(ROWS, folder, "second")
    first, second = map(json.loads, path.read_text().splitlines())
    assert ("first", "second") == (first["reason"], second["reason"])
    assert [("r50-cgnl", "conv", 7), ("resframe-ts", "inputs", "3x5x7x11")] == [
        (change["row"], change["field"], change["before"]) for change in second["changes"]
    ]
    assert {"r50-cgnl", "resframe-ts", "c3d"} == {row for _, row, _ in reference_counters.asked}


def test_new_and_removed_rows_are_accepted(store, reference_counters):
    folder = store(names=["resframe-ts", "c3d"])
    assert (Change("r50-cgnl", "row", None, "present"),) == accept(ROWS, folder, "new").changes
    assert NAMES == list(record.read(folder))
    reference_counters.asked.clear()
    assert (Change("c3d", "row", "present", None),) == accept(ROWS[:3], folder, "gone").changes
    assert NAMES[:2] == list(record.read(folder))
    assert [] == reference_counters.asked
    assert () == compare(ROWS[:3], folder).changes


@pytest.fixture
def rejected():
    """Accept what must be rejected: one line that begins as given, and nothing written."""

    def reject(message, folder, reason="why"):
        before = contents(folder)
        with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
            accept(ROWS, folder, reason)
        assert before == contents(folder)
        assert 1 == len(str(caught.value).splitlines())

    return reject


def test_a_reason_and_a_difference_are_needed(store, rejected):
    rejected("the reason is blank: say why the counts change", store(C3D_ONE_LESS), " \n\t")
    folder = store()
    rejected(f"nothing to accept: the counts are those of {folder}/counts.jsonl", folder)


def test_a_counter_that_answers_otherwise_than_explained(store, rejected, reference_counters):
    reference_counters["fvcore", "c3d"] = {"params": C3D_PARAMS + 5}
    message = "cannot accept c3d: fvcore: params: +5 params are not explained; `vidcost explain`"
    rejected(message, store(C3D_ONE_LESS))


def test_a_folder_that_cannot_be_written(store, rejected, reference_counters, monkeypatch):
    def fail(*args, **known):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    folder = store(C3D_ONE_LESS)
    rejected(f"cannot write results to {folder}: Read-only file system; choose another", folder)
    assert [] == reference_counters.asked


def test_a_damaged_history(store, rejected, reference_counters):
    folder = store(C3D_ONE_LESS)
    accept(ROWS, folder, "first")
    store(C3D_ONE_LESS)
    path = folder / "counts-history.jsonl"
    path.write_text(path.read_text() + '{"reason": "cut\n')
    message = f"{path}, line 2 is damaged: take the file from the last commit that has it"
    rejected(message, folder)
    path.write_bytes(b"\xff\xfe")
    rejected(f"cannot read {path}: ", folder)


@pytest.mark.parametrize(
    ("accepted_before", "error"),
    [(True, OSError(28, "No space left on device")), (False, KeyboardInterrupt())],
)
def test_both_files_are_written_or_neither(
    store, reference_counters, monkeypatch, accepted_before, error
):
    folder = store(C3D_ONE_LESS)
    if accepted_before:
        accept(ROWS, folder, "first")
        store(C3D_ONE_LESS)
    before = contents(folder)
    replace = Path.replace
    failing = [True]

    def replace_but_once(self, target):
        if Path(target).name == "counts.jsonl" and failing:
            failing.clear()
            raise error
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_but_once)
    with pytest.raises((ValueError, KeyboardInterrupt)):
        accept(ROWS, folder, "why")
    assert before == contents(folder)
    accept(ROWS, folder, "why")
    assert () == compare(ROWS, folder).changes
