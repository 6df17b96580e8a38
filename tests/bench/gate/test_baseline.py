"""The baseline of counts: what is held against it, and how it is changed."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vidcost.bench.count import record
from vidcost.bench.count.closed_form import ClosedFormMismatch
from vidcost.bench.count.counter import UncountedOperator
from vidcost.bench.count.reconcile import examine
from vidcost.bench.gate import baseline
from vidcost.bench.gate.baseline import accept, compare, history
from vidcost.bench.gate.count_changes import Change
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


# compare


def test_what_is_committed_is_what_is_counted(store):
    comparison = compare(ROWS, store())
    assert ((), 3) == (comparison.changes, comparison.rows)
    assert 3 * 20 < comparison.figures


@pytest.mark.parametrize(
    "field", "buffers conv linear matmul norm pool softmax activation closed_forms classes".split()
)
def test_one_more_in_the_baseline_is_found(store, committed, field):
    right = getattr(committed["r50-cgnl"], field)
    folder = store({"r50-cgnl": {field: right + 1}})
    assert (Change("r50-cgnl", field, right + 1, right),) == compare(ROWS, folder).changes


@pytest.mark.parametrize("counter", ["fvcore", "thop", "thop-2020", "torch"])
@pytest.mark.parametrize("quantity", ["flops", "params"])
def test_one_more_in_a_counters_answer_is_found(store, committed, counter, quantity):
    answers = committed["c3d"].reference_counters
    right = getattr(answers[counter], quantity)
    # torch prints no parameters
    wrong = (right or 0) + 1
    planted = answers | {counter: answers[counter].model_copy(update={quantity: wrong})}
    folder = store({"c3d": {"reference_counters": planted}})
    assert (Change("c3d", f"{counter}.{quantity}", wrong, right),) == compare(ROWS, folder).changes


def test_swapped_rows_a_row_that_is_gone_and_a_new_one(store):
    # r50-cgnl stands under the name of c3d
    folder = store({"r50-cgnl": {"row": "c3d"}}, names=["r50-cgnl", "resframe-ts"])
    changes = compare(ROWS, folder).changes
    assert Change("r50-cgnl", "row", None, "present") == changes[0]
    assert {"r50-cgnl", "c3d"} == {change.row for change in changes}
    assert C3D_PARAMS in {change.after for change in changes if change.field == "params"}
    (gone,) = compare(ROWS[:3], store()).changes
    assert Change("c3d", "row", "present", None) == gone
    # a row that can no longer be built
    unbuilt = [*ROWS[:3], dataclasses.replace(ROWS[3], build=None)]
    assert (gone,) == compare(unbuilt, store()).changes


@pytest.mark.parametrize(
    "error",
    [
        UncountedOperator("aten::fold\nhas no rule"),
        ClosedFormMismatch("aten::fold has no rule"),
        RuntimeError("aten::fold has no rule"),
    ],
)
def test_a_row_that_cannot_be_counted_hides_no_other(store, monkeypatch, error):
    def broken(row):
        if row.name == "resframe-ts":
            raise error
        return examine(row)

    monkeypatch.setattr(baseline, "examine", broken)
    folder = store(C3D_ONE_LESS)
    said = f"not counted, {type(error).__name__}: aten::fold has no rule"
    assert (Change("resframe-ts", "row", "present", said), LESS) == compare(ROWS, folder).changes
    with pytest.raises(ValueError, match=f"^cannot accept resframe-ts: {said}$"):
        accept(ROWS, folder, "why")


def test_without_a_baseline(tmp_path):
    message = f"no baseline {tmp_path}/counts.jsonl: `vidcost run` writes it"
    for refused in (lambda: compare(ROWS, tmp_path), lambda: accept(ROWS, tmp_path, "why")):
        with pytest.raises(ValueError, match="no baseline") as caught:
            refused()
        assert str(caught.value).startswith(message)
    record.write(tmp_path, [], command="test")
    with pytest.raises(ValueError, match="no baseline"):
        compare(ROWS, tmp_path)


def test_a_damaged_baseline(store):
    path = store() / "counts.jsonl"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(ValueError, match="line 4 is damaged: `vidcost run` writes the file anew"):
        compare(ROWS, path.parent)
    with pytest.raises(ValueError, match="line 4 is damaged"):
        accept(ROWS, path.parent, "why")


def test_steps_are_reported(store, reference_counters):
    begun = []

    @contextmanager
    def progress(total):
        said = []
        begun.append((total, said))
        yield said.append

    folder = store(C3D_ONE_LESS)
    compare(ROWS, folder, progress=progress)
    counted = (3, [f"counted {name}" for name in NAMES])
    assert [counted] == begun
    accept(ROWS, folder, "why", progress=progress)
    assert [counted, counted] == begun[:2]
    ((total, said),) = begun[2:]
    assert (5, 5, "counted c3d") == (total, len(said), said[0])


# accept


def test_what_is_accepted_is_the_baseline_afterwards(store, reference_counters, committed):
    folder = store(C3D_ONE_LESS)
    begun = datetime.now(UTC) - timedelta(seconds=1)
    acceptance = accept(ROWS, folder, "  the head is smaller\n")
    assert ("the head is smaller", (LESS,)) == (acceptance.reason, acceptance.changes)
    assert begun <= acceptance.accepted <= datetime.now(UTC)
    assert () == compare(ROWS, folder).changes
    assert [acceptance] == history(folder)
    records = record.read(folder)
    assert NAMES == list(records)
    # only what changed was asked about; the rest keeps its answers
    assert [("c3d", True)] * 4 == [(row, cached) for _, row, cached in reference_counters.asked]
    assert {"0"} == {answer.version for answer in records["c3d"].reference_counters.values()}
    assert committed["r50-cgnl"] == records["r50-cgnl"]
    assert (
        "vidcost gate accept"
        == json.loads((folder / "counts.jsonl").read_text().splitlines()[0])["command"]
    )


def test_a_line_of_the_history(store, reference_counters):
    folder = store(C3D_ONE_LESS)
    accept(ROWS, folder, 'a "reason"')
    (line,) = (folder / "counts-history.jsonl").read_text().splitlines()
    written = json.loads(line)
    assert written.pop("accepted").endswith("Z")
    assert {
        "reason": 'a "reason"',
        "vidcost": record.version("vidcost"),
        "commit": None,
        "changes": [{"row": "c3d", "field": "params", "before": 78_815_175, "after": 78_815_176}],
    } == written


def test_the_history_grows(store, reference_counters):
    accept(ROWS, store(C3D_ONE_LESS), "first")
    folder = store({"r50-cgnl": {"conv": 7}, "resframe-ts": {"inputs": ((3, 5, 7, 11),)}})
    path = folder / "counts-history.jsonl"
    # as an editor may leave it
    path.write_text(path.read_text().rstrip("\n"))
    accept(ROWS, folder, "second")
    first, second = history(folder)
    assert ("first", "second") == (first.reason, second.reason)
    assert [("r50-cgnl", "conv", 7), ("resframe-ts", "inputs", "3x5x7x11")] == [
        (change.row, change.field, change.before) for change in second.changes
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


def test_the_commit_is_that_of_the_folder(store, reference_counters):
    folder = store(C3D_ONE_LESS)

    def git(*command):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(folder), *identity, *command]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    # a repository without a commit
    assert None is accept(ROWS, folder, "why").commit
    git("add", ".")
    git("commit", "--quiet", "--message", "a")
    store(C3D_ONE_LESS)
    assert git("rev-parse", "HEAD").strip() == accept(ROWS, folder, "why").commit


def test_git_is_not_needed(store, reference_counters, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert None is accept(ROWS, store(C3D_ONE_LESS), "why").commit


# what is not accepted


@pytest.fixture
def refused():
    """Accept what must be refused: one line that begins as given, and nothing written."""

    def refuse(message, folder, reason="why"):
        before = contents(folder)
        with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
            accept(ROWS, folder, reason)
        assert before == contents(folder)
        assert 1 == len(str(caught.value).splitlines())

    return refuse


@pytest.mark.parametrize("reason", ["", "  ", "\n\t"])
def test_a_blank_reason(store, refused, reason):
    message = "the reason is blank: say why the counts change with --reason"
    refused(message, store(C3D_ONE_LESS), reason)


def test_nothing_to_accept(store, refused):
    folder = store()
    refused(f"nothing to accept: the counts are those of {folder}/counts.jsonl", folder)


def test_a_counter_that_fails(store, refused, reference_counters):
    reference_counters["thop", "c3d"] = "exit status -9: no message"
    # its FLOPs and its parameters
    message = (
        "cannot accept c3d: thop crashed: exit status -9: no message (and 1 more); "
        "`vidcost explain` shows the accounts"
    )
    refused(message, store(C3D_ONE_LESS))


def test_a_counter_that_answers_otherwise_than_explained(store, refused, reference_counters):
    reference_counters["fvcore", "c3d"] = {"params": C3D_PARAMS + 5}
    message = "cannot accept c3d: fvcore: params: +5 params are not explained; `vidcost explain`"
    refused(message, store(C3D_ONE_LESS))


def test_a_folder_that_cannot_be_written(store, refused, reference_counters, monkeypatch):
    def fail(*args, **known):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    folder = store(C3D_ONE_LESS)
    refused(f"cannot write results to {folder}: Read-only file system; choose another", folder)
    assert [] == reference_counters.asked


def test_a_damaged_history(store, refused, reference_counters):
    folder = store(C3D_ONE_LESS)
    accept(ROWS, folder, "first")
    store(C3D_ONE_LESS)
    path = folder / "counts-history.jsonl"
    path.write_text(path.read_text() + '{"reason": "cut\n')
    message = f"{path}, line 2 is damaged: take the file from the last commit that has it"
    refused(message, folder)
    with pytest.raises(ValueError, match="line 2 is damaged"):
        history(folder)


def test_a_history_that_cannot_be_read(store, refused):
    folder = store(C3D_ONE_LESS)
    (folder / "counts-history.jsonl").write_bytes(b"\xff\xfe")
    refused(f"cannot read {folder}/counts-history.jsonl: ", folder)


def test_no_history_is_empty(tmp_path):
    assert [] == history(tmp_path)


@pytest.mark.parametrize("file", ["counts.jsonl", "counts-history.jsonl"])
@pytest.mark.parametrize("accepted_before", [False, True])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "^cannot write .*: No space left on device$"),
        (KeyboardInterrupt("Ctrl-C"), "^Ctrl-C$"),
    ],
)
def test_both_files_are_written_or_neither(
    store, reference_counters, monkeypatch, file, accepted_before, error, said
):
    folder = store(C3D_ONE_LESS)
    if accepted_before:
        accept(ROWS, folder, "first")
        store(C3D_ONE_LESS)
    before = contents(folder)
    replace = Path.replace
    failing = [True]

    def replace_but_once(self, target):
        if Path(target).name == file and failing:
            failing.clear()
            raise error
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_but_once)
    with pytest.raises((ValueError, KeyboardInterrupt), match=said):
        accept(ROWS, folder, "why")
    assert before == contents(folder)
    accept(ROWS, folder, "why")
    assert () == compare(ROWS, folder).changes


def test_until_both_are_written_the_gate_is_red(store, reference_counters, monkeypatch):
    folder = store(C3D_ONE_LESS)
    seen = []

    def write(*args, **known):
        seen.append(compare(ROWS, folder).changes)
        raise ValueError("the process dies here")

    monkeypatch.setattr(record, "write", write)
    with pytest.raises(ValueError, match="dies here"):
        accept(ROWS, folder, "why")
    assert [(LESS,)] == seen
