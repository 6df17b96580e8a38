"""A network of somebody else's, which is looked at and left exactly as it was."""

import copy
import random
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copyreg import _slotnames  # type: ignore[attr-defined]
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vidcost.bench.call import Inputs, positional
from vidcost.bench.errors import named


class NetworkExit(RuntimeError):
    """The network called ``sys.exit``."""


class NotCopyable(ValueError):
    """A network that cannot be copied."""


def called(
    model: nn.Module, inputs: Inputs, kwargs: Mapping[str, Any] | None = None
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A network that takes tensors by position, and those tensors.

    A tuple of integers is the shape of a tensor of ones, of the model's type and on its device.
    Raises: ValueError if ``model`` is no module or lazy, or there is no tensor in the inputs.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"a network is an nn.Module, not {type(model).__name__}: call what builds it, or wrap "
            "the function in a module"
        )
    if any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        raise ValueError(
            f"{type(model).__name__} has lazy modules without shapes: run it once on its inputs"
        )
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.ones(()))
    if _is_shape(inputs):
        inputs = (inputs,)
    if isinstance(inputs, list | tuple):
        inputs = [
            torch.ones(each, dtype=like.dtype, device=like.device) if _is_shape(each) else each
            for each in inputs
        ]
    return positional(model, inputs, kwargs)


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(type(each) is int for each in value)


@contextmanager
def guarded(*tensors: Tensor) -> Iterator[None]:
    """Keep the state of the random generators, of the CPU, of ``tensors``' devices, of Python.

    Raises: NetworkExit in place of SystemExit.
    """
    devices = {x.device.index for x in tensors if x.device.type == "cuda"}
    python = random.getstate()
    numpy = sys.modules.get("numpy")
    numpys = numpy.random.get_state() if numpy else None
    try:
        with torch.random.fork_rng(devices=sorted(devices)):
            yield
    except SystemExit as error:
        raise NetworkExit(f"the network called sys.exit({error.code!r})") from error
    finally:
        random.setstate(python)
        if numpy and numpys is not None:
            numpy.random.set_state(numpys)


def clone(tensor: Tensor) -> Tensor:
    """A copy, whose memory is copied once one of the two is written to."""
    is_plain = tensor.layout == torch.strided and not tensor.is_quantized
    return tensor._lazy_clone() if is_plain else tensor.clone()


def outline(tensor: Tensor, *, keep_integers: bool) -> Tensor:
    """A tensor on the meta device; with ``keep_integers`` integers and booleans on the CPU."""
    if keep_integers and not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor.detach().to("cpu", copy=True)
    if tensor.layout != torch.strided or tensor.is_quantized:
        return torch.empty_like(tensor, device="meta")
    # not empty_like, which imports sympy there
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return made.requires_grad_(tensor.requires_grad)


def copied(model: nn.Module, change: Callable[[Tensor], Tensor] = clone) -> nn.Module:
    """A deep copy of ``model`` without gradients, with ``change`` made to all of its tensors.

    Raises: NotCopyable.
    """
    memo: dict[int, Any] = {}
    # modules also hold tensors that are neither parameters nor buffers
    held = (value for module in model.modules() for value in vars(module).values())
    for tensor in (*model.parameters(), *model.buffers(), *held):
        if isinstance(tensor, Tensor):
            # detached: what autograd has recorded cannot be copied
            made, needs = change(tensor.detach()), tensor.requires_grad
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(made, needs) if is_parameter else made
            memo[id(tensor)].requires_grad_(needs)
    # what deepcopy makes of a plain module, without its detours: half of a small network's count
    plain = [each for each in model.modules() if _is_plain(type(each))]  # type: ignore[arg-type]
    memo |= {id(module): type(module).__new__(type(module)) for module in plain}
    try:
        for module in plain:
            for name, value in module.__getstate__().items():  # type: ignore[no-untyped-call]
                if type(value) in (dict, OrderedDict) and not value:
                    value = type(value)()
                elif value is not None and type(value) is not bool:
                    value = copy.deepcopy(value, memo)
                vars(memo[id(module)])[name] = value
        return copy.deepcopy(model, memo)
    except Exception as error:  # whatever a module holds: locks, generators, handles
        raise NotCopyable(f"{type(model).__name__} cannot be copied: {named(error)}") from error


@cache
def _is_plain(kind: type[nn.Module]) -> bool:
    """Whether a copy of such a module is an object with copies of its attributes."""
    ways = ("__reduce_ex__", "__reduce__", "__getstate__", "__setstate__")
    has_own = any(getattr(kind, name) is not getattr(nn.Module, name) for name in ways)
    return not has_own and not hasattr(kind, "__deepcopy__") and not _slotnames(kind)
