"""Recipes: a row, counted otherwise than it is described, by named settings.

``r50-nl classes=1000 temporal-pools=both-before-res2`` is a recipe: the row's name, then the axes
on which it departs from the row, each with one of the choices of :data:`AXES`.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from vidcost.bench.audit import recipe_edits as edits
from vidcost.bench.audit.recipe_edits import Edit
from vidcost.bench.count.counter import Count, count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.reconcile import flops
from vidcost.models.backbones.c2d import C2DResNet50
from vidcost.models.backbones.i3d import I3D
from vidcost.models.backbones.s3d import S3D
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.pnl import PNL
from vidcost.papers.catalog import select
from vidcost.papers.row import Row

CONVENTIONS = ("macs", "fvcore", "thop", "thop-2020")
"""What a printed FLOPs figure is held against. torch's own counter, halved, prints our MACs."""


@dataclass(frozen=True)
class Choice:
    """What a setting says in words, and what it does to the network that has been built."""

    words: str
    edit: Edit | None = None


@dataclass(frozen=True)
class Axis:
    """One thing that may differ from the row as described.

    ``found_in``: the modules without which it changes nothing; none: any network. Where those are
    blocks, it changes nothing outside of them.
    """

    name: str
    choices: Mapping[str, Choice]
    found_in: tuple[type[nn.Module], ...] = ()

    @property
    def of_block(self) -> bool:
        """Whether it is a setting of the long-range block."""
        return bool(self.found_in) and set(self.found_in) <= set(BLOCKS)

    def suits(self, module: nn.Module) -> bool:
        """Whether it could change ``module`` itself."""
        # vanilla concatenation has no linear layers to widen
        return isinstance(module, self.found_in) and (
            self.name != QUERY or hasattr(module, "query")
        )


BLOCKS = (*edits.PAIRWISE_BLOCKS, CGD)
CLASSES, FRAMES, QUERY = "classes", "frames", "query"
CLASS_NUMBERS = (101, 200, 400, 1000)
"""Of UCF101, Mini-Kinetics, Kinetics-400 and ImageNet."""
FRAME_NUMBERS = (16, 32, 64)

AXES: dict[str, Axis] = {
    axis.name: axis
    for axis in (
        Axis(CLASSES, {str(n): Choice(f"{n} classes") for n in CLASS_NUMBERS}),
        Axis(FRAMES, {str(n): Choice(f"{n} frames") for n in FRAME_NUMBERS}),
        Axis(
            "temporal-pools",
            {
                "both-before-res2": Choice(
                    "both temporal poolings before res2", edits.pool_twice_before_res2
                ),
                "only-before-res2": Choice(
                    "no temporal pooling after res2", edits.pool_only_before_res2
                ),
                "none": Choice("no temporal pooling", edits.pool_never),
            },
            (C2DResNet50,),
        ),
        Axis(
            "stride",
            {"1x1": Choice("strides on the first 1x1 of a bottleneck", edits.stride_in_conv1)},
            (C2DResNet50,),
        ),
        Axis(
            "inner",
            {"full": Choice("an inner width of C, not C/2", edits.full_inner_width)},
            (NonLocal, PNL),
        ),
        Axis(
            "bias",
            {"yes": Choice("biases in the block's convolutions", edits.biases)},
            edits.PAIRWISE_BLOCKS,
        ),
        Axis(
            "keys", {"pooled": Choice("keys and values pooled 2x2", edits.pooled_keys)}, (NonLocal,)
        ),
        Axis(
            "block-norm",
            {"none": Choice("no normalisation in the block", edits.no_block_norm)},
            edits.PAIRWISE_BLOCKS,
        ),
        Axis("groups", {"1": Choice("one channel group", edits.one_group)}, (CGNL,)),
        Axis(
            "weights",
            {"per-scale": Choice("one set of weights per scale", edits.operation_per_scale)},
            (PNL,),
        ),
        Axis(
            QUERY,
            {"full": Choice("queries and keys of f_comb C' wide", edits.full_query_width)},
            (PNL,),
        ),
        Axis(
            "average",
            {"module": Choice("its average taken by a pooling module", edits.averaged_by_module)},
            (CGD,),
        ),
        Axis(
            "third-branch",
            {"1x1x1": Choice("third Inception branches of 1x1x1", edits.third_branch_1x1x1)},
            (I3D, S3D),
        ),
        Axis("norm", {"none": Choice("no BatchNorm", edits.no_batch_norm)}, (I3D, S3D)),
        Axis(
            "full-3d-from",
            {
                unit: Choice(
                    f"full 3D convolutions from {unit} on and 2D ones below",
                    edits.unseparated(unit),
                )
                for unit in edits.S3D_UNITS
            },
            (S3D,),
        ),
    )
}


@dataclass(frozen=True)
class Figures:
    """What was counted for a recipe: all parameters, and FLOPs by convention."""

    params: int
    flops: Mapping[str, int]


@dataclass(frozen=True)
class Recipe:
    """A row and its departures, as (axis, choice) in the order of ``AXES``; none: as described."""

    row: Row
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def spec(self) -> str:
        """How it is written on the command line."""
        return " ".join((self.row.name, *(f"{axis}={choice}" for axis, choice in self.settings)))

    @property
    def words(self) -> str:
        """Its departures in words."""
        if not self.settings:
            return "as described"
        return ", ".join(AXES[axis].choices[choice].words for axis, choice in self.settings)

    @property
    def command(self) -> str:
        """The command that counts it."""
        return f"vidcost audit --recipe {shlex.quote(self.spec)}"

    @classmethod
    def parse(cls, spec: str) -> Recipe:
        """Read ``ROW AXIS=CHOICE ...``.

        Raises: ValueError that names the rows, axes or choices there are.
        """
        name, *words = spec.split() or [""]
        (row, *others) = select([name])
        if others or row.name != name:
            raise ValueError(f"{name!r} is no single row: a recipe starts with one row's name")
        offered = axes(row)
        settings: dict[str, str] = {}
        for word in words:
            axis, _, choice = word.partition("=")
            if axis not in offered:
                near = difflib.get_close_matches(axis, offered, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ValueError(f"{name} has no axis {axis!r}: {hint}it has {', '.join(offered)}")
            if choice not in offered[axis].choices:
                raise ValueError(
                    f"{axis} cannot be {choice!r}: choose from {', '.join(offered[axis].choices)}"
                )
            if axis in settings:
                raise ValueError(f"{axis} is given twice")
            settings[axis] = choice
        return cls(row, in_order(settings))


def in_order(settings: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Settings in the order of ``AXES``."""
    return tuple((axis, settings[axis]) for axis in AXES if axis in settings)


@cache
def axes(row: Row) -> dict[str, Axis]:
    """The axes on which ``row`` can differ, by name.

    Raises: ValueError if the row has no public definition.
    """
    with torch.device("meta"):
        modules = list(row.model().modules())
    return {
        name: axis
        for name, axis in AXES.items()
        if not axis.found_in or any(map(axis.suits, modules))
    }


@cache
def figures(recipe: Recipe) -> Figures:
    """Build the recipe's network, count one clip, and put it in every convention.

    Raises: ValueError if the network does not take its settings.
    """
    model, counted = built(recipe)
    return in_every_convention(model, counted)


def built(recipe: Recipe) -> tuple[nn.Module, Count]:
    """The recipe's network, on the meta device, and its count.

    Raises: ValueError if the network does not take its settings.
    """
    settings = dict(recipe.settings)
    numbers = {name: int(settings[name]) for name in (CLASSES, FRAMES) if name in settings}
    row = recipe.row.at(**numbers)
    model, clips = on_meta(row)
    with torch.device("meta"):
        edit(model, recipe.settings)
    return model, count(model, *clips)


def edit(module: nn.Module, settings: Iterable[tuple[str, str]]) -> None:
    """Change a network or a block as ``settings`` say."""
    for axis, choice in settings:
        if change := AXES[axis].choices[choice].edit:
            change(module)


def in_every_convention(model: nn.Module, counted: Count) -> Figures:
    """All parameters, and the FLOPs of every convention."""
    return Figures(counted.params, {name: flops(name, model, counted) for name in CONVENTIONS})
