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
from vidcost.bench.gate.baseline import Change, differences
from vidcost.bench.gate.counts import accept, compare, entry
from vidcost.bench.report.gate import row_legend
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


def test_one_more_in_any_integer_is_found_and_named(committed):
    row, now = "resframe-ts", committed["resframe-ts"]
    text, fields = now.model_dump_json(), []
    for found in re.finditer(r"(?<=[:\[,])\d+(?=[,\]}])", text):
        more = f"{text[: found.start()]}{int(found[0]) + 1}{text[found.end() :]}"
        before = entry(Record.model_validate_json(more))
        (change,) = differences({row: before}, {row: entry(now)}).changes
        fields.append(change.field)
        if change.field != "inputs":
            assert (row, int(found[0]) + 1, int(found[0])) == (
                change.row,
                change.before,
                change.after,
            )
    named = [field for field in fields if field != "inputs"]
    assert 30 < len(named) == len(set(named)) == len(fields) - 4 * len(now.inputs)
    assert {"params", "matmul", "fvcore.params", "thop.flops"} <= set(named)


def test_a_counter_that_failed_has_no_figure_and_a_version_is_none(made_up):
    answered, none = made_up("a", fvcore=11), entry(made_up("a"))
    added = {"fvcore.flops": 11, "fvcore.params": 7}
    assert {**none.figures, **added} == entry(answered).figures
    assert none == entry(made_up("a", fvcore="exit status -9"))
    before = entry(answered)
    answered.reference_counters["fvcore"] = Answer(version="9", flops=11, params=7)
    assert before == entry(answered)


def test_the_committed_counts_are_those_of_now_but_for_rows_that_are_gone(store):
    comparison = compare(ROWS, store())
    assert ((), 3) == (comparison.changes, comparison.networks)
    assert 3 * 20 < comparison.figures
    for rows in (ROWS[:3], [*ROWS[:3], dataclasses.replace(ROWS[3], build=None)]):
        assert (Change("c3d", "row", "present", None),) == compare(rows, store()).changes


def test_a_row_that_cannot_be_counted_hides_no_other_and_is_not_accepted(store, monkeypatch):
    cost = CGNL.cost
    wrong = lambda self, shape: dataclasses.replace(cost(self, shape), pool=7)  # noqa: E731
    monkeypatch.setattr(CGNL, "cost", wrong)
    # rows are memoised per process
    examine.cache_clear()
    folder = store(C3D_ONE_LESS)
    comparison = compare(ROWS, folder)
    said = (
        "not counted, ClosedFormMismatch: r50-cgnl: layer3.after_4: pool was counted as 0, "
        "its closed form says 7"
    )
    assert (Change("r50-cgnl", "row", "present", said), LESS) == comparison.changes
    advice = row_legend(comparison)[-1]
    assert advice.startswith("Mend first: r50-cgnl.")
    assert "gate accept" not in advice
    with pytest.raises(ValueError, match=f"^cannot accept r50-cgnl: {said}$"):
        accept(ROWS, folder, "why")
    examine.cache_clear()


def test_counts_stop_where_the_files_here_are_not_those_installed(store, tmp_path):
    folder = store()
    for name, package in (("models", models), ("papers", papers), ("bench/count", counting)):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(next(iter(package.__path__)), tmp_path / name, ignore=ignored)
    assert () == compare(ROWS, folder).changes
    edited = tmp_path / "models/blocks/non_local.py"
    edited.write_text(edited.read_text() + "# edited\n")
    with pytest.raises(ValueError, match=f"^{tmp_path} differs from .* `pip install -e"):
        compare(ROWS, folder)


def test_without_a_baseline_or_with_a_damaged_one(tmp_path, store):
    for act in (compare, lambda rows, folder: accept(rows, folder, "why")):
        with pytest.raises(ValueError, match=f"^no baseline {tmp_path}/counts.jsonl: `vidcost"):
            act(ROWS, tmp_path)
        path = store() / "counts.jsonl"
        path.write_text(path.read_text()[:-30])
        with pytest.raises(ValueError, match="line 4 is damaged: `vidcost run` writes the file"):
            act(ROWS, path.parent)


def test_accepted_counts_are_the_new_baseline(store, reference_counters, committed):
    folder = store(C3D_ONE_LESS)
    assert (LESS,) == accept(ROWS, folder, "  the head is smaller\n").changes
    assert () == compare(ROWS, folder).changes
    written = json.loads((folder / "counts-history.jsonl").read_text())
    assert re.fullmatch(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ", written.pop("accepted"))
    assert {
        "reason": "the head is smaller",
        "vidcost": record.version("vidcost"),
        "changes": [{"row": "c3d", "field": "params", "before": 78_815_175, "after": 78_815_176}],
    } == written
    records = record.read(folder)
    assert NAMES == list(records)
    # only what changed was asked about; the rest keeps its answers
    assert [("c3d", True)] * 4 == [(row, cached) for _, row, cached in reference_counters.asked]
    assert {"0"} == {answer.version for answer in records["c3d"].reference_counters.values()}
    assert committed["r50-cgnl"] == records["r50-cgnl"]


def test_the_history_grows_with_new_and_removed_rows(store, reference_counters):
    folder = store(names=["resframe-ts", "c3d"])
    assert (Change("r50-cgnl", "row", None, "present"),) == accept(ROWS, folder, "first").changes
    assert NAMES == list(record.read(folder))
    assert {"r50-cgnl"} == {row for _, row, _ in reference_counters.asked}
    path = folder / "counts-history.jsonl"
    # as an editor may leave it
    path.write_text(path.read_text().rstrip("\n"))
    gone = Change("c3d", "row", "present", None)
    assert (gone,) == accept(ROWS[:3], folder, "second").changes
    assert NAMES[:2] == list(record.read(folder))
    assert ["first", "second"] == [
        json.loads(line)["reason"] for line in path.read_text().splitlines()
    ]


def fail(*_, **__):
    raise OSError(30, "Read-only file system")


@pytest.mark.parametrize(
    ("other", "reason", "said"),
    [
        (C3D_ONE_LESS, " \n\t", "the reason is blank: say why the counts change"),
        (None, "why", "nothing to accept: the counts are those of FOLDER/counts.jsonl"),
        (
            C3D_ONE_LESS,
            "a counter answers otherwise",
            "cannot accept c3d: fvcore: params: +5 params are not explained; `vidcost explain`",
        ),
        (C3D_ONE_LESS, "read only", "cannot write results to FOLDER: Read-only file system"),
        (C3D_ONE_LESS, "disk full", "cannot write FOLDER/counts.jsonl: Read-only file system"),
    ],
)
def test_what_is_rejected_writes_nothing(
    store, reference_counters, monkeypatch, other, reason, said
):
    folder = store(other)
    (folder / "counts-history.jsonl").write_text("{}\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    reference_counters["fvcore", "c3d"] = {"params": C3D_PARAMS + 5 * ("counter" in reason)}
    if reason == "read only":
        monkeypatch.setattr("tempfile.TemporaryFile", fail)
    if reason == "disk full":
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ValueError, match=f"^{re.escape(said.replace('FOLDER', str(folder)))}") as e:
        accept(ROWS, folder, reason)
    assert 1 == len(str(e.value).splitlines())
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
