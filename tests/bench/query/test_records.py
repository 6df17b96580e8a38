"""The figures that SQL derives are those that tables show, bit by bit."""

from __future__ import annotations

import datetime
import json

import pytest

from vidcost.bench.query.views import TIMINGS
from vidcost.bench.timing.figures import figures, share_figures
from vidcost.bench.timing.record import Machine

FROM_SECONDS = ("median", "ci_low", "ci_high", "half_ci", "iqr", "forward", "backward", "optimizer")
NOT_FIGURES = {
    # of the machine, and what is made of the cell
    *(field for field in Machine.model_fields if field not in ("device", "torch", "memory_bytes")),
    *("machine_memory_bytes", "file", "blocks", "inputs", "started"),
}


def expected(timing, names):
    """A record's figures in the columns ``names``, milliseconds for seconds."""
    of = share_figures(timing) if timing.cell.share else figures(timing)
    in_ms = {name: of[f"{name[:-3]}_s"] for name in names if name.endswith("_ms")}
    given = {name: None if s is None else 1e3 * s for name, s in in_ms.items()}
    return {name: given[name] if name in given else of[name] for name in names}


def test_every_figure_is_that_of_the_tables(kinds, stored, ask):
    stored(*kinds)
    names = [c.name for c in TIMINGS.columns if c.name not in NOT_FIGURES]
    assert {f"{name}_ms" for name in FROM_SECONDS} <= set(names)
    found = {line["key"]: line for line in ask("select * from timings")}
    assert len(kinds) == len(found)
    for timing in kinds:
        line = found[timing.key]
        assert expected(timing, names) == {name: line[name] for name in names}, timing.cell


def test_what_blocks_add_is_that_of_the_tables(share, kinds, stored, ask):
    stored(share, kinds[0])
    (line,) = ask("select * from shares")
    names = [
        *("subject", "row", "with_ms", "without_ms", "median_ms", "ci_low_ms", "ci_high_ms"),
        *("half_ci_ms", "iqr_ms", "n", "share_of_network", "peak_bytes", "block_bytes", "key"),
    ]
    assert expected(share, names) == {name: line[name] for name in names}
    assert 32 == line["n"]
    assert [kinds[0].key] == [line["key"] for line in ask("select key from timings")]


def test_what_a_record_has_beside_figures(kinds, stored, ask):
    stored(*kinds)
    lines = ask("select * from timings")
    (put,) = (line for line in lines if line["blocks"] and line["row"])
    assert "nl at conv4:before-last + cgnl at res5" == put["blocks"]
    assert "mfnet + nl at conv4:before-last + cgnl at res5" == put["subject"]
    (network,) = (line for line in lines if line["network"] and not line["blocks"])
    assert "1x3x4x5x5, mask=1x7:bool" == network["inputs"]
    assert "h100-torch2.13.0.jsonl" == put["file"]
    assert datetime.datetime(2026, 11, 26, 9, 0, 1) == put["started"]
    assert ("580.1", "13.0", 3, 10**11) == (
        put["driver"], put["cuda"], put["cores"], put["machine_memory_bytes"]
    )  # fmt: skip
    (without,) = (line for line in lines if line["row"] == "s3d")
    assert {None} == {without[name] for name in ("device_name", "driver", "cores", "started")}


def test_what_a_machine_does_not_say_is_missing(kinds, stored, ask):
    machine = Machine.model_validate(
        kinds[0].machine.model_dump(exclude={"driver", "cuda", "device_uuid"})
    )
    stored(kinds[0].model_copy(update={"machine": machine}))
    assert [{"driver": None, "cuda": None}] == ask("select driver, cuda from timings")


def test_a_record_of_a_cluster_says_where_it_was_made(kinds, stored, ask):
    machine = kinds[0].machine.model_copy(update={"host": "node-7", "node": "9f3c"})
    stored(kinds[0].model_copy(update={"machine": machine}), kinds[1])
    found = {line["key"]: line for line in ask("select key, host, node from timings")}
    assert ("node-7", "9f3c") == (found[kinds[0].key]["host"], found[kinds[0].key]["node"])
    assert (None, None) == (found[kinds[1].key]["host"], found[kinds[1].key]["node"])


def test_a_record_that_lacks_what_has_a_default_has_it(kinds, share, stored, ask):
    path = stored()
    with path.open("a") as file:
        file.writelines(f"{t.model_dump_json(exclude_defaults=True)}\n" for t in (*kinds, share))
    sparse = [ask(f"select * from {view}") for view in ("timings", "shares")]
    path.unlink()
    stored(*kinds, share)
    assert sparse == [ask(f"select * from {view}") for view in ("timings", "shares")]


def test_a_field_that_nobody_knows_yet_is_passed_over(kinds, stored, ask):
    path = stored(kinds[0])
    newer = json.loads(kinds[1].model_dump_json())
    newer["machine"] |= {"rack": "r7", "links": [{"to": "r8"}]}
    with path.open("a") as file:
        file.write(json.dumps(newer | {"later": {"a": [1]}}) + "\n")
    assert {kinds[0].key, kinds[1].key} == {line["key"] for line in ask("from timings")}


def test_samples_are_as_they_were_taken(kinds, share, stored, ask):
    (training,) = (timing for timing in kinds if timing.cell.phase == "training")
    stored(training, share)
    lines = ask("select * from samples order by key, part, number")
    for timing in (training, share):
        for part, samples in timing.samples_s.items():
            of = [line for line in lines if (line["key"], line["part"]) == (timing.key, part)]
            assert [1e3 * s for s in samples] == [line["ms"] for line in of]
            assert list(range(1, len(samples) + 1)) == [line["number"] for line in of]
    assert sum(len(s) for t in (training, share) for s in t.samples_s.values()) == len(lines)


# --- the file


def test_the_latest_record_of_a_key_counts(kinds, stored, ask):
    first, second = (kinds[0].model_copy(update={"energy_j": j}) for j in (1.0, 2.0))
    stored(first, kinds[1], second)
    lines = ask(f"select energy_j_per_clip from timings where key = '{first.key}'")
    assert [{"energy_j_per_clip": 2.0}] == lines


def test_a_last_line_cut_short_is_left_out_and_said(kinds, stored, ask):
    path = stored(kinds[0], kinds[1])
    path.write_bytes(path.read_bytes()[:-20])
    notes = []
    assert [kinds[0].key] == [line["key"] for line in ask("from timings", note=notes.append)]
    assert [f"the last line of {path} is cut short and was left out"] == notes


def test_a_last_line_that_lacks_only_the_newline_counts(kinds, stored, ask):
    path = stored(kinds[0], kinds[1])
    path.write_bytes(path.read_bytes()[:-1])
    assert 2 == len(ask("from timings"))


@pytest.mark.parametrize(
    "damage",
    ['{"key": "a", "cell": {"ro', "[1, 2]", '{"key": "a"}', '{"key": "a", "cell": 7}', "", " "],
)
def test_a_damaged_line_is_named(damage, kinds, stored, ask):
    path = stored(kinds[0])
    with path.open("a") as file:
        file.write(f"{damage}\n{kinds[1].model_dump_json()}\n")
    with pytest.raises(ValueError, match=r"line 3 is damaged: mend it or name another file"):
        ask("from timings")


def test_a_value_of_another_kind_is_damage(kinds, stored, ask):
    path = stored(kinds[0])
    with path.open("a") as file:
        file.write(kinds[1].model_dump_json().replace('"batch":2', '"batch":"many"') + "\n")
    with pytest.raises(ValueError, match=r"torch2.13.0.jsonl is damaged: .*many"):
        ask("from timings")


def test_a_file_of_something_else_is_refused(kinds, folder, ask):
    (folder / "timings").mkdir()
    (folder / "timings/other.jsonl").write_text(kinds[0].model_dump_json() + "\n")
    with pytest.raises(ValueError, match="line 1 is not the first line of a file of timings"):
        ask("from timings")


def test_a_file_with_its_first_line_alone_has_no_records(stored, ask):
    stored()
    assert [] == ask("from timings")
    assert [] == ask("from samples")


def test_what_took_turns_with_another_cell_is_no_timing_of_its_own(kinds, stored, ask):
    plain = kinds[0]
    cell = plain.cell.model_copy(update={"mode": "compile", "against": plain.cell})
    sides = {"subject": (0.1,) * 6, "reference": (0.2,) * 6}
    pair = plain.model_copy(update={"cell": cell, "samples_s": sides, "key": "a pair"})
    stored(plain, pair)
    assert [plain.key] == [line["key"] for line in ask("select key from timings")]
    assert [] == ask("select key from shares")
    assert [plain.key] == [line["key"] for line in ask("select distinct key from samples")]


def test_several_files_are_one_view(kinds, stored, ask):
    stored(kinds[0], kinds[1])
    stored(kinds[2], name="it's.jsonl")
    lines = ask("select file, count(*) as n from timings group by file order by file")
    assert [("h100-torch2.13.0.jsonl", 2), ("it's.jsonl", 1)] == [
        tuple(line.values()) for line in lines
    ]


def test_a_line_that_is_written_meanwhile_does_not_disturb(kinds, stored, ask, monkeypatch):
    from vidcost.bench.query import copies

    monkeypatch.setattr(copies, "SMALL_BYTES", 0)
    path = stored(kinds[0])
    last_newline = copies._last_newline

    def append(*args):
        with path.open("a") as file:
            file.write(kinds[1].model_dump_json()[:99])
        return last_newline(*args)

    monkeypatch.setattr(copies, "_last_newline", append)
    assert [kinds[0].key] == [line["key"] for line in ask("from timings")]
