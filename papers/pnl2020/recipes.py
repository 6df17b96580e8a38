"""Recipes: edits of this paper's networks, and the axes that they make up."""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vidcost.models.backbones.inception import I3D, S3D
from vidcost.models.backbones.resnet import Bottleneck, C2DResNet50
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import NonLocal, NonLocalOperation
from vidcost.models.blocks.pnl import PNL
from vidcost.papers.recipe import Axis, Choice, Edit

PAIRWISE_BLOCKS = (NonLocal, CGNL, PNL)
S3D_UNITS = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
"""The Inception units of I3D and S3D, in order."""

_M = TypeVar("_M", bound=nn.Module)


def _all(model: nn.Module, *kinds: type[_M]) -> list[_M]:
    return [module for module in model.modules() if isinstance(module, kinds)]


# C2D ResNet-50


def temporal_pools(*, before_res2: int) -> Edit:
    """So many temporal poolings before res2, and none after it; conv1 halves the frames too."""

    def edit(model: nn.Module) -> None:
        for network in _all(model, C2DResNet50):
            if before_res2 == 2:
                network.maxpool = nn.Sequential(network.maxpool, network.temporal_pool)
            elif before_res2 == 0:
                network.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
            network.temporal_pool = nn.Identity()

    return edit


def stride_in_conv1(model: nn.Module) -> None:
    """The stride of a bottleneck on its first 1x1, not on its 3x3."""
    for unit in _all(model, Bottleneck):
        unit.conv1.stride, unit.conv2.stride = unit.conv2.stride, unit.conv1.stride


# Blocks


def full_inner_width(model: nn.Module) -> None:
    """Theta, phi, g and z with as many inner channels as outer ones, not half."""
    for operation in _all(model, NonLocalOperation):
        for name in ("theta", "phi", "g", "z"):
            width, bias = operation.channels, getattr(operation, name).bias is not None
            setattr(operation, name, nn.Conv3d(width, width, 1, bias=bias))


def biases(model: nn.Module) -> None:
    """A bias in each convolution of the block."""
    for block in _all(model, *PAIRWISE_BLOCKS):
        for conv in _all(block, nn.Conv3d):
            conv.bias = nn.Parameter(torch.zeros(conv.out_channels))


def pooled_keys(model: nn.Module) -> None:
    """Keys and values max-pooled 2x2."""
    for block in _all(model, NonLocal):
        block.operation.pool_keys = True


def no_block_norm(model: nn.Module) -> None:
    """The block without its BatchNorm or GroupNorm."""
    for block in _all(model, *PAIRWISE_BLOCKS):
        setattr(block, "gn" if isinstance(block, CGNL) else "bn", nn.Identity())


def operation_per_scale(model: nn.Module) -> None:
    """A non-local operation of its own for each scale of PNL, not a shared one."""
    for block in _all(model, PNL):
        (shared,) = block.operations
        block.operations = nn.ModuleList(copy.deepcopy(shared) for _ in range(block.n))
        block.shared = False


def full_query_width(model: nn.Module) -> None:
    """The linear layers of PNL's attention C' -> C', not C' -> C'/2."""
    for block in _all(model, PNL):
        width = block.channels // block.n
        if block.combine == "attention":
            block.query, block.key = (nn.Linear(width, width, bias=False) for _ in range(2))


def one_group(model: nn.Module) -> None:
    """CGNL without channel groups."""
    for block in _all(model, CGNL):
        block.groups = 1
        block.z = nn.Conv3d(block.channels // 2, block.channels, 1, bias=False)
        block.gn = nn.GroupNorm(1, block.channels)


def by_module(model: nn.Module) -> None:
    """CGD's average by an AdaptiveAvgPool3d, which counters of modules see."""
    for block in _all(model, CGD):
        block.pool = nn.AdaptiveAvgPool3d(1)
        block.__class__ = _ByModule


class _ByModule(CGD):
    def mean(self, x: Tensor) -> Tensor:
        return self.pool(x).flatten(1)  # type: ignore[operator, no-any-return]


# I3D and S3D


def no_batch_norm(model: nn.Module) -> None:
    """The whole network without BatchNorm."""
    for module in _all(model, nn.Sequential):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm3d):
                setattr(module, name, nn.Identity())


def third_branch_1x1x1(model: nn.Module) -> None:
    """The second convolution of each third Inception branch 1x1x1, not 3x3x3."""
    # typed loosely: the units are private to two modules
    modules: list[Any] = _all(model, nn.Module)
    for module in modules:
        if hasattr(module, "b2b"):
            module.b2b.conv3d = _pointwise(module.b2b.conv3d)
        elif hasattr(module, "branch2"):
            spatial = module.branch2[1][0]
            spatial[0] = _pointwise(spatial[0])
            module.branch2[1] = spatial


def _pointwise(conv: nn.Conv3d) -> nn.Conv3d:
    return nn.Conv3d(conv.in_channels, conv.out_channels, 1, bias=False)


def unseparated(from_unit: str) -> Edit:
    """S3D with full 3D convolutions from one Inception unit on and none over time below it.

    Where a convolution over time had a stride, the frames are still left out.
    """

    def edit(model: nn.Module) -> None:
        for network in _all(model, S3D):
            units = [layer for layer in network.features if hasattr(layer, "branch2")]
            above = False
            for layer in network.features:
                above = above or layer is units[S3D_UNITS.index(from_unit)]
                for pair in _all(layer, nn.Sequential):
                    if len(pair) == 2 and all(isinstance(part, nn.Sequential) for part in pair):
                        _join(pair, pair[0][0], pair[1][0], in_full=above)  # type: ignore[index]

    return edit


def _join(pair: Any, space: Any, time: Any, *, in_full: bool) -> None:
    """One convolution for a pair over space and over time: a full one, or that over space."""
    if not isinstance(time, nn.Conv3d) or time.kernel_size[0] == 1:
        return
    step = time.stride[0]
    pair[1] = nn.MaxPool3d(1, (step, 1, 1)) if step > 1 and not in_full else nn.Identity()
    if in_full:
        names = ("kernel_size", "stride", "padding")
        each: dict[str, Any] = {n: (getattr(time, n)[0], *getattr(space, n)[1:]) for n in names}
        pair[0][0] = nn.Conv3d(space.in_channels, space.out_channels, **each, bias=False)


def _axis(choices: dict[str, tuple[str, Edit]], *found_in: type[nn.Module]) -> Axis:
    made = {key: Choice(*choice) for key, choice in choices.items()}
    return Axis(made, lambda module: isinstance(module, found_in))


# classes of UCF101, Mini-Kinetics, Kinetics-400 and ImageNet
_CLASSES = {str(n): Choice(f"{n} classes", at={"classes": n}) for n in (101, 200, 400, 1000)}
_FRAMES = {str(n): Choice(f"{n} frames", at={"frames": n}) for n in (16, 32, 64)}
_POOLS: dict[str, tuple[str, Edit]] = {
    "both-before-res2": ("both temporal poolings before res2", temporal_pools(before_res2=2)),
    "only-before-res2": ("no temporal pooling after res2", temporal_pools(before_res2=1)),
    "none": ("no temporal pooling", temporal_pools(before_res2=0)),
}
_FULL_3D: dict[str, tuple[str, Edit]] = {
    unit: (f"full 3D convolutions from {unit} on and 2D ones below", unseparated(unit))
    for unit in S3D_UNITS
}
_STRIDE = "strides on the first 1x1 of a bottleneck"
_NO_NORM = "no normalisation in the block"
_FULL_QUERY = Choice("queries and keys of f_comb C' wide", full_query_width)

AXES: dict[str, Axis] = {
    "classes": Axis(_CLASSES),
    "frames": Axis(_FRAMES),
    "temporal-pools": _axis(_POOLS, C2DResNet50),
    "stride": _axis({"1x1": (_STRIDE, stride_in_conv1)}, C2DResNet50),
    "inner": _axis({"full": ("an inner width of C, not C/2", full_inner_width)}, NonLocal, PNL),
    "bias": _axis({"yes": ("biases in the block's convolutions", biases)}, *PAIRWISE_BLOCKS),
    "keys": _axis({"pooled": ("keys and values pooled 2x2", pooled_keys)}, NonLocal),
    "block-norm": _axis({"none": (_NO_NORM, no_block_norm)}, *PAIRWISE_BLOCKS),
    "groups": _axis({"1": ("one channel group", one_group)}, CGNL),
    "weights": _axis({"per-scale": ("one set of weights per scale", operation_per_scale)}, PNL),
    # vanilla concatenation has no linear layers to widen
    "query": Axis({"full": _FULL_QUERY}, lambda m: isinstance(m, PNL) and hasattr(m, "query")),
    "average": _axis({"module": ("its average taken by a pooling module", by_module)}, CGD),
    "third-branch": _axis(
        {"1x1x1": ("third Inception branches of 1x1x1", third_branch_1x1x1)}, I3D, S3D
    ),
    "norm": _axis({"none": ("no BatchNorm", no_batch_norm)}, I3D, S3D),
    "full-3d-from": _axis(_FULL_3D, S3D),
}
"""The axes on which rows of this paper may differ, chosen with the printed figures in view."""
