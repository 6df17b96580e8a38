"""Recipes: edits of this paper's networks, and the settings that they make up."""

import copy
from functools import partial
from typing import Any, TypeVar

from torch import nn

from vidcost.models.backbones.inception import I3D, S3D
from vidcost.models.backbones.resnet import Bottleneck, C2DResNet50
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.pnl import PNL
from vidcost.papers.row import Setting

S3D_UNITS = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
"""The Inception units of I3D and S3D, in order."""

_M = TypeVar("_M", bound=nn.Module)


def _all(model: nn.Module, *kinds: type[_M]) -> list[_M]:
    return [module for module in model.modules() if isinstance(module, kinds)]


def pools_before_res2(model: nn.Module, *, pools: int) -> None:
    """One or two temporal poolings before res2, and none after it; conv1 halves the frames too."""
    for network in _all(model, C2DResNet50):
        if pools == 2:
            network.maxpool = nn.Sequential(network.maxpool, network.temporal_pool)
        network.temporal_pool = nn.Identity()


def stride_in_conv1(model: nn.Module) -> None:
    """The stride of a bottleneck on its first 1x1, not on its 3x3."""
    for unit in _all(model, Bottleneck):
        unit.conv1.stride, unit.conv2.stride = unit.conv2.stride, unit.conv1.stride


def pooled_keys(model: nn.Module) -> None:
    """Keys and values max-pooled 2x2."""
    for block in _all(model, NonLocal):
        block.operation.pool_keys = True


def operation_per_scale(model: nn.Module) -> None:
    """A non-local operation of its own for each scale of PNL, not a shared one."""
    for block in _all(model, PNL):
        (shared,) = block.operations
        block.operations = nn.ModuleList(copy.deepcopy(shared) for _ in range(block.n))
        block.shared = False


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


def unseparated(model: nn.Module, *, from_unit: str) -> None:
    """S3D with full 3D convolutions from one Inception unit on and none over time below it.

    Where a convolution over time had a stride, the frames are still left out.
    """
    for network in _all(model, S3D):
        units = [layer for layer in network.features if hasattr(layer, "branch2")]
        above = False
        for layer in network.features:
            above = above or layer is units[S3D_UNITS.index(from_unit)]
            for pair in _all(layer, nn.Sequential):
                if len(pair) == 2 and all(isinstance(part, nn.Sequential) for part in pair):
                    _join(pair, pair[0][0], pair[1][0], in_full=above)  # type: ignore[index]


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


_POOLS = {
    "both-before-res2": ("both temporal poolings before res2", 2),
    "only-before-res2": ("no temporal pooling after res2", 1),
}
_C2D, _INCEPTION = (C2DResNet50,), (I3D, S3D)

SETTINGS = (
    # classes of UCF101, Mini-Kinetics, Kinetics-400 and ImageNet
    *(Setting(f"classes={c}", f"{c} classes", at={"classes": c}) for c in (101, 200, 400, 1000)),
    *(Setting(f"frames={t}", f"{t} frames", at={"frames": t}) for t in (16, 32, 64)),
    *(
        Setting(f"temporal-pools={name}", words, partial(pools_before_res2, pools=pools), _C2D)
        for name, (words, pools) in _POOLS.items()
    ),
    Setting("stride=1x1", "strides on the first 1x1 of a bottleneck", stride_in_conv1, _C2D),
    Setting("keys=pooled", "keys and values pooled 2x2", pooled_keys, (NonLocal,)),
    Setting("weights=per-scale", "one set of weights per scale", operation_per_scale, (PNL,)),
    Setting(
        "third-branch=1x1x1", "third Inception branches of 1x1x1", third_branch_1x1x1, _INCEPTION
    ),
    Setting("norm=none", "no BatchNorm", no_batch_norm, _INCEPTION),
    *(
        Setting(
            f"full-3d-from={unit}",
            f"full 3D convolutions from {unit} on and 2D ones below",
            partial(unseparated, from_unit=unit),
            (S3D,),
        )
        for unit in S3D_UNITS
    ),
)
"""How rows of this paper may differ from the text, chosen with the printed figures in view."""
