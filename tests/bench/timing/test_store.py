"""Files of timings: what is written is there, whatever happens to the writer; and the choice."""

import json
import re
import subprocess
import sys

import pytest

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import Store, by_kind, store_of, stored_by_device

CELL = Cell(row="mfnet-nl")


def timing(key, *samples, status="ok"):
    return Timing(
        key=key, cell=Cell(row="mfnet"), status=status, samples_s={"latency": tuple(samples)}
    )


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results" / "cpu.jsonl", command="vidcost time mfnet")


def test_records_are_lines_below_one_that_names_the_command(store):
    assert ["", ""] == [store.append(timing("a", 0.5)), store.append(timing("b", 0.25))]
    header, *records = store.path.read_text().splitlines()
    assert "vidcost time mfnet" == json.loads(header)["command"]
    assert "vidcost timings" == json.loads(header)["file"]
    assert ["a", "b"] == [json.loads(line)["key"] for line in records]
    assert {"a": timing("a", 0.5), "b": timing("b", 0.25)} == store.read()


def test_the_latest_of_one_key_counts(store):
    for sample in (0.5, 0.25, 0.125):
        store.append(timing("a", sample))
    assert {"a": timing("a", 0.125)} == store.read()
    assert 4 == len(store.path.read_bytes().splitlines())


@pytest.mark.parametrize("kept", [1, -2])
def test_a_last_line_cut_short_is_reported_and_moved_aside(store, kept):
    store.append(timing("a", 0.5))
    whole = store.path.read_bytes()
    store.append(timing("b", 0.25))
    cut = store.path.read_bytes()[len(whole) :][:kept]
    store.path.write_bytes(whole + cut)

    assert ["a"] == list(store.read())
    assert f"{store.path}, line 3 is cut short and was left out" == store.warning
    assert whole + cut == store.path.read_bytes()

    said = store.append(timing("c", 0.125))
    assert f"the last line of {store.path} was cut short, and is gone" == said
    assert (["a", "c"], "") == (list(store.read()), store.warning)
    assert "" == store.append(timing("d", 0.0625))


def test_a_record_that_lacks_only_its_line_break_is_whole(store):
    store.append(timing("a", 0.5))
    store.path.write_bytes(store.path.read_bytes().removesuffix(b"\n"))
    assert (["a"], "") == (list(store.read()), store.warning)
    assert "" == store.append(timing("b", 0.25))
    assert ["a", "b"] == list(store.read())


@pytest.mark.parametrize(
    ("number", "line", "complaint"),
    [
        (1, b"[]", "is not the first line of a file of timings"),
        (2, b'{"key":"a', "is damaged"),
        (3, b"\xff", "is damaged"),
    ],
)
def test_a_damaged_line_is_named(store, number, line, complaint):
    for key in "abc":
        store.append(timing(key, 0.5))
    lines = store.path.read_bytes().splitlines()
    lines[number - 1] = line
    store.path.write_bytes(b"\n".join(lines) + b"\n")
    expected = f"{store.path}, line {number} {complaint}: mend it or name another file"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        store.read()


@pytest.mark.parametrize(
    "text",
    [
        '{"command": "vidcost run", "records": 0}\n',
        "a note",
        '{"file":"vidcost timings","comm\n{"key":"a"',
    ],
)
def test_another_kind_of_file_is_not_touched(tmp_path, text):
    path = tmp_path / "counts.jsonl"
    path.write_text(text)
    for use in (Store(path).read, lambda: Store(path).append(timing("a", 0.5))):
        with pytest.raises(ValueError, match="line 1 is not the first line of a file of timings"):
            use()
    assert text == path.read_text()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "cpu.jsonl", tmp_path):
        with pytest.raises(ValueError, match=r"^cannot write .*[^\n]$"):
            Store(path).append(timing("a", 0.5))


_MANY = """
import sys
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import Store
from pathlib import Path
store, name = Store(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.read()
for number in range(100):
    cell = Cell(row="mfnet")
    # longer than what a pipe or a file system might happen to write at once
    samples = {"latency": (0.5,) * 2000}
    store.append(Timing(key=f"{name}{number}", cell=cell, samples_s=samples))
"""


def test_two_writers_at_once_lose_and_mix_nothing(store):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _MANY, store.path, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in "ab"
    ]
    assert [b"ready\n"] * 2 == [writer.stdout.readline() for writer in writers]
    for writer in writers:
        writer.stdin.close()
        writer.stdin = None
    for writer in writers:
        writer.communicate()
    assert [0, 0] == [writer.returncode for writer in writers]
    records = store.read()
    assert "" == store.warning
    assert {f"{name}{number}" for name in "ab" for number in range(100)} == set(records)
    assert 201 == len(store.path.read_bytes().splitlines())


_FULL = """
import resource, sys
from pathlib import Path
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import Store
path, limit = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for number in range(100):
    try:
        samples = {"latency": (0.5,) * 100}
        Store(path).append(Timing(key=str(number), cell=Cell(row="mfnet"), samples_s=samples))
    except ValueError as error:
        print(number)
        print(error)
        break
"""


@pytest.mark.parametrize("limit", [30, 10_000])
def test_a_full_disk_leaves_no_half_line(store, limit):
    ran = subprocess.run(
        [sys.executable, "-c", _FULL, store.path, str(limit)],
        capture_output=True,
        text=True,
        check=True,
    )
    number, message = ran.stdout.splitlines()
    expected = f"cannot write {store.path}: File too large; its contents are untouched"
    assert expected == message
    records = store.read()
    assert ([str(n) for n in range(int(number))], "") == (list(records), store.warning)
    assert bool(records) == (limit == 10_000)
    # the next record would have fit by a part: that part was taken back
    assert not store.path.read_bytes() or store.path.read_bytes().endswith(b"}\n")
    assert "" == store.append(timing("more", 0.5))
    assert "more" in store.read()


@pytest.fixture
def abacus(timed):
    """The machine of made-up timings."""
    return timed(CELL).machine


def test_a_file_is_named_by_device_and_torch(abacus, tmp_path):
    a100 = abacus.model_copy(update={"device": "NVIDIA A100-SXM4-80GB", "torch": "2.12.1+cu128"})
    name = "nvidia-a100-sxm4-80gb-torch2.12.1.jsonl"
    assert tmp_path / "timings" / name == store_of(tmp_path, a100).path


def test_of_each_device_those_on_machines_like_the_latest_are_kept(abacus, timed, tmp_path):
    other = abacus.model_copy(update={"device": "Slide rule"})
    updated = abacus.model_copy(update={"driver": "570"})
    newer = {"machine": updated, "started": "2026-02-01"}
    for timing in (
        timed(Cell(row="mfnet"), started="2026-01-01"),
        timed(CELL, started="2026-01-01"),
        timed(CELL, **newer),
        timed(CELL, machine=other),
        timed(Cell(row="mfnet-pnl"), None, status="killed", machine=None),
    ):
        machine = timing.machine or abacus
        store_of(tmp_path, machine).append(timing)
    found = stored_by_device(tmp_path)
    assert ["Abacus", "Slide rule"] == list(found)
    assert [(CELL, updated)] == [(each.cell, each.machine) for each in found["Abacus"]]
    assert {} == stored_by_device(tmp_path / "nowhere")


def test_unlike_machines_have_tables_of_their_own(timed, abacus):
    # two nodes of one kind, a lost cell, and a node with another driver
    like = {"device_uuid": "GPU-7", "host": "n7", "memory_bytes": 10**9 + 4096}
    lost = timed(Cell(row="mfnet", batch=3), None, status="killed", machine=None)
    first = [timed(CELL), timed(CELL, machine=abacus.model_copy(update=like)), lost]
    second = [timed(CELL, machine=abacus.model_copy(update={"driver": "570", "host": "n9"}))]
    assert [first, second] == [list(each) for each in by_kind(first + second)]
    assert [[]] == [list(each) for each in by_kind([])]
