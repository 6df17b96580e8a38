"""Blocks as words: ``pnl:n=3,combine=concat``, or a user's own ``my_block.py:MyBlock:ratio=4``."""

import contextlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from vidcost.bench.user.reference import UserCodeError, is_reference, load, of_user_code
from vidcost.models.backbones.backbone import BlockFactory
from vidcost.models.blocks.impl import Impl, checked
from vidcost.models.registry import BLOCKS


def block_factory(spec: str) -> BlockFactory:
    """The factory that ``name:option=value,...`` describes; options are the class's keywords.

    ``name`` is one of the registry's, or a reference to a user's own, ``my_block.py:MyBlock``: then
    that code is run, and the block is built from a number of channels.
    Raises: ValueError for an unknown block or option, or a value of the wrong kind; UserCodeError,
            from the factory too.
    """
    name, options = _parted(spec)
    if name in BLOCKS:
        build = BLOCKS[name].build
        return partial(build, **_settings(name, build, options))
    made = load(name)
    if not callable(made) or isinstance(made, nn.Module):
        raise ValueError(f"{name} is no block: give a class or function that takes the channels")
    return partial(_built, name, made, _settings(name, made, options))


def reference_of(spec: str) -> str | None:
    """The reference to a user's code in ``spec``, None for a block of the registry.

    Raises: ValueError if it is neither.
    """
    name, _ = _parted(spec)
    return None if name in BLOCKS else name


def _parted(spec: str) -> tuple[str, str]:
    """The block and its options."""
    name, _, options = spec.partition(":")
    if name in BLOCKS:
        return name, options
    file_or_module, _, rest = spec.partition(":")
    attribute, _, options = rest.partition(":")
    reference = f"{file_or_module}:{attribute}"
    if is_reference(reference):
        return reference, options
    raise ValueError(
        f"no block {name!r}: choose from {', '.join(BLOCKS)}, or name your own: my_block.py:MyBlock"
    )


def with_impl(spec: str, impl: Impl) -> str:
    """``spec`` with the implementation ``impl``; the reference is the default and not written.

    Raises: ValueError if it is no block of the registry, has no such implementation or names one.
    """
    checked(impl)
    name, _, options = spec.partition(":")
    if name not in BLOCKS:
        raise ValueError(f"{name} has no implementations: choose from {', '.join(BLOCKS)}")
    if "impl=" in options:
        raise ValueError(f"{spec} names its implementation: leave it out")
    if impl not in BLOCKS[name].implementations:
        raise ValueError(f"{name} has no {impl} implementation")
    return (
        spec if impl == "reference" else f"{spec.rstrip(':')}{',' if options else ':'}impl={impl}"
    )


def _built(name: str, made: Callable[..., Any], settings: Mapping[str, Any], channels: int) -> Any:
    with of_user_code():
        block = made(channels, **settings)
    if not isinstance(block, nn.Module):
        raise UserCodeError(f"{name} returned no nn.Module but a {type(block).__name__}")
    return block


def _settings(name: str, made: Callable[..., Any], options: str) -> dict[str, Any]:
    parameters = _parameters(made) if options else {}
    settings: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        key, separator, value = option.partition("=")
        if key not in parameters:
            known = ", ".join(parameters) or "none"
            raise ValueError(f"block {name} has no option {key!r}: it takes {known}")
        if not separator:
            raise ValueError(f"{name}:{key} needs a value: {name}:{key}=...")
        settings[key] = _value(f"{name}:{key}", value, parameters[key])
    return settings


def _parameters(made: Callable[..., Any]) -> dict[str, Any]:
    """Defaults of what ``made`` takes beside the channels, which come first, by name."""
    try:
        taken = list(inspect.signature(made).parameters.items())
    except (TypeError, ValueError):
        # what is written in C need not say
        return {}
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {key: each.default for key, each in taken[1:] if each.kind not in several}


def _value(option: str, value: str, default: Any) -> Any:
    """``value`` read as the kind of thing the option's default is; without one, as it looks."""
    if default is inspect.Parameter.empty:
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return kind(value)
        return {"true": True, "false": False}.get(value, value)
    if isinstance(default, bool):
        if value not in ("true", "false"):
            raise ValueError(f"{option} takes true or false, not {value!r}")
        return value == "true"
    for kind, words in ((int, "a whole number"), (float, "a number")):
        if isinstance(default, kind):
            try:
                return kind(value)
            except ValueError:
                raise ValueError(f"{option} takes {words}, not {value!r}") from None
    return value
