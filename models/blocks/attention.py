"""Softmax attention that does not materialize the matrix of all queries by all keys.

Shapes: B batch, D width of queries and keys, E width of values, P queries, K keys; channels first,
as convolutions return them.
"""

import warnings
from functools import cache, partial
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

SCORES = 1 << 20
"""Scores of a slice: 4 MB in single precision, which caches hold."""

FEWEST_QUERIES = 512
"""Of a slice, however many keys there are: products of fewer queries are slow on a CPU."""

WIDEST = 256
"""Channels up to which torch's kernels for half precision use a GPU's matrix units."""

WIDEST_IN_TILES = {torch.float32: 192, torch.bfloat16: 512, torch.float16: 512}
"""Channels up to which the Triton kernel has tiles that are large enough, by type."""

SHARED = 227 << 10
"""Bytes of shared memory of a program on an H100, for which the kernel's tiles are cut."""

FALLBACKS: set[str] = set()
"""Why the Triton kernel was not used where it would have been; emptied by whoever measures."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Sum the values, weighted for each query by the softmax over keys of query . key, unscaled.

    It is torch's fused attention. On a CPU that materializes the matrix where D differs from E, so
    slices of queries take its place; on a GPU it leaves the matrix units unused in TF32 and for
    wide or unequal operands in half precision, so a Triton kernel does at inference. On the meta
    device, under a tracer and where fused kernels are disabled, the products are operators, in
    slices.

    Where one key has nearly all the weight of a query, the gradients of queries and keys are small
    differences of large numbers: implementations differ in them by much more than in the output.
    Second derivatives are those of the products, or torch's error that it has none.

    Shapes: (B, D, P), (B, D, K), (B, E, K) -> (B, E, P).
    Cost:   MACs BPK(D + E); the gradients BPK(3D + 2E), since scores are computed again.
    """
    if _shows_products(query):
        return attend_in_slices(query, key, value)
    if _fits_tiles(query, key, value):
        from vidcost.models.blocks.attention_kernel import attend_in_tiles

        return attend_in_tiles(query, key, value)
    if not query.is_cuda and query.shape[1] != value.shape[1]:
        return attend_in_slices(query, key, value)
    # the kernels read a position's channels as a row; B 1 P D
    q, k, v = (x.transpose(1, 2).contiguous().unsqueeze(1) for x in (query, key, value))
    attended = F.scaled_dot_product_attention(q, k, v, scale=1.0)
    return attended.squeeze(1).transpose(1, 2)


def attend_in_slices(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute the same function from products of some queries at a time with all keys.

    The backward pass computes the scores of each slice again.
    """
    queries, values = query.transpose(1, 2), value.transpose(1, 2)  # B P D, B K E
    # a tracer cannot see through a checkpoint
    recompute = _wants_gradient(query, key, value) and not _is_traced()
    weigh = _weigh
    if recompute:
        weigh = partial(checkpoint, _weigh, use_reentrant=False, preserve_rng_state=False)
    size = max(FEWEST_QUERIES, SCORES // key.shape[2])
    parts = [weigh(some, key, values) for some in torch.split(queries, size, dim=1)]
    return torch.cat(parts, dim=1).transpose(1, 2)


def _weigh(queries: Tensor, key: Tensor, values: Tensor) -> Tensor:
    # B p D @ B D K -> B p K;  B p K @ B K E -> B p E
    return (queries @ key).softmax(-1) @ values


def _fits_tiles(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether Triton runs the kernel on these, and torch's would leave matrix units unused.

    Compilers fuse torch's operators by themselves. Tracers, dispatch modes (a counter is one),
    forward-mode derivatives and torch.func know operators, not kernels. Why Triton fails is noted.
    """
    tensors = (query, key, value)
    if not query.is_cuda or torch.compiler.is_compiling() or _wants_gradient(*tensors):
        return False
    is_slow = query.shape[1] != value.shape[1] or query.shape[1] > WIDEST
    if query.dtype == torch.float32:
        # follows set_float32_matmul_precision and allow_tf32
        is_slow = torch.backends.cuda.matmul.fp32_precision == "tf32"
    is_watched = (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
    )
    if (
        not is_slow
        or is_watched
        or max(query.shape[1], value.shape[1]) > WIDEST_IN_TILES.get(query.dtype, 0)
        # subclasses have their own arithmetic, and some no values in memory
        or not all(type(x) in (Tensor, nn.Parameter) and x.numel() for x in tensors)
        or any((x.dtype, x.device) != (query.dtype, query.device) for x in tensors)
    ):
        return False
    error = _triton_error(query.device)
    if error:
        FALLBACKS.add(error)
    return error is None


def _shows_products(query: Tensor) -> bool:
    if query.is_meta or _is_traced():
        return True
    # a compiler cannot read the switches, and gets the fused kernel
    if torch.compiler.is_compiling():
        return False
    switches = torch.backends.cuda
    return not (switches.flash_sdp_enabled() or switches.mem_efficient_sdp_enabled())  # type: ignore[no-untyped-call]


def _is_traced() -> bool:
    return torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call,no-any-return]


def _wants_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


@cache
def _triton_error(device: torch.device) -> str | None:
    """The error of Triton, which also needs a C compiler; "" if it is not there for this GPU."""
    found = find_spec("triton")
    # a folder of that name is found as well, and has no origin
    if found is None or found.origin is None or torch.version.cuda is None:
        return ""
    chip = torch.cuda.get_device_properties(device)
    if getattr(chip, "shared_memory_per_block_optin", 0) < SHARED:
        return ""
    try:
        from vidcost.models.blocks.attention_kernel import attend_in_tiles

        attend_in_tiles(*(torch.ones(1, 16, 16, device=device) for _ in range(3)))
    except Exception as error:
        message = (
            f"Triton compiles no kernel for {device}, so torch's operators are used: {error!r}"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return message
    return None
