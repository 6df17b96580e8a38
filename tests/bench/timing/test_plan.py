import pytest

from vidcost.bench.cli.options import seconds
from vidcost.bench.count.counter import count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.timing.cell import Cell, checked_cell
from vidcost.bench.timing.plan import SHAPES, blocks_alone, cells_for, shape_of
from vidcost.models.blocks.non_local import NonLocal
from vidcost.papers.catalog import select

MFNET, NL = select(["mfnet", "mfnet-nl"])


def test_every_combination_of_the_conditions_is_a_cell():
    conditions = {
        "device": "cuda:1",
        "threads": 3,
        "batch": (1, 8),
        "dtype": ("tf32", "bf16"),
        "cudnn_benchmark": (True,),
    }
    expected = [
        Cell(row=row, device="cuda:1", threads=3, batch=batch, dtype=dtype, cudnn_benchmark=True)
        for batch, dtype in [(1, "tf32"), (1, "bf16"), (8, "tf32"), (8, "bf16")]
        for row in ("mfnet", "mfnet-nl")
    ]
    assert expected == cells_for([MFNET, NL], conditions)


def test_a_row_at_another_clip_says_so_and_one_at_its_own_does_not():
    (own, other) = cells_for([MFNET, MFNET.at(frames=8, classes=200)])
    assert Cell(row="mfnet") == own
    assert Cell(row="mfnet", frames=8) == other


def test_a_contribution_is_of_rows_with_blocks():
    cell = Cell(row="mfnet-nl", frames=8, against=Cell(row="mfnet-nl", frames=8, blocks=()))
    assert cell.is_contribution
    assert [cell] == cells_for([MFNET, NL.at(frames=8)], contribution=True)
    with pytest.raises(ValueError, match="none of these rows has a block"):
        cells_for([MFNET], contribution=True)


PAIR = Cell(row="mfnet", against=Cell(row="mfnet", blocks=()))


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("^CUDA graphs need a CUDA device$", {"mode": "cuda-graph"}),
        ("^TF32 needs a CUDA device$", {"dtype": "tf32"}),
        ("^batch: Input should be greater than 0$", {"batch": 0}),
        ("^only inference is", {"device": "cuda", "mode": "cuda-graph", "phase": "training"}),
        ("have one batch$", {"batch": 2, "against": Cell(row="mfnet")}),
        ("which is no pair$", {"against": PAIR}),
        ("a network of your own needs its inputs", {"row": None, "network": "n.py:N"}),
        ("give one of them", {"network": "n.py:N", "inputs": ("1x3",)}),
        ("^blocks have positions", {"row": None, "block": "nl", "blocks": ()}),
        ("are a row's", {"row": None, "network": "n.py:N", "inputs": ("1x3",), "frames": 3}),
    ],
)
def test_a_cell_that_contradicts_itself_is_rejected_in_a_line(message, fields):
    with pytest.raises(ValueError, match=message):
        checked_cell({"row": "mfnet"} | fields)


def test_a_row_that_cannot_be_built_is_rejected():
    with pytest.raises(ValueError, match=r"^2plus-c1-d cannot be built: published only"):
        cells_for(select(["2plus-c1-d"]))


def test_blocks_none_of_which_fits_are_rejected():
    with pytest.raises(ValueError, match=r"^nl at 3x1x4x4 left out: channels must be even"):
        blocks_alone(["nl"], ["3x1x4x4"])
    with pytest.raises(ValueError, match=r"^no block 'nll'"):
        blocks_alone(["nll"], ["4x1x4x4"])


@pytest.mark.parametrize("text", ["384x8x14", "384x0x14x14"])
def test_what_is_no_shape_is_rejected(text):
    with pytest.raises(ValueError, match="is no shape CxTxHxW such as 384x8x14x14"):
        shape_of(text)


@pytest.mark.parametrize(
    ("expected", "text"), [(90, "90s"), (600, "10m"), (3600, "1h"), (5400, "1.5h"), (0, "0s")]
)
def test_a_time_in_words(expected, text):
    assert expected == seconds(text)


@pytest.mark.parametrize("text", ["10", "-1s", "1d"])
def test_what_is_no_time_is_rejected(text):
    with pytest.raises(ValueError, match="is no time such as 90s, 10m or 1h"):
        seconds(text)


def test_default_shapes_are_those_where_rows_put_a_block():
    found = []
    for row in select(["mfnet-nl", "r50-nl"]):
        model, clips = on_meta(row)
        found += [
            call.input[1:]
            for call in count(model, *clips).calls
            if isinstance(model.get_submodule(call.module), NonLocal)
        ]
    assert list(SHAPES) == found
