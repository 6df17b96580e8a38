"""What is built before a cell's turn is what would be built at it."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from vidcost.bench.timing import ahead, subject
from vidcost.bench.timing.ahead import build_ahead, built_for
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits, Task

BLOCK = {"block": "pnl:n=2", "shape": (8, 2, 4, 4)}
SMALL = {"row": "mfnet-nl", "frames": 4, "size": 64}


@pytest.fixture
def on_cpu(monkeypatch):
    """There may be no GPU: what is to go there stays, and is built as for there."""
    real = torch.nn.Module.to, torch.Tensor.to
    for kind, move in zip((torch.nn.Module, torch.Tensor), real, strict=True):

        def to(self, *args, move=move, **kwargs):
            return move(self, *("cpu" if arg == "cuda" else arg for arg in args), **kwargs)

        monkeypatch.setattr(kind, "to", to)


def tensors(built):
    models = [built.model, *([built.without] if built.without is not None else [])]
    found = [t for model in models for t in model.state_dict().values()]
    other = [] if built.reference is None else tensors(built.reference)
    return [*found, *built.inputs, *other]


@pytest.mark.parametrize(
    "cell",
    [
        Cell(**BLOCK, device="cuda", phase="training"),
        Cell(**BLOCK, device="cuda", batch=3, dtype="bf16", memory_format="channels_last_3d"),
        Cell(**SMALL, device="cuda", dtype="tf32", mode="cuda-graph"),
        Cell(**SMALL, device="cuda", share=True),
        Cell(**BLOCK, device="cuda", against=Cell(**BLOCK, device="cuda", dtype="bf16")),
    ],
    ids=["training", "layout", "row", "share", "pair"],
)
def test_it_is_the_same_in_either_way(cell, on_cpu):
    task = Task(cell=cell, limits=Limits(seed=5), ahead=True)
    early = built_for(task, build_ahead(task))
    late = built_for(task, None)
    assert early.model is not late.model
    for one, other in zip(tensors(late), tensors(early), strict=True):
        assert torch.equal(one, other)
        assert (one.dtype, one.stride()) == (other.dtype, other.stride())
        assert (one.requires_grad, one.is_leaf) == (other.requires_grad, other.is_leaf)
    assert (early.model.training, early.without is None) == (
        late.model.training,
        late.without is None,
    )


def test_another_cell_or_seed_is_built_anew(on_cpu):
    task = Task(cell=Cell(**BLOCK, device="cuda"), ahead=True)
    for other, taken in (
        (Task(cell=Cell(**BLOCK, device="cuda", batch=2)), False),
        (Task(cell=task.cell, limits=Limits(seed=1)), False),
        (task, True),
    ):
        early = build_ahead(task)
        model = early.built.model
        assert taken == (built_for(other, early).model is model)


def test_nobody_holds_on_to_it_once_it_was_taken(on_cpu):
    """Moving moves the model itself: its memory would be part of what is measured alone later."""
    task = Task(cell=Cell(**BLOCK, device="cuda"), ahead=True)
    early = build_ahead(task)
    model = weakref.ref(early.built.model)
    built = built_for(task, early)
    assert model() is built.model
    del built
    gc.collect()
    assert model() is None


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (Cell(**BLOCK), "a CPU is not built for ahead"),
        (Cell(row="i3d-ts", device="cuda", batch=64), "its clips have 2.5 GB"),
        (Cell(block="m.py:Mine", shape=(8, 2, 4, 4), device="cuda", code="7"), "a user's code"),
        (Cell(block="pnl:n=3", shape=(8, 2, 4, 4), device="cuda"), "it cannot be built"),
    ],
    ids=["cpu", "large", "code", "wrong"],
)
def test_what_is_not_built_ahead(cell, why, monkeypatch):
    monkeypatch.setattr(subject, "called", pytest.fail)
    assert build_ahead(Task(cell=cell, ahead=True)) is None, why


def test_the_limit_is_of_the_inputs_bytes(monkeypatch, on_cpu):
    task = Task(cell=Cell(**BLOCK, device="cuda", batch=3), ahead=True)
    monkeypatch.setattr(ahead, "MOST_BYTES", 3 * 8 * 2 * 4 * 4 * 4)
    assert build_ahead(task) is not None
    monkeypatch.setattr(ahead, "MOST_BYTES", ahead.MOST_BYTES - 1)
    assert build_ahead(task) is None
