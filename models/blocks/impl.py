"""The two implementations of a block: as its paper writes it, and optimized."""

from typing import Literal, get_args

from torch import nn

Impl = Literal["reference", "optimized"]
"""``reference``: the operators of the paper's formulas, one after another. ``optimized``: the same
function of the same parameters, with less memory or fewer MACs."""

IMPLS: tuple[Impl, ...] = get_args(Impl)


def checked(impl: Impl) -> Impl:
    """Return ``impl``.  Raises: ValueError if it is unknown."""
    if impl not in IMPLS:
        raise ValueError(f"unknown implementation {impl!r}: choose from {', '.join(IMPLS)}")
    return impl


def has_plain_weight(convolution: nn.Module) -> bool:
    """Whether the output follows from the convolution's weight alone.

    Pruning and weight normalisation compute the weight before each call, offloading replaces
    ``forward``, and adapters replace the module: none of them may be bypassed.
    """
    return (
        type(convolution) is nn.Conv3d
        and "forward" not in vars(convolution)
        and "weight" in dict(convolution.named_parameters(recurse=False))
    )
