"""The rows: which there are, how they are chosen and varied, and where their blocks sit."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch

from vidcost.models.blocks import CGD, CGNL, PNL, NonLocal
from vidcost.models.blocks.operation import NonLocalOperation
from vidcost.papers.catalog import select
from vidcost.papers.pnl2020.rows import ROWS
from vidcost.papers.row import Row

BUILDABLE = [row.name for row in ROWS if row.build is not None]

# table of the paper -> names, in the order of ROWS
TABLES = {
    1: [
        "mfnet",
        "mfnet-pnl",
        "mfnet-pnl-gaussian",
        "mfnet-pnl-dot-product",
        "mfnet-pnl-concatenation",
    ],
    2: [
        "mfnet",
        "mfnet-pnl-n2-conv2",
        "mfnet-pnl-n2-conv3",
        "mfnet-pnl-n2-conv4",
        "mfnet-pnl-n2-conv5",
    ],
    3: ["mfnet", "mfnet-pnl", "mfnet-pnl-concat"],
    4: ["mfnet", "mfnet-pnl", "mfnet-pnl-n2", "mfnet-pnl-n3"],
    5: [
        "mfnet",
        "mfnet-nl",
        "mfnet-pnl",
        "mfnet-pnl-x5",
        "r50-nl",
        "r50-cgd",
        "r50-cgnl",
        "mars",
        "resframe-ts",
        "i3d-ts",
        "c3d",
        "i3d-rgb",
        "2plus-c1-d",
        "s3d",
    ],
    6: ["r50-ucf101", "r50-nl-ucf101", "r50-cgnl-ucf101", "r50-pnl-ucf101"],
}
VARIANTS = [
    "mfnet-pnl-per-scale",
    "mfnet-pnl-concat-per-scale",
    "mfnet-pnl-x5-per-scale",
    "mars-64f",
    "r3d18",
]
OPTIMIZED = [
    "mfnet-nl-optimized",
    "mfnet-pnl-optimized",
    "mfnet-pnl-concat-optimized",
    "mfnet-pnl-x5-optimized",
    "mfnet-pnl-gaussian-optimized",
    "mfnet-pnl-dot-product-optimized",
    "mfnet-pnl-concatenation-optimized",
    "r50-nl-optimized",
    "r50-cgnl-optimized",
    "r50-pnl-ucf101-optimized",
]


def only(name):
    (row,) = select([name])
    return row


def names(rows):
    return [row.name for row in rows]


def on_meta(row):
    with torch.device("meta"):
        return row.model(), row.clips()


def test_names_are_unique():
    assert len(ROWS) == len(set(names(ROWS)))


@pytest.mark.parametrize("table", TABLES)
def test_rows_of_a_table(table):
    assert TABLES[table] == names(select(table=table))


def test_numbers_of_rows():
    assert [5, 5, 3, 4, 14, 4] == [len(select(table=table)) for table in range(1, 7)]


def test_every_row_stands_in_a_table_or_says_that_it_is_a_variant():
    assert [*VARIANTS, *OPTIMIZED] == [row.name for row in ROWS if not row.tables]
    for name in [*VARIANTS, *OPTIMIZED]:
        assert only(name).note.startswith("variant: ")
    assert {*VARIANTS, *OPTIMIZED, *(name for table in TABLES.values() for name in table)} == set(
        names(ROWS)
    )


@pytest.mark.parametrize("name", OPTIMIZED)
def test_an_optimized_row_differs_in_its_implementation_alone(name):
    optimized, plain = only(name), only(name.removesuffix("-optimized"))
    assert (optimized.classes, optimized.inputs) == (plain.classes, plain.inputs)
    (one, _), (other, _) = on_meta(optimized), on_meta(plain)
    shapes = [{key: x.shape for key, x in model.state_dict().items()} for model in (one, other)]
    assert shapes[0] == shapes[1]
    for model, impl in ((one, "optimized"), (other, "reference")):
        kinds = (CGNL, NonLocalOperation)
        assert {impl} == {m.impl for m in model.modules() if isinstance(m, kinds)}


@pytest.mark.parametrize("name", ["mfnet-pnl-x5", "r50-cgnl"])
def test_an_optimized_row_computes_the_same(name):
    torch.manual_seed(0)
    reference, optimized = (
        only(n).at(frames=4, size=128).model() for n in (name, f"{name}-optimized")
    )
    for parameter in reference.parameters():
        # the blocks are the identity as they are built
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    optimized.load_state_dict(reference.state_dict())
    x = torch.randn(1, 3, 4, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(optimized.eval()(x), reference.eval()(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mfnet-nl-optimized", "mfnet-nl-optimized is optimized already"),
        ("mfnet", "mfnet has no blocks: choose a row with one"),
        ("r50-cgd", "r50-cgd has a block of one implementation"),
    ],
)
def test_a_row_that_has_no_optimized_variant(name, message):
    with pytest.raises(ValueError, match=message):
        only(name).optimized()


def test_rows_that_assume_something_say_so():
    assert only("resframe-ts").note.startswith("assumed: ")
    assert only("2plus-c1-d").note.startswith("published only: ")
    assert "not known" in only("mars").note


def test_a_row_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        only("mfnet").classes = 1


# select


@pytest.mark.parametrize(
    ("patterns", "table", "expected"),
    [
        (["mfnet"], None, ["mfnet"]),
        (["r50-*"], 6, TABLES[6]),
        (["mfnet-pnl-n?"], None, ["mfnet-pnl-n2", "mfnet-pnl-n3"]),
        (["*-ts", "c3d"], None, ["resframe-ts", "i3d-ts", "c3d"]),
        # the order is that of ROWS, and no row comes twice
        (["s3d", "mfnet", "mfnet*"], 3, TABLES[3]),
        (["mfnet-pnl-n[34]*"], None, ["mfnet-pnl-n3"]),
        (["*-optimized"], None, OPTIMIZED),
        # any row with such blocks has an optimized variant, if only by its name
        (["mfnet-pnl-n2-optimized", "mfnet"], None, ["mfnet", "mfnet-pnl-n2-optimized"]),
    ],
)
def test_select(patterns, table, expected):
    assert expected == names(select(patterns, table=table))


def test_a_pattern_that_matches_nothing_in_the_table_is_refused():
    with pytest.raises(ValueError, match=r"^no row of Table 6 matches s3d or mfnet$"):
        select(["s3d", "mfnet"], table=6)


def test_nothing_chosen_is_every_row():
    assert ROWS == select()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("mfnet-pln", "no row 'mfnet-pln': did you mean 'mfnet-pnl'? `vidcost list` shows all"),
        ("I3D-RGB", "no row 'I3D-RGB': `vidcost list` shows all rows"),
        ("mfnet-optimized", "no row 'mfnet-optimized': did you mean 'mfnet-"),
        (
            "mfnet-nl-optimizedd",
            "no row 'mfnet-nl-optimizedd': did you mean 'mfnet-nl-optimized'",
        ),
        ("qqq*", "no row 'qqq*': `vidcost list` shows all rows"),
        ("", "no row '': `vidcost list` shows all rows"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(pattern, message):
    with pytest.raises(ValueError, match="no row") as caught:
        select(["mfnet", pattern])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("table", [0, 7, -1])
def test_a_table_that_the_paper_lacks_is_refused(table):
    with pytest.raises(ValueError, match=f"^no table {table}: the paper has Tables 1 to 6$"):
        select(table=table)


# at


def test_at_replaces_what_is_given():
    row = only("i3d-ts").at(classes=7, frames=16, size=96)
    assert ((3, 16, 96, 96), (2, 16, 96, 96)) == row.inputs
    assert (7, 16, 96) == (row.classes, row.frames, row.size)
    original = only("i3d-ts")
    assert ((3, 64, 224, 224), (2, 64, 224, 224)) == original.inputs
    assert (200, 64, 224) == (original.classes, original.frames, original.size)


@pytest.mark.parametrize(
    ("change", "classes", "clip"),
    [
        ({"classes": 7}, 7, (3, 16, 224, 224)),
        ({"frames": 5}, 200, (3, 5, 224, 224)),
        ({"size": 96}, 200, (3, 16, 96, 96)),
        ({}, 200, (3, 16, 224, 224)),
    ],
)
def test_at_keeps_what_is_not_given(change, classes, clip):
    row = only("mfnet").at(**change)
    assert (classes, (clip,)) == (row.classes, row.inputs)
    assert ("mfnet", (1, 2, 3, 4, 5)) == (row.name, row.tables)


def test_at_nothing_is_the_same_row():
    for row in ROWS:
        assert row == row.at()


def test_at_keeps_a_still_frame_still():
    row = only("resframe-ts").at(frames=8, size=96)
    assert ((3, 8, 96, 96), (3, 1, 96, 96)) == row.inputs
    model, clips = on_meta(row)
    assert (1, 200) == model(*clips).shape


def test_clips_have_the_batch_in_front():
    first, second = only("resframe-ts").at(frames=5, size=7).clips(batch=11)
    assert ((11, 3, 5, 7, 7), (11, 3, 1, 7, 7)) == (first.shape, second.shape)


def test_clips_are_random():
    torch.manual_seed(3)
    (first,) = only("c3d").at(frames=2, size=5).clips()
    (second,) = only("c3d").at(frames=2, size=5).clips()
    assert not torch.equal(first, second)


# building


def test_a_row_that_is_only_published_cannot_be_built():
    message = "^2plus-c1-d cannot be built: published only: no public definition of the network"
    with pytest.raises(ValueError, match=message):
        only("2plus-c1-d").model()


def test_all_other_rows_can_be_built():
    assert ["2plus-c1-d"] == [row.name for row in ROWS if row.name not in BUILDABLE]


def test_build_gets_the_classes_and_the_first_clip():
    row = Row("x", dict, 7, ((3, 5, 11, 11), (2, 1, 11, 11)))
    assert {"classes": 7, "frames": 5, "size": 11} == row.model()


@pytest.mark.parametrize("name", BUILDABLE)
def test_a_row_takes_its_own_clips(name):
    row = only(name)
    model, clips = on_meta(row)
    with torch.no_grad():
        assert (1, row.classes) == model.eval()(*clips).shape


@pytest.mark.parametrize(
    "name",
    ["mfnet-pnl", "r50-nl", "mars", "resframe-ts", "i3d-ts", "c3d", "i3d-rgb", "s3d", "r3d18"],
)
def test_a_row_refuses_other_clips(name):
    row = only(name)
    model, clips = on_meta(row)
    with pytest.raises(ValueError, match="built for clips of shape"):
        model(*(clip[..., :-1] for clip in clips))


@pytest.mark.parametrize(
    ("table", "classes", "clip"), [(3, 200, (3, 16, 224, 224)), (6, 101, (3, 32, 224, 224))]
)
def test_what_the_rows_of_a_table_have_in_common(table, classes, clip):
    for row in select(table=table):
        assert (classes, (clip,)) == (row.classes, row.inputs)


# where the blocks sit

BOTTLENECKS = [
    f"layer{stage}.{unit}.after_conv1"
    for stage, units in ((1, 3), (2, 4), (3, 6), (4, 3))
    for unit in range(units)
]
X5 = [
    *("conv3.after_B02", "conv3.after_B04"),
    *("conv4.after_B02", "conv4.after_B04", "conv4.after_B06"),
]


@pytest.mark.parametrize(
    ("name", "kind", "places"),
    [
        ("mfnet-nl", NonLocal, ["conv4.after_B05"]),
        ("mfnet-pnl", PNL, ["conv4.after_B05"]),
        ("mfnet-pnl-concat", PNL, ["conv4.after_B05"]),
        ("mfnet-pnl-x5", PNL, X5),
        ("mfnet-pnl-x5-per-scale", PNL, X5),
        ("mfnet-pnl-n2-conv2", PNL, ["conv2.after_B02"]),
        ("mfnet-pnl-n2-conv3", PNL, ["conv3.after_B03"]),
        ("mfnet-pnl-n2-conv4", PNL, ["conv4.after_B05"]),
        ("mfnet-pnl-n2-conv5", PNL, ["conv5.after_B02"]),
        ("r50-nl", NonLocal, ["layer3.after_4"]),
        ("r50-nl-ucf101", NonLocal, ["layer3.after_4"]),
        ("r50-cgnl", CGNL, ["layer3.after_4"]),
        ("r50-cgnl-ucf101", CGNL, ["layer3.after_4"]),
        ("r50-pnl-ucf101", PNL, ["layer3.after_4"]),
        ("r50-cgd", CGD, BOTTLENECKS),
    ],
)
def test_where_the_blocks_sit(name, kind, places):
    model, _ = on_meta(only(name))
    blocks = [
        (key, m) for key, m in model.named_modules() if isinstance(m, (NonLocal, PNL, CGNL, CGD))
    ]
    assert places == [key for key, _ in blocks]
    assert {kind} == {type(block) for _, block in blocks}


def test_cgd_sits_in_sixteen_bottlenecks():
    assert 16 == len(BOTTLENECKS)


@pytest.mark.parametrize("name", ["mfnet", "r50-ucf101", "c3d", "s3d", "i3d-ts", "mars", "r3d18"])
def test_rows_without_a_block(name):
    model, _ = on_meta(only(name))
    assert not any(isinstance(m, (NonLocal, PNL, CGNL, CGD)) for m in model.modules())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mfnet-pnl", (4, "attention", "embedded-gaussian", True)),
        ("mfnet-pnl-concat", (4, "concat", "embedded-gaussian", True)),
        ("mfnet-pnl-gaussian", (4, "attention", "gaussian", True)),
        ("mfnet-pnl-dot-product", (4, "attention", "dot-product", True)),
        ("mfnet-pnl-concatenation", (4, "attention", "concatenation", True)),
        ("mfnet-pnl-n2", (2, "attention", "embedded-gaussian", True)),
        ("mfnet-pnl-n2-conv5", (2, "attention", "embedded-gaussian", True)),
        ("mfnet-pnl-n3", (3, "attention", "embedded-gaussian", True)),
        ("mfnet-pnl-x5", (4, "attention", "embedded-gaussian", True)),
        ("mfnet-pnl-per-scale", (4, "attention", "embedded-gaussian", False)),
        ("mfnet-pnl-concat-per-scale", (4, "concat", "embedded-gaussian", False)),
        ("mfnet-pnl-x5-per-scale", (4, "attention", "embedded-gaussian", False)),
        ("r50-pnl-ucf101", (4, "attention", "embedded-gaussian", True)),
    ],
)
def test_settings_of_the_pyramid(name, settings):
    model, _ = on_meta(only(name))
    blocks = [module for module in model.modules() if isinstance(module, PNL)]
    found = {(b.n, b.combine, b.operations[0].pairwise, b.shared) for b in blocks}
    assert {settings} == found
