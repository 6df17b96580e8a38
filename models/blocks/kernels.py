"""Whether the blocks' own kernels take the place of torch's operators.

They are written in Triton, which torch's builds for CUDA bring along. Without it, and wherever else
a kernel would not do, the fast path is made of torch's operators.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

TYPES = (torch.float32, torch.bfloat16, torch.float16)
"""What the kernels read and write; they compute in single precision."""

PLAIN = (Tensor, nn.Parameter)
"""Subclasses have an arithmetic of their own, and some hold no memory."""

LAUNCH = 1 << 23
"""Values of a tensor that a GPU takes as long to go over a few times as Triton takes to launch a
kernel, some tenth of a millisecond on the host. In a CUDA graph that is paid once; but the graph
computes what its eager passes do, and nothing is compiled while it is captured."""


def is_worth_a_launch(x: Tensor) -> bool:
    """Whether a kernel saves more of ``x``, which is on a GPU, than launching it costs."""
    return x.numel() >= LAUNCH


def may_run(*tensors: Tensor) -> bool:
    """Whether kernels can take these tensors, and nobody wants to see operators instead.

    Compilers fuse torch's operators by themselves. Tracers, dispatch modes (a counter is one),
    forward-mode derivatives and torch.func know operators and no kernels.
    """
    first = tensors[0]
    if torch.compiler.is_compiling() or not first.is_cuda:
        return False
    return (
        all(
            type(x) in PLAIN and x.dtype in TYPES and x.device == first.device and x.numel() > 0
            for x in tensors
        )
        and not is_watched()
        and _works(first.device)
    )


def is_watched() -> bool:
    """Whether somebody follows torch's operators, or differentiates them in a way of his own."""
    return (
        torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
    )


def wants_gradient(*tensors: Tensor) -> bool:
    """Whether a gradient of any of them is to be had from what is computed now."""
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


@cache
def _works(device: torch.device) -> bool:
    """Whether Triton is there and a kernel runs, for which it needs a C compiler too."""
    found = find_spec("triton")
    # a folder of that name is found as well, and has no origin
    if found is None or found.origin is None or torch.version.cuda is None:
        return False
    if torch.cuda.get_device_capability(device) < (8, 0):
        return False
    try:
        from vidcost.models.blocks import pooling_kernel

        pooling_kernel.mean_and_max(torch.ones(1, 1, 1, 1, 1, device=device))
    except Exception as error:
        warnings.warn(
            f"Triton compiles no kernel for {device}, so torch's operators are taken: {error!r}",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True
