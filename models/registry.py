"""The one list of blocks and networks by name: every command, plan and table reads it.

A block is a class whose instances are built from a number of channels and have ``cost(shape)``;
a keyword ``impl`` of its class says that it has an optimized implementation too.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from vidcost.models.backbones.c3d import C3D
from vidcost.models.backbones.inception import I3D, S3D
from vidcost.models.backbones.mfnet import MFNet
from vidcost.models.backbones.resnet import R3D18, C2DResNet50, ResNeXt101
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.impl import IMPLS, Impl
from vidcost.models.blocks.non_local import NonLocal
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
    "nl": Block(
        NonLocal,
        functions=("pairwise=gaussian", "pairwise=dot-product", "pairwise=concatenation"),
    ),
    "cgnl": Block(CGNL),
    "cgd": Block(CGD),
    "pnl": Block(PNL, settings=("n=2", "n=3", "n=4")),
}

NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "mfnet": MFNet,
    "c2d_resnet50": C2DResNet50,
    "i3d": I3D,
    "s3d": S3D,
    "c3d": C3D,
    "r3d18": R3D18,
    "resnext101": ResNeXt101,
}
"""Networks of one stream; each takes classes, frames, size, in_channels and blocks."""


def specs(*, functions: bool = False) -> tuple[str, ...]:
    """The blocks under their settings, as ``pnl:n=4``; with ``functions`` those as well."""
    return tuple(
        f"{name}:{options}".rstrip(":")
        for name, block in BLOCKS.items()
        for options in (*block.settings, *(block.functions if functions else ()))
    )


def block_types() -> tuple[type[nn.Module], ...]:
    """The classes of all blocks, as ``isinstance`` takes them."""
    return tuple(block.build for block in BLOCKS.values())
