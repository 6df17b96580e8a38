"""A network that a user wrote, built from a reference."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vidcost.bench.call import positional
from vidcost.bench.user.inputs import parse_all, tensors
from vidcost.bench.user.insertion import Factory, with_blocks
from vidcost.bench.user.reference import UserCodeError, load, of_user_code


def built(reference: str) -> nn.Module:
    """The network: the object itself if it is one, else what it returns when it is called.

    Raises: ValueError if there is no such object or it makes no network; UserCodeError.
    """
    return _network(reference, load(reference))


def called(
    reference: str,
    inputs: Sequence[str],
    blocks: Mapping[str, Factory] | None = None,
    *,
    seed: int = 0,
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network with random weights and inputs from ``seed``, as everything here calls it.

    ``blocks`` go behind modules of the network by their names.
    Raises: as :func:`built`; ValueError for inputs that are none, or modules that are not there.
    """
    given = parse_all(inputs)
    found = load(reference)
    # after the file was run, which may have drawn numbers of its own
    torch.manual_seed(seed)
    network = _network(reference, found)
    if network is found and blocks:
        # the object is everybody's
        network = copy.deepcopy(network)
    return _with(blocks, *positional(network, tensors(given, seed=seed)))


def called_on_meta(
    reference: str, inputs: Sequence[str], blocks: Mapping[str, Factory] | None = None
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The same as shapes alone, on the meta device.

    Raises: as :func:`called`.
    """
    given = parse_all(inputs)
    # outside the meta device: what a module makes when it is loaded, others use too
    found = load(reference)
    try:
        with torch.device("meta"):
            network = _network(reference, found)
    except UserCodeError:
        # code that reads values while it is built needs some
        network = _network(reference, found)
    if network is found:
        network = copy.deepcopy(network)
    model, values = positional(network.to("meta"), tensors(given))
    with torch.device("meta"):
        return _with(blocks, model, tuple(value.to("meta") for value in values))


def _with(
    blocks: Mapping[str, Factory] | None, model: nn.Module, inputs: tuple[Tensor, ...]
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    if blocks:
        model = with_blocks(model, inputs, blocks)
    return model, inputs


def _network(reference: str, found: Any) -> nn.Module:
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise ValueError(f"{reference} is no network and makes none: it is a {_kind(found)}")
    with of_user_code():
        network = found()
    if not isinstance(network, nn.Module):
        raise UserCodeError(f"{reference} returned no nn.Module but a {_kind(network)}")
    return network


def _kind(found: Any) -> str:
    return type(found).__name__
