"""The one list of blocks by name: every command, plan and table reads it.

A block is a class whose instances are built from a number of channels and have ``cost(shape)``;
a keyword ``impl`` of its class says that it has an optimized implementation too.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.impl import IMPLS, Impl
from vidcost.models.blocks.non_local import PAIRWISE, NonLocal
from vidcost.models.blocks.pnl import PNL


@dataclass(frozen=True)
class Block:
    """A kind of block.

    ``settings`` are the options, as in a spec, under which it is timed and drawn where no others
    are asked for; ``functions`` those that choose another function, whose implementations are
    compared too.
    """

    build: type[nn.Module]
    settings: tuple[str, ...] = ("",)
    functions: tuple[str, ...] = ()

    @property
    def implementations(self) -> tuple[Impl, ...]:
        """The implementations it has, the default first."""
        return IMPLS if "impl" in inspect.signature(self.build).parameters else IMPLS[:1]


BLOCKS: Mapping[str, Block] = {
    "nl": Block(NonLocal, functions=tuple(f"pairwise={each}" for each in PAIRWISE[1:])),
    "cgnl": Block(CGNL),
    "cgd": Block(CGD),
    "pnl": Block(PNL, settings=("n=2", "n=3", "n=4")),
}


def specs(*, functions: bool = False) -> tuple[str, ...]:
    """The blocks under their settings, as ``pnl:n=4``; with ``functions`` those as well."""
    return tuple(
        f"{name}:{options}".rstrip(":")
        for name, block in BLOCKS.items()
        for options in (*block.settings, *(block.functions if functions else ()))
    )
