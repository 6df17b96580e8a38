"""Networks that a user wrote: built from a reference, with inputs, and blocks behind their modules.

Inputs are text: ``1x3x16x224x224``, ``1x128:int64``, ``mask=1x128:bool``; or a user's function.
"""

import copy
import re
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidcost.bench.call import Inputs, name_inside, positional
from vidcost.bench.user.reference import UserCodeError, is_reference, load, of_user_code
from vidcost.models.backbones.backbone import Blocks

DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool")

_INPUT = re.compile(
    r"(?:(?P<name>[^\W\d]\w*)=)?(?P<shape>\d+(?:x\d+)*)(?::(?P<dtype>[a-z]+\d*))?(?:<(?P<below>\d+))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Input:
    """One input: its shape with the batch first, its type, and the name of forward's argument.

    Integers are random, from 0 up to but not including ``below``, such as a vocabulary's size.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    name: str | None = None
    below: int = 100

    def tensor(self, generator: torch.Generator) -> Tensor:
        """Random values: normal floats, integers from 0 up to ``below``, or booleans."""
        if self.dtype.is_floating_point:
            return torch.randn(self.shape, generator=generator).to(self.dtype)
        below = 2 if self.dtype is torch.bool else self.below
        return torch.randint(below, self.shape, generator=generator).to(self.dtype)


def parse(text: str) -> Input:
    """``[NAME=]AxBxC[:DTYPE][<BELOW]`` as an input.

    Raises: ValueError if it is not one.
    """
    found = _INPUT.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no input such as 1x3x16x224x224, 1x128:int64<30000 or mask=1x128:bool"
        )
    shape = tuple(map(int, found["shape"].split("x")))
    if 0 in shape:
        raise ValueError(f"{text!r} has an empty axis: nothing would be counted or timed")
    name = found["dtype"] or "float32"
    if name not in DTYPES:
        raise ValueError(f"no type {name!r}: choose from {', '.join(DTYPES)}")
    dtype: torch.dtype = getattr(torch, name)
    below = found["below"] or str(Input.below)
    if found["below"] and (dtype.is_floating_point or dtype is torch.bool or below == "0"):
        raise ValueError(f"{text!r}: a bound above 0 is for integers, such as 1x128:int64<100")
    return Input(shape, dtype, found["name"], int(below))


def given(texts: Sequence[str], *, seed: int = 0) -> Inputs:
    """The inputs as a network takes them: made of their shapes, or what a user's function returns.

    They are on the CPU, and the same for the same ``seed``.
    Raises: ValueError as :func:`parse_all`, or if there is no such function; UserCodeError.
    """
    if is_made(texts):
        found = load(texts[0])
        torch.manual_seed(seed)
        with of_user_code():
            return found() if callable(found) else found
    generator = torch.Generator().manual_seed(seed)
    made = [(each.name, each.tensor(generator)) for each in parse_all(texts)]
    return {name: x for name, x in made if name} or tuple(x for _, x in made)


def is_made(texts: Sequence[str]) -> bool:
    """Whether the inputs are a user's function, such as my_net.py:example.

    Raises: ValueError if they are that and more.
    """
    references = [text for text in texts if is_reference(text)]
    if references and len(texts) > 1:
        raise ValueError(f"{references[0]} makes all inputs: leave out the others")
    return bool(references)


def parse_all(texts: Sequence[str]) -> tuple[Input, ...]:
    """Inputs of one network: all with names of their own, or none.

    Raises: ValueError if there are none, one is no input, or only some have names.
    """
    if not texts:
        raise ValueError(
            "a network of your own needs its inputs, batch first: --input 1x3x16x224x224, or a "
            "function that returns them: --inputs my_net.py:example"
        )
    inputs = tuple(map(parse, texts))
    names = [each.name for each in inputs]
    if any(names) and not all(names):
        raise ValueError("give names to all inputs or to none: --input ids=1x128:int64")
    if any(names) and len(set(names)) < len(names):
        raise ValueError(f"two inputs are called {next(n for n in names if names.count(n) > 1)!r}")
    return inputs


def called(
    reference: str,
    inputs: Sequence[str],
    blocks: Blocks | None = None,
    *,
    seed: int = 0,
    on_meta: bool = False,
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network with random weights and its inputs by position, from ``seed``, or on meta.

    It is the referenced object, or what that returns when it is called. ``blocks`` go behind
    modules of the network by their names.
    Raises: ValueError if there is no such object, module or input, or the object makes no network;
            UserCodeError.
    """
    # outside the meta device: others use what a module makes when it is loaded
    found = load(reference)
    # after the file was run, which may have drawn numbers of its own
    torch.manual_seed(seed)
    try:
        with torch.device("meta") if on_meta else nullcontext():
            network = _network(reference, found)
    except UserCodeError:
        if not on_meta:
            raise
        # code that reads values while it is built needs some
        network = _network(reference, found)
    if network is found and (on_meta or blocks):
        # others use the object too
        network = copy.deepcopy(network)
    model, values = positional(network, given(inputs, seed=seed))
    if on_meta:
        model, values = model.to("meta"), tuple(value.to("meta") for value in values)
    with torch.device("meta") if on_meta else nullcontext():
        _put_blocks(model, values, blocks or {})
    return model, values


def _network(reference: str, found: Any) -> nn.Module:
    if isinstance(found, nn.Module):
        return found
    kind = type(found).__name__
    if not callable(found):
        raise ValueError(f"{reference} is no network and makes none: it is a {kind}")
    with of_user_code():
        network = found()
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise UserCodeError(f"{reference} returned no nn.Module but a {kind}")
    return network


def _put_blocks(model: nn.Module, inputs: tuple[Tensor, ...], blocks: Blocks) -> None:
    """Put a block behind each of the modules of ``model`` that ``blocks`` names.

    The channels are axis 1 of what the module returns, found by one pass on ``inputs``. A
    Sequential of the module and its block takes the module's place, so code that reaches into the
    module by name no longer finds it.
    """
    names = {name_inside(model, name): name for name, _ in model.named_modules()}
    outputs: dict[str, Any] = {}
    with ExitStack() as hooks:
        for position in blocks:
            if not position or position not in names:
                deep = position.count(".")
                near = ", ".join(name for name in names if name and name.count(".") == deep)
                raise ValueError(
                    f"no module {position!r} to put a block behind: choose from {near}"
                )

            def note(_: nn.Module, __: Any, output: Any, position: str = position) -> None:
                outputs[position] = output

            module = model.get_submodule(names[position])
            hooks.callback(module.register_forward_hook(note).remove)
        if blocks:
            with of_user_code(), torch.no_grad():
                model(*inputs)
    for position, factory in blocks.items():
        output = outputs.get(position)
        if not isinstance(output, Tensor) or output.dim() < 3:
            raise ValueError(f"{position} returns no feature map in this network: choose another")
        parent, _, name = names[position].rpartition(".")
        owner = model.get_submodule(parent)
        put = OrderedDict(itself=owner.get_submodule(name), block=factory(output.shape[1]))
        setattr(owner, name, nn.Sequential(put))
