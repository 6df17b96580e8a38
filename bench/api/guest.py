"""A network of somebody else's, which is looked at and left exactly as it was."""

import copy
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

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
    Raises: ValueError if ``model`` is no module, or there is no tensor in the inputs.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"a network is an nn.Module, not {type(model).__name__}: call what builds it, or wrap "
            "the function in a module"
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


def copied(model: nn.Module) -> nn.Module:
    """A deep copy of ``model`` without gradients.

    Raises: NotCopyable.
    """
    # detached first: what autograd has recorded cannot be copied
    memo = {
        id(tensor): _with_grad_of(tensor, _cloned(tensor.detach())) for tensor in _tensors(model)
    }
    return _copied(model, memo)


def outlined(model: nn.Module, *, keep_integers: bool = False) -> nn.Module:
    """``model`` on the meta device: its shapes alone, in no time and without memory.

    ``keep_integers``: integers and booleans are copied to the CPU instead.
    Raises: NotCopyable.
    """
    memo = {
        id(tensor): _with_grad_of(tensor, outline(tensor, keep_integers=keep_integers))
        for tensor in _tensors(model)
    }
    return _copied(model, memo)


def outline(tensor: Tensor, *, keep_integers: bool) -> Tensor:
    """``tensor`` on the meta device, or if it is of integers or booleans a copy on the CPU."""
    if keep_integers and not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor.detach().to("cpu", copy=True)
    return torch.empty_like(tensor, device="meta").requires_grad_(tensor.requires_grad)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    """All tensors of its modules, also those that are neither parameters nor buffers."""
    yield from model.parameters()
    yield from model.buffers()
    for module in model.modules():
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))


def _cloned(tensor: Tensor) -> Tensor:
    # memory is copied once one of the two is written to
    if tensor.layout == torch.strided and not tensor.is_quantized:
        return tensor._lazy_clone()
    return tensor.clone()


def _with_grad_of(tensor: Tensor, made: Tensor) -> Tensor:
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, requires_grad=tensor.requires_grad)
    return made.detach().requires_grad_(tensor.requires_grad)


def _copied(model: nn.Module, memo: dict[int, Tensor]) -> nn.Module:
    try:
        return copy.deepcopy(model, dict(memo))
    except Exception as error:  # whatever a module holds: locks, generators, handles
        raise NotCopyable(f"{type(model).__name__} cannot be copied: {named(error)}") from error
