"""Blocks as words: ``pnl:n=3,combine=concat``."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from vidcost.models.backbones.positions import BlockFactory
from vidcost.models.blocks import CGD, CGNL, PNL, NonLocal

BLOCKS: Mapping[str, type] = {"nl": NonLocal, "cgnl": CGNL, "cgd": CGD, "pnl": PNL}


def block_factory(spec: str) -> BlockFactory:
    """The factory that ``name:option=value,...`` describes; options are the class's keywords.

    Raises: ValueError for an unknown block or option, or a value of the wrong kind.
    """
    name, _, options = spec.partition(":")
    if name not in BLOCKS:
        raise ValueError(f"no block {name!r}: choose from {', '.join(BLOCKS)}")
    parameters = {
        key: parameter.default
        for key, parameter in inspect.signature(BLOCKS[name]).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    settings: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        key, separator, value = option.partition("=")
        if key not in parameters:
            near = difflib.get_close_matches(key, parameters, n=1)
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else "it takes " + (", ".join(parameters) or "none")
            )
            raise ValueError(f"block {name} has no option {key!r}: {hint}")
        if not separator:
            raise ValueError(f"{name}:{key} needs a value: {name}:{key}=...")
        settings[key] = _value(f"{name}:{key}", value, parameters[key])
    return partial(BLOCKS[name], **settings)


def _value(option: str, value: str, default: Any) -> Any:
    """``value`` read as the kind of thing the option's default is."""
    if isinstance(default, bool):
        if value not in ("true", "false"):
            raise ValueError(f"{option} takes true or false, not {value!r}")
        return value == "true"
    if isinstance(default, int):
        try:
            return int(value)
        except ValueError:
            raise ValueError(f"{option} takes a whole number, not {value!r}") from None
    return value


def two_specs(text: str) -> tuple[str, str]:
    """``cgnl,pnl:n=3,combine=concat`` as two blocks: a comma before a block's name parts them.

    Raises: ValueError if there are not two.
    """
    names = "|".join(BLOCKS)
    specs = re.split(rf",(?=(?:{names})(?:[:,]|$))", text)
    if len(specs) == 1 and text.count(",") == 1:
        # a name that is none is refused for itself
        specs = text.split(",")
    if len(specs) != 2:
        raise ValueError(f"{text!r} is no pair of blocks such as cgnl,pnl:n=3")
    return specs[0], specs[1]


def shape(text: str) -> tuple[int, int, int, int, int]:
    """``1x384x8x14x14`` as (B, C, T, H, W).  Raises: ValueError if it is none."""
    parts = text.split("x")
    if len(parts) != 5 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r} is no shape BxCxTxHxW such as 1x384x8x14x14")
    batch, channels, frames, height, width = map(int, parts)
    return batch, channels, frames, height, width
