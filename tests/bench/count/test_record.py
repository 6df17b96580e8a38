import json
import os
import stat
from dataclasses import fields

import pytest
import torch

from vidcost.bench import files
from vidcost.bench.count.modules import ClosedFormMismatch
from vidcost.bench.count.record import COUNTS, Record, counted, read, write
from vidcost.bench.count.references.reference import Answer
from vidcost.models.blocks.cgd import CGD
from vidcost.models.cost import Cost
from vidcost.papers.catalog import every_row
from vidcost.papers.row import Row

RECORD = Record(
    row="a-row",
    classes=7,
    inputs=((3, 5, 11, 11), (2, 1, 11, 11)),
    buffers=3,
    closed_forms=1,
    reference_counters={
        "fvcore": Answer(version="0.1.5", flops=137, params=2),
        "thop": Answer(version="0.1.1", error="exit status 1: no"),
    },
    **{field.name: 101 + place for place, field in enumerate(fields(Cost))},
)
OTHER = RECORD.model_copy(update={"row": "other-row", "reference_counters": {}})


# 1 x 3 x 16 x 224 x 224, counted on the authors' public code and, for the blocks, on a rebuild of
# the text; bn is BatchNorm as counters count it, two for each element
@pytest.mark.parametrize(
    ("name", "params", "conv", "bn", "linear", "matmul"),
    [
        ("mfnet", 7_842_568, 11_045_142_528, 131_059_712, 153_600, 0),
        ("mfnet-nl", 8_138_248, 11_507_564_544, 132_263_936, 153_600, 944_111_616),
        ("mfnet-pnl-concat", 7_861_768, 11_082_743_808, 132_263_936, 153_600, 251_283_456),
        ("mfnet-pnl", 7_870_984, 11_082_743_808, 132_263_936, 190_464, 253_692_672),
        ("mfnet-pnl-x5", 7_942_408, 11_234_476_032, 139_489_280, 282_624, 4_798_436_352),
    ],
)
def test_mfnet_and_its_blocks(name, params, conv, bn, linear, matmul):
    record, _, _ = counted(every_row()[name])
    ours = (record.params, record.conv, 2 * record.norm, record.linear, record.matmul)
    assert (params, conv, bn, linear, matmul) == ours


@pytest.mark.parametrize(
    ("name", "classes", "params", "macs"),
    [
        # counted on the authors' public code
        ("i3d-rgb", 400, 12_697_264, 111_153_143_808),
        ("s3d", 400, 8_320_048, 71_916_314_624),
        ("c3d", 200, 78_815_176, 38_547_783_680),
        ("r3d18", 200, 33_306_504, 8_307_904_512),
        ("mars", 200, 47_931_016, 9_567_305_728),
        # ResNet-50 without its 2D head, and 2049 for each class
        ("r50-ucf101", 200, 23_917_832, 20_436_893_696),
        ("r50-nl", 1000, 27_656_232, None),
        ("r50-cgnl", 1000, 27_197_480, None),
        ("r50-cgd", 1000, 25_579_688, None),
    ],
)
def test_networks(name, classes, params, macs):
    record, _, _ = counted(every_row()[name].at(classes=classes))
    assert (params, macs or record.macs) == (record.params, record.macs)


def test_a_wrong_closed_form_is_rejected():
    class Wrong(CGD):
        def cost(self, shape):
            return Cost()

    row = Row("wrong", lambda **_: Wrong(3), 7, ((3, 5, 11, 11),))
    with pytest.raises(
        ClosedFormMismatch, match=r"^wrong: the whole: params was counted as 18, its"
    ):
        counted(row)


def test_written_records_are_read_and_the_first_line_says_where_they_come_from(tmp_path):
    path = write(tmp_path, [RECORD, OTHER], command="vidcost run x")
    assert tmp_path / COUNTS == path
    assert [("a-row", RECORD), ("other-row", OTHER)] == list(read(tmp_path).items())
    header, *lines = map(json.loads, path.read_text("utf-8").splitlines())
    assert 2 == len(lines)
    assert ["command", "vidcost", "python", "torch", "fvcore", "thop", "records"] == list(header)
    assert ("vidcost run x", torch.__version__) == (header["command"], header["torch"])
    assert 2 == header["records"]


HEADER = '{"command": "vidcost run", "records": 1}'
GOOD = RECORD.model_dump_json()


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ([HEADER, GOOD[:-9]], 2),
        ([HEADER, GOOD, ""], 3),
        ([HEADER, GOOD.replace('"conv":102', '"conv":"many"')], 2),
        ([HEADER, GOOD.replace('"conv":102', '"conv":102,"speed":3')], 2),
        ([HEADER, GOOD.replace("[2,1,11,11]", "[2,1,11]")], 2),
        # a file that does not begin with its header
        ([GOOD, GOOD], 1),
        (["", HEADER, GOOD], 1),
    ],
)
def test_a_damaged_line_is_rejected_by_its_number(tmp_path, lines, number):
    path = tmp_path / COUNTS
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="damaged") as caught:
        read(tmp_path)
    message = f"{path}, line {number} is damaged: `vidcost run` writes the file anew"
    assert message == str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "step",
    ["os.fsync", "pathlib.Path.replace", "pathlib.Path.chmod", "tempfile.NamedTemporaryFile"],
)
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(28, "No space left on device"), "^cannot write .*: No space left on device$"),
        (KeyboardInterrupt(), None),
    ],
)
def test_a_failing_write_leaves_the_old_file_and_no_draft(
    tmp_path, monkeypatch, step, error, raised
):
    write(tmp_path, [RECORD], command="vidcost run")
    before = (tmp_path / COUNTS).read_bytes()

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(step, fail)
        with pytest.raises(ValueError if raised else KeyboardInterrupt, match=raised):
            write(tmp_path, [OTHER], command="vidcost run")
    assert before == (tmp_path / COUNTS).read_bytes()
    assert [COUNTS] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        files.write(tmp_path / "a.txt", "text")
    finally:
        assert umask == os.umask(before)
    assert mode == stat.S_IMODE((tmp_path / "a.txt").stat().st_mode)


def test_files_and_folders_that_cannot_be_used_are_named(tmp_path):
    (tmp_path / COUNTS).write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"^cannot read .*counts\.jsonl: 'utf-8'"):
        read(tmp_path)
    file = tmp_path / "file"
    file.write_text("in the way", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^cannot write .*counts\.jsonl: Not a directory$"):
        write(file / "results", [RECORD], command="vidcost run")
    with pytest.raises(ValueError, match=r"cannot write results to .*: File exists; choose anoth"):
        files.check_folder(file)
