"""The counting convention: what each operator costs.

A rule takes an operator's arguments and result and returns a quantity and its amount. Quantities
are the fields of :class:`vidcost.models.cost.Cost`. The counter rejects an operator that has no
rule and is not free. Users add rules by :func:`rule` and :func:`free`.

A complex multiplication counts as 4 real ones, and one of a convolution as 3, which is how torch
computes it. Solvers and factorisations count the products of elimination, as in Golub & Van Loan,
Matrix Computations, 4th ed., 3.1, 3.2, 4.2; divisions and roots are no MACs. A Fourier transform
of N points counts half of the 5 N log2 N operations, rounded down, by which FFTW's authors compare
implementations (fftw.org/speed/method.html), and half of that if one side is real.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from vidcost.models.cost import Cost

Args = Sequence[Any]
IsConstant = Callable[[Tensor], bool]
Rule = Callable[[Args, Any, IsConstant], tuple[str, int] | list[tuple[str, str, int]]]
"""(arguments, first resulting tensor, does this tensor depend on no input) -> (quantity, amount).

A fused operator is a list of (operator, quantity, amount).
"""
MACS = Callable[..., int | Cost]
_Macs = TypeVar("_Macs", bound=MACS)


PRODUCTS = ("conv", "linear", "matmul")
"""Quantities that are MACs."""


def product_kind(is_constant: IsConstant, *operands: Tensor) -> str:
    """The kind "linear" for a product with something constant, such as a weight, else "matmul"."""
    return "linear" if any(map(is_constant, operands)) else "matmul"


def _complex(kind: str, macs: int, out: Tensor) -> tuple[str, int]:
    return kind, macs * ((3 if kind == "conv" else 4) if out.is_complex() else 1)


def _same_type(*operands: Tensor) -> None:
    # on the meta device torch does not check it
    if len({each.dtype for each in operands}) > 1:
        types = " and ".join(str(each.dtype) for each in operands)
        raise RuntimeError(f"operands of a product have different types: {types}")


def _convolution(args: Args, out: Tensor, is_constant: IsConstant) -> tuple[str, int]:
    # convolution(input, weight, bias, stride, padding, dilation, transposed, ...)
    x, weight, transposed = args[0], args[1], args[6]
    _same_type(x, weight)
    # A weight is (out, in / groups, *kernel), transposed (in, out / groups, *kernel): each output
    # element takes one MAC per entry of a filter, each input element of a transposed one gives
    # one. The bias is no MAC.
    return _complex("conv", (x if transposed else out).numel() * math.prod(weight.shape[1:]), out)


def _convolution_backward(args: Args, out: Tensor, is_constant: IsConstant) -> tuple[str, int]:
    # convolution_backward(grad_output, input, weight, bias_sizes, stride, padding, dilation,
    # transposed, output_padding, groups, output_mask)
    grad, x, weight, transposed, (to_input, to_weight, _) = args[0], *args[1:3], args[7], args[10]
    # Each MAC of the forward pass, input times weight into output, is one MAC into the gradient
    # of the input, output's gradient times weight, and one into that of the weight: so also with
    # groups, strides and dilation. The bias's gradient is a sum.
    _, forward = _convolution((x, weight, None, None, None, None, transposed), grad, is_constant)
    return "conv", forward * (to_input + to_weight)


def _product(left: int, right: int, *, mixed: bool = False) -> Rule:
    """Matrix or vector product of arguments ``left`` and ``right``, summed over left's last axis.

    With something constant on either side it is a linear layer, else an attention product.
    """

    def rule(args: Args, out: Tensor, is_constant: IsConstant) -> tuple[str, int]:
        a, b = args[left], args[right]
        if not mixed:
            _same_type(a, b)
        # matrices side by side, of which each takes some columns of one other
        rows = a.numel() if a.dim() <= b.dim() or b.dim() == 1 else math.prod(a.shape[-2:])
        macs = rows * (b.shape[-1] if b.dim() > 1 else 1)
        return _complex(product_kind(is_constant, a, b), macs, out)

    return rule


def _amount(of: Callable[[Args, Any], int], kind: str = "") -> Rule:
    """An amount by arguments and result: of ``kind``, or MACs of a product of the arguments."""

    def rule(args: Args, out: Any, is_constant: IsConstant) -> tuple[str, int]:
        if kind:
            return kind, of(args, out)
        # integers are positions
        tensors = (
            x for x in args if isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())
        )
        return _complex(product_kind(is_constant, *tensors), of(args, out), out)

    return rule


def _filtered(args: Args, out: Tensor) -> int:
    return int(out.numel() * math.prod(args[1].shape[1:]))


def _filters(args: Args, out: Any) -> int:
    return int(args[0].numel() * args[1].shape[1])


def _packed(args: Args, out: Tensor, is_constant: IsConstant) -> tuple[str, int]:
    # quantized operators: (input, weight and bias in one object, ...)
    weight = args[1].unpack()[0]
    return "linear" if weight.dim() == 2 else "conv", out.numel() * math.prod(weight.shape[1:])


def _attention(keys: Callable[[Args], int]) -> Rule:
    """(query, key, value, ...), each (..., width), with so many ``keys`` for each query.

    Both products in full: a mask saves none by this convention. The operators are those of
    attention in parts.
    """

    def rule(args: Args, out: Any, is_constant: IsConstant) -> list[tuple[str, str, int]]:
        query, _, value = args[:3]
        scores = math.prod(query.shape[:-1]) * keys(args)
        return [
            ("bmm", "matmul", scores * query.shape[-1]),
            ("_safe_softmax", "softmax", scores),
            ("bmm", "matmul", scores * value.shape[-1]),
        ]

    return rule


def _attention_backward(keys: Callable[[Args], int], query: int = 0) -> Rule:
    """The gradients, with query, key and value from argument ``query`` on.

    The kernels keep no scores: they compute query x key anew, then the gradients of value, scores,
    query and key. Five products, where attention in parts needs four.
    """

    def macs(args: Args, out: Any) -> int:
        q, _, v = args[query : query + 3]
        return int(math.prod(q.shape[:-1]) * keys(args) * (3 * q.shape[-1] + 2 * v.shape[-1]))

    return _amount(macs, "matmul")


def _coordinates(args: Args, out: Tensor) -> int:
    # as many for each element of the result as the first argument has columns
    return out.numel() * int(args[0].shape[-1])


def _bags(rows: int, weights: int | None = None) -> Rule:
    """Sums of so many ``rows``, as wide as the first argument, if each has a weight."""

    def macs(args: Args, out: Any) -> int:
        has_weights = weights is None or args[weights] is not None
        return int(has_weights * args[rows].numel() * args[0].shape[-1])

    return _amount(macs)


def _trilinear(args: Args, out: Tensor) -> int:
    # (a, b, c, dimensions that each lacks, dimensions summed): first a and b, summed over what c
    # lacks, then c. nn.Bilinear's are (N 1 I 1), (1 O I J), (N 1 1 J).
    *lacking, summed = args[3:7]
    rank = args[0].dim() + len(lacking[0])
    sizes = [1] * rank
    for tensor, lacks in zip(args[:3], lacking, strict=True):
        for dim, size in zip((d for d in range(rank) if d not in lacks), tensor.shape, strict=True):
            sizes[dim] = size
    first = math.prod(s for d, s in enumerate(sizes) if not (d in lacking[0] and d in lacking[1]))
    then = math.prod(s for d, s in enumerate(sizes) if not (d in summed and d in lacking[2]))
    return first + then


def _eliminated(factored: Callable[[int, int], int], substitutions: int, matrix: int = 0) -> Rule:
    """``factored`` for each ``matrix`` of so many rows and columns, and ``substitutions``.

    Those are for each solution. The result is the matrix factored, or the solutions.
    """

    def macs(args: Args, out: Tensor) -> int:
        *batch, rows, columns = args[matrix].shape
        substituted = out.numel() // max(rows, 1) * substitutions * (rows * (rows - 1) // 2)
        return int(math.prod(batch) * factored(rows, columns) + substituted)

    return _amount(macs)


def _lu(rows: int, columns: int) -> int:
    return sum((rows - k) * (columns - k) for k in range(1, min(rows, columns) + 1))


def _fourier(args: Args, out: Tensor) -> int:
    # (x, dimensions, ...)
    real = next((each for each in (args[0], out) if not each.is_complex()), None)
    side = args[0] if real is None else real
    points = math.prod(side.shape[dim] for dim in args[1])
    operations = 5 * side.numel() * math.log2(points)
    return int(operations / (2 if real is None else 4))


def _named(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


def _elementwise(kind: str, names: str, backward: str = "") -> dict[str, Rule]:
    """Operators element by element, and their gradients.

    A gradient counts what the operator counted: the incoming one, its first argument, is as large.
    """
    backward += "".join(f" {name}_backward" for name in names.split())
    gradients = " ".join(name for name in backward.split() if hasattr(torch.ops.aten, name))
    into = _amount(lambda args, out: args[0].numel(), kind)
    outof = _amount(lambda args, out: out.numel(), kind)
    return _named(names, outof if kind == "pool" else into) | _named(gradients, into)


_NATTEN = " ".join(
    f"natten::{kernel}na{rank}d_{{0}}"
    for kernel in ("", "hopper_", "blackwell_", "reference_")
    for rank in (1, 2, 3)
)

RULES: dict[str, Rule] = {
    **_named("convolution _convolution convolution_overrideable", _convolution),
    # as a convolution; sampling is resampling. Dai et al. 2017, Eq. 2
    **_named("torchvision::deform_conv2d", _amount(_filtered, "conv")),
    # a filter for each channel
    **_named("*::causal_conv1d_fwd *::_causal_conv1d_fwd_cpp", _amount(_filters, "conv")),
    # of experts: each row, or column, takes one of the matrices
    **_named("mm bmm mv dot vdot _int_mm _grouped_mm", _product(0, 1)),
    **_named(
        "_scaled_mm _scaled_mm_v2 _scaled_grouped_mm _scaled_grouped_mm_v2",
        _product(0, 1, mixed=True),
    ),
    **_named("addmm baddbmm addbmm addmv _addmm_activation", _product(1, 2)),
    **_named("addr", _amount(lambda args, out: out.numel())),
    # the difference of two products
    **_named("linalg_cross", _amount(lambda args, out: 2 * out.numel())),
    # (theta, size, align_corners): each coordinate is a row of theta times a position and 1
    **_named("affine_grid_generator", _amount(_coordinates)),
    **_named("_trilinear", _amount(_trilinear)),
    # (x, y, norm): by norm 2 each coordinate's difference is squared and added, as a product or not
    **_named("_euclidean_dist", _amount(_coordinates)),
    **_named("_cdist_forward", _amount(lambda args, out: (args[2] == 2) * _coordinates(args, out))),
    **_named("_pdist_forward", _amount(lambda args, out: (args[1] == 2) * _coordinates(args, out))),
    # (rows, indices, ...), (gradient, indices, ...) or (gradient, rows, indices, ...)
    **_named("_embedding_bag _embedding_bag_forward_only", _bags(1, weights=6)),
    **_named("_embedding_bag_backward", _bags(1, weights=10)),
    **_named("_embedding_bag_dense_backward", _bags(1, weights=8)),
    **_named("_embedding_bag_per_sample_weights_backward", _bags(2)),
    # selective scan of u (B, D, L), delta, A (D, N), B, C: for each element C times N states, which
    # are made by multiplications element by element. Gu & Dao 2023, Algorithm 2
    **_named(
        "*::selective_scan_fwd",
        _amount(lambda args, out: args[0].numel() * args[2].shape[-1], "matmul"),
    ),
    **_named("_fft_c2c _fft_r2c _fft_c2r", _amount(_fourier, "linear")),
    **_named("linalg_cholesky_ex cholesky", _eliminated(lambda n, _: (n**3 - n) // 6, 0)),
    **_named("linalg_lu linalg_lu_factor_ex _linalg_det _linalg_slogdet", _eliminated(_lu, 0)),
    **_named("linalg_inv_ex _linalg_solve_ex", _eliminated(_lu, 2)),
    **_named("linalg_solve_triangular", _eliminated(lambda *_: 0, 1)),
    **_named("linalg_lu_solve", _eliminated(lambda *_: 0, 2)),
    **_named("cholesky_solve", _eliminated(lambda *_: 0, 2, matrix=1)),
    **_named(
        "quantized::linear quantized::linear_dynamic quantized::linear_relu quantized::conv1d "
        "quantized::conv2d quantized::conv3d quantized::conv2d_relu quantized::conv3d_relu",
        _packed,
    ),
    **_named(
        "_scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu "
        "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
        "_scaled_dot_product_fused_attention_overrideable",
        _attention(lambda args: args[1].shape[-2]),
    ),
    # of NATTEN: each query has the keys of a window, (batch, *positions, heads, width)
    **_named(_NATTEN.format("forward"), _attention(lambda args: math.prod(args[3]))),
    **_elementwise(
        "norm",
        "native_batch_norm cudnn_batch_norm miopen_batch_norm _native_batch_norm_legit "
        "_native_batch_norm_legit_no_training _batch_norm_with_update _batch_norm_no_update "
        "native_group_norm native_layer_norm _fused_rms_norm",
        "batch_norm_backward",
    ),
    **_elementwise(
        "pool",
        "max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d "
        "max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d "
        "_adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool2d adaptive_max_pool3d "
        "fractional_max_pool2d fractional_max_pool3d "
        # of boxes: each output element averages samples between pixels. He et al. 2017, sec. 3
        "torchvision::roi_align torchvision::ps_roi_align torchvision::roi_pool "
        "torchvision::ps_roi_pool "
        # a global pool reaches the dispatcher as one of these; its gradient is free
        "mean amax",
    ),
    **_elementwise(
        "softmax",
        "_softmax _safe_softmax _log_softmax _masked_softmax",
        "_softmax_backward_data _log_softmax_backward_data",
    ),
    **_elementwise(
        "activation",
        "relu sigmoid tanh gelu silu elu leaky_relu hardtanh hardswish hardsigmoid mish softplus "
        "_prelu_kernel glu log_sigmoid_forward threshold rrelu_with_noise celu hardshrink "
        "softshrink",
        "log_sigmoid_backward",
    ),
    **_named("convolution_backward convolution_backward_overrideable", _convolution_backward),
    **_named(
        "_scaled_dot_product_flash_attention_backward "
        "_scaled_dot_product_flash_attention_for_cpu_backward "
        "_scaled_dot_product_efficient_attention_backward "
        "_scaled_dot_product_cudnn_attention_backward",
        _attention_backward(lambda args: args[2].shape[-2], query=1),
    ),
    **_named(_NATTEN.format("backward"), _attention_backward(lambda args: math.prod(args[6]))),
    # half its input comes out of a gated linear unit
    **_named("glu_backward", _amount(lambda args, out: args[1].numel(), "activation")),
}
"""Rules by operator: those of aten by their names, without the underscore of in-place forms."""

FREE: set[str] = set(
    # copies and rearrangements: data moves, nothing is computed
    "copy _to_copy cat stack repeat repeat_interleave gather embedding embedding_dense_backward "
    "constant_pad_nd roll flip pixel_shuffle pixel_unshuffle slice_scatter select_scatter fill "
    "zero im2col col2im take put channel_shuffle native_channel_shuffle diag_embed "
    "diagonal_scatter as_strided_scatter max_unpool2d max_unpool3d lift resize resize_as "
    "_chunk_cat block_diag rot90 lu_unpack "
    # tensors from nothing
    "arange linspace eye scalar_tensor bernoulli uniform normal native_dropout "
    "_efficientzerotensor exponential multinomial logspace fft_fftfreq fft_rfftfreq cauchy "
    "geometric log_normal "
    # element by element, but not tagged so by torch
    "polar complex isin __and__ __or__ floor_divide special_i0 "
    # reductions and orders: additions and comparisons without a product
    "sum prod max min amin aminmax logsumexp var std var_mean std_mean norm linalg_vector_norm any "
    "all topk sort count_nonzero logcumsumexp median nanmedian kthvalue mode nansum bucketize "
    "searchsorted histc bincount equal allclose segment_reduce trace dist "
    # weights by their lengths, once a pass whatever the input
    "_weight_norm_interface embedding_renorm renorm "
    # losses: a network may compute its own
    "mse_loss l1_loss smooth_l1_loss huber_loss soft_margin_loss _ctc_loss multi_margin_loss "
    # bookkeeping
    "is_same_size _local_scalar_dense item _assert_async _assert_scalar _is_all_true _is_any_true "
    "_pack_padded_sequence _linalg_check_errors torchvision::nms".split()
)
"""Operators that cost nothing by convention; so do :data:`FREE_FAMILIES`."""

FREE_FAMILIES = (
    *("reflection_pad", "replication_pad", "nll_loss", "multilabel_margin_loss"),
    *("binary_cross_entropy", "sym_", "profiler::", "natten::token_"),
    # data moves, or comes from nothing
    *("index", "scatter", "masked_", "unique", "_unique", "unsafe_", "_unsafe_", "nonzero"),
    *("empty", "zeros", "ones", "full", "new_", "rand", "tril", "triu", "arg", "cum"),
    # windows of a signal
    *("hann_window", "hamming_window", "blackman_window", "bartlett_window", "kaiser_window"),
    # resampling: nearest copies; the few products of the others are no MACs by convention
    *("upsample_", "_upsample_", "grid_sampler_"),
)
"""How the names of free operators begin."""


def rule_of(func: Any) -> tuple[str, Rule | None, str]:
    """An operator's name, its rule if it is not free, and whose that is; "" if it is not known.

    Rules of "*::name" are for any library.

    Free are names in ``FREE`` or ``FREE_FAMILIES``; views and their copies; and operators that
    compute each element from one of each operand: at the most one operation each, by convention no
    MAC. The gradient of a free operator puts elements in their places among zeros, adds them up or
    hands them on: free as well.
    """
    operator, is_torchs = func._overloadpacket.__name__, func.namespace in ("aten", "prim")
    if not is_torchs:
        names = f"{func.namespace}::{operator}", f"*::{operator}"
        operator = next((each for each in names if each in RULES), names[0])
    is_known = operator in RULES or operator.endswith("__")
    name = operator if is_known else operator.removesuffix("_")
    if name in RULES:
        return name, RULES[name], "user" if name in USERS else "vidcost"
    forward = name.removesuffix("_backward")
    if {name, forward} & FREE or name.startswith(FREE_FAMILIES):
        return name, None, "vidcost"
    if is_torchs and _is_view_or_pointwise(func, forward):
        return name, None, "vidcost"
    rule = None if is_torchs else _torchs_rule(func)
    return operator, rule, "torch" if rule else ""


_TAGS = {torch.Tag.pointwise, torch.Tag.view_copy}


@cache
def _is_view_or_pointwise(func: Any, name: str) -> bool:
    # operators in place lack the tags
    packet = getattr(torch.ops.aten, name, func._overloadpacket)
    overloads = [func, *(getattr(packet, each) for each in packet.overloads())]
    return any(_TAGS & set(each.tags) or _is_view(each) for each in overloads)


def _is_view(func: Any) -> bool:
    return any(each.alias_info and not each.alias_info.is_write for each in func._schema.returns)


USERS: set[str] = set()
"""Operators whose rules users added."""


def rule(operator: str) -> Callable[[_Macs], _Macs]:
    """Decorate a function that says what the operator "library::name" costs.

    It is called with the operator's arguments and, as ``out``, its result, and returns MACs or a
    :class:`vidcost.models.cost.Cost` without parameters. MACs are linear if an operand depends on
    no input of the network, else they are those of a product of two activations.

    >>> import vidcost
    >>> @vidcost.rule("mylib::scan")
    ... def scan(x, weight, *, out):
    ...     return x.numel() * weight.shape[-1]

    Raises: ValueError if ``operator`` is no such name, or counted already.
    """
    key = _new_key(operator)

    def add(macs: _Macs) -> _Macs:
        RULES[key] = _adapted(operator, macs)
        USERS.add(key)
        return macs

    return add


def _adapted(operator: str, macs: MACS) -> Rule:
    def rule(args: Args, out: Any, is_constant: IsConstant) -> Any:
        found = macs(*args, out=out)
        if isinstance(found, Cost):
            amounts = ((each.name, getattr(found, each.name)) for each in fields(Cost))
            return [(operator, kind, amount) for kind, amount in amounts if amount]
        if not isinstance(found, int) or found < 0:
            raise ValueError(f"the rule of {operator} returns MACs or a Cost, not {found!r}")
        return product_kind(is_constant, *(a for a in args if isinstance(a, Tensor))), found

    return rule


def free(operator: str) -> None:
    """Say that the operator "library::name" has no products.

    Raises: ValueError if ``operator`` is no such name, or counted already.
    """
    key = _new_key(operator)
    RULES.pop(key, None)
    FREE.add(key)


def _new_key(operator: str) -> str:
    """What an operator goes by in the tables of rules."""
    library, _, name = operator.partition("::")
    if not library or not name:
        raise ValueError(f'an operator is "library::name", not {operator!r}')
    key = name if library in ("aten", "prim") else operator
    if key in RULES and key not in USERS:
        raise ValueError(f"{operator} has a counting rule already")
    return key


def _torchs_rule(func: Any) -> Rule | None:
    """The rule of ``torch.utils.flop_counter.register_flop_formula``, if any: two FLOPs a MAC."""
    # of torch's own operators only some have one, and only where that module is imported
    registry = getattr(sys.modules.get("torch.utils.flop_counter"), "flop_registry", {})
    name = str(func._overloadpacket)
    # by name: of an operator that is defined again there are two objects
    formulas = {str(each): formula for each, formula in registry.items()}
    if name not in formulas:
        return None
    return _adapted(name, lambda *args, out: formulas[name](*args, out_val=out) // 2)
