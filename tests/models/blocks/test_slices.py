"""Attention in slices: the memory that each uses again, and who is not to notice."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from vidcost.bench.timing.residency import Residency
from vidcost.models.blocks import slices
from vidcost.models.blocks.slices import SlicedAttention, sliced


@pytest.fixture(autouse=True)
def few_queries(monkeypatch):
    """Three slices of 7, 7 and 3 queries."""
    monkeypatch.setattr(slices, "SLICE", 1)
    monkeypatch.setattr(slices, "FEWEST_QUERIES", 7)


def inputs(dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    shapes = {"query": (2, 5, 17), "key": (2, 5, 11), "value": (2, 3, 11)}
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes.values()]


def whole(query, key, value):
    return ((query.mT @ key).softmax(-1) @ value.mT).mT


class Seen(TorchDispatchMode):
    """The operators that are called, with their overloads."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_memory_of_a_slice_is_that_of_the_one_before(dtype):
    query, key, value = inputs(dtype)
    held = slices.memory(query.mT, key)
    parts = list(slices.slices(query.mT, 11))
    assert [7, 7, 3, 7, 7, 3] == [some.stop - some.start for _, some in parts]
    for item, some in parts:
        scores, weights = slices.weigh(query.mT[item, some], key[item], held)
        assert held.data_ptr() == scores.data_ptr()
        assert held[1].data_ptr() == weights.data_ptr()
    torch.testing.assert_close(sliced(query, key, value), whole(query, key, value))


def test_a_result_is_not_written_over():
    query, key, value = inputs()
    first = sliced(query, key, value)
    kept = first.clone()
    sliced(query + 1, key, value)
    assert torch.equal(kept, first)


def test_a_slice_that_has_its_own_memory_is_gone_before_the_next():
    query, key, value = inputs()
    residency = Residency()
    residency.ignore(query, key, value)
    with torch.no_grad(), residency:
        sliced(query, key, value)
    beside = value.numel() + 2 * 17 * 3  # the values as they are read, and the result
    assert 8 * (beside + 2 * 7 * 11) == residency.peak_bytes


def test_a_few_queries_hold_no_more_than_they_have(monkeypatch):
    monkeypatch.undo()
    query, key, _ = inputs()
    assert (2, 17, 11) == slices.memory(query.mT, key).shape


def test_another_device_manages_its_memory_itself():
    query, key, _ = (x.to("meta") for x in inputs())
    assert slices.memory(query.mT, key) is None


def test_a_compiler_sees_operators_that_write_nowhere():
    seen = []

    def look(module, _):
        seen.extend(module.graph.nodes)
        return module

    query, key, value = inputs()
    y = torch.compile(sliced, backend=look)(query, key, value)
    assert {"softmax"} <= {node.target for node in seen}
    assert [] == [node for node in seen if "out" in node.kwargs]
    torch.testing.assert_close(y, whole(query, key, value))


def test_no_query_at_all():
    query, key, value = inputs()
    assert (2, 3, 0) == sliced(query[..., :0], key, value).shape


@pytest.mark.parametrize("wanted", [False, True], ids=["inference", "training"])
def test_whoever_watches_operators_sees_them_as_ever(wanted):
    query, key, value = (x.requires_grad_(wanted) for x in inputs())
    with Seen() as seen:
        y = (SlicedAttention.apply if wanted else sliced)(query, key, value)
        if wanted:
            y.sum().backward()
    assert "aten.mm.default" in seen.names
    assert "aten._softmax.default" in seen.names
    assert [] == [name for name in seen.names if "out" in name.split(".")]


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
# of torch 2.14
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_tracer_sees_what_can_be_differentiated():
    query, key, value = (x.requires_grad_() for x in inputs())
    traced = torch.jit.trace(sliced, (query, key, value))
    grads = torch.autograd.grad(traced(query, key, value).square().sum(), (query, key, value))
    expected = torch.autograd.grad(whole(query, key, value).square().sum(), (query, key, value))
    torch.testing.assert_close(grads, expected)


# torch scripts its own rules for them
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_derivatives_along_a_direction():
    query, key, value = inputs()
    with forward_ad.dual_level():
        along = forward_ad.make_dual(query, torch.ones_like(query))
        (found, expected) = (
            forward_ad.unpack_dual(f(along, key, value)).tangent for f in (sliced, whole)
        )
    torch.testing.assert_close(found, expected)


def test_a_tensor_that_wants_a_gradient_gets_one():
    query, key, value = (x.requires_grad_() for x in inputs())
    for f in (sliced, SlicedAttention.apply):
        grads = torch.autograd.grad(f(query, key, value).square().sum(), (query, key, value))
        expected = torch.autograd.grad(whole(query, key, value).square().sum(), (query, key, value))
        torch.testing.assert_close(grads, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_leaves_the_type_of_the_queries(dtype):
    query, key, value = inputs(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        y = sliced(query, key, value)
    torch.testing.assert_close(y, whole(query, key, value), rtol=0.02, atol=0.02)


def test_other_classes_of_tensors_have_an_arithmetic_of_their_own():
    called = set()

    class Counted(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            called.add(func.__name__)
            assert "out" not in (kwargs or {})
            return super().__torch_function__(func, types, args, kwargs)

    query, key, value = inputs()
    y = sliced(query.as_subclass(Counted), key.as_subclass(Counted), value.as_subclass(Counted))
    assert {"__matmul__", "matmul"} & called
    torch.testing.assert_close(y.as_subclass(torch.Tensor), whole(query, key, value))
