"""How a network is called: whatever its signature, everything here passes tensors by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

Inputs = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
"""One tensor, tensors by position, or tensors by the names of forward's arguments."""


class ByName(nn.Module):
    """Calls ``model`` with its positional arguments under ``names``.

    What is said of its modules begins with ``model.``; :func:`name_inside` takes that away.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self._names = tuple(names)

    def forward(self, *values: Tensor) -> object:
        return self.model(**dict(zip(self._names, values, strict=True)))


def positional(model: nn.Module, inputs: Inputs) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A network that takes tensors by position alone, and those tensors.

    It is ``model`` itself unless ``inputs`` have names.
    Raises: ValueError if an input is no tensor.
    """
    if isinstance(inputs, Tensor):
        inputs = (inputs,)
    names = tuple(inputs) if isinstance(inputs, Mapping) else ()
    values = tuple(inputs.values()) if isinstance(inputs, Mapping) else tuple(inputs)
    for value in values:
        if not isinstance(value, Tensor):
            raise ValueError(f"an input is a tensor, not {type(value).__name__}")
    return (ByName(model, names), values) if names else (model, values)


def name_inside(model: nn.Module, module: str) -> str:
    """What ``module`` of ``model`` is called inside the network that a person gave."""
    if isinstance(model, ByName):
        return module.removeprefix("model").removeprefix(".")
    return module
