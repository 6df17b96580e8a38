"""The counting convention: what each operator costs.

A rule takes an operator's arguments and result and returns a quantity and its amount. Quantities
are the fields of :class:`vidcost.models.cost.Cost`. The counter rejects an operator that has no
rule and is not in ``FREE``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Args = Sequence[Any]
IsParameter = Callable[[Tensor], bool]
Rule = Callable[[Args, Tensor, IsParameter], tuple[str, int]]
"""(arguments, first resulting tensor, is this tensor a parameter) -> (quantity, amount)."""


def _convolution(args: Args, out: Tensor, is_parameter: IsParameter) -> tuple[str, int]:
    # convolution(input, weight, bias, stride, padding, dilation, transposed, ...)
    x, weight, transposed = args[0], args[1], args[6]
    # A weight is (out, in / groups, *kernel), transposed (in, out / groups, *kernel): each output
    # element takes one MAC per entry of a filter, each input element of a transposed one gives
    # one. The bias is no MAC.
    return "conv", (x if transposed else out).numel() * math.prod(weight.shape[1:])


def _convolution_backward(args: Args, out: Tensor, is_parameter: IsParameter) -> tuple[str, int]:
    # convolution_backward(grad_output, input, weight, bias_sizes, stride, padding, dilation,
    # transposed, output_padding, groups, output_mask)
    grad, x, weight, transposed, (to_input, to_weight, _) = args[0], *args[1:3], args[7], args[10]
    # Each MAC of the forward pass, input times weight into output, is one MAC into the gradient
    # of the input, output's gradient times weight, and one into that of the weight: so also with
    # groups, strides and dilation. The bias's gradient is a sum.
    _, forward = _convolution((x, weight, None, None, None, None, transposed), grad, is_parameter)
    return "conv", forward * (to_input + to_weight)


def _product(left: int, right: int) -> Rule:
    """Matrix or vector product of arguments ``left`` and ``right``, summed over left's last axis.

    With a parameter on either side it is a linear layer, else an attention product.
    """

    def rule(args: Args, out: Tensor, is_parameter: IsParameter) -> tuple[str, int]:
        a, b = args[left], args[right]
        kind = "linear" if is_parameter(a) or is_parameter(b) else "matmul"
        return kind, a.numel() * (b.shape[-1] if b.dim() > 1 else 1)

    return rule


def _outer(args: Args, out: Tensor, is_parameter: IsParameter) -> tuple[str, int]:
    # addr(self, vec1, vec2)
    kind = "linear" if is_parameter(args[1]) or is_parameter(args[2]) else "matmul"
    return kind, out.numel()


def _attention(args: Args, out: Tensor, is_parameter: IsParameter) -> tuple[str, int]:
    # (query, key, value, ...), each (B, heads, positions, width). Both products in full: a causal
    # mask saves none by this convention.
    query, key, value = args[:3]
    positions = math.prod(query.shape[:-1])
    return "matmul", positions * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _attention_backward(args: Args, out: Tensor, is_parameter: IsParameter) -> tuple[str, int]:
    # (grad_output, query, key, value, ...). The kernels keep no scores: they compute query x key
    # anew, then the gradients of value, scores, query and key. Five products, where attention in
    # parts needs four.
    query, key, value = args[1:4]
    positions = math.prod(query.shape[:-1])
    return "matmul", positions * key.shape[-2] * (3 * query.shape[-1] + 2 * value.shape[-1])


def _affine_grid(args: Args, out: Tensor, is_parameter: IsParameter) -> tuple[str, int]:
    # (theta, size, align_corners): each coordinate is a row of theta times a position and 1
    kind = "linear" if is_parameter(args[0]) else "matmul"
    return kind, out.numel() * args[0].shape[-1]


def _elements_in(kind: str, of: int = 0) -> Rule:
    def rule(args: Args, out: Tensor, is_parameter: IsParameter) -> tuple[str, int]:
        return kind, args[of].numel()

    return rule


def _elements_out(kind: str) -> Rule:
    def rule(args: Args, out: Tensor, is_parameter: IsParameter) -> tuple[str, int]:
        return kind, out.numel()

    return rule


def _named(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    **_named("convolution _convolution convolution_overrideable", _convolution),
    # of experts: each row takes one of the matrices
    **_named("mm bmm mv dot vdot _int_mm _scaled_mm _grouped_mm", _product(0, 1)),
    **_named("addmm baddbmm addbmm addmv _addmm_activation", _product(1, 2)),
    **_named("addr", _outer),
    **_named("affine_grid_generator", _affine_grid),
    **_named(
        "_scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu "
        "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
        "_scaled_dot_product_fused_attention_overrideable",
        _attention,
    ),
    **_named(
        "native_batch_norm cudnn_batch_norm miopen_batch_norm _native_batch_norm_legit "
        "_native_batch_norm_legit_no_training _batch_norm_with_update _batch_norm_no_update "
        "native_group_norm native_layer_norm _fused_rms_norm",
        _elements_in("norm"),
    ),
    **_named(
        "max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d "
        "max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d "
        "_adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool2d adaptive_max_pool3d "
        "fractional_max_pool2d fractional_max_pool3d "
        # a global pool reaches the dispatcher as one of these
        "mean amax",
        _elements_out("pool"),
    ),
    **_named("_softmax _safe_softmax _log_softmax _masked_softmax", _elements_in("softmax")),
    **_named(
        "relu sigmoid tanh gelu silu elu leaky_relu hardtanh hardswish hardsigmoid mish softplus "
        "_prelu_kernel glu log_sigmoid_forward threshold rrelu_with_noise celu hardshrink "
        "softshrink",
        _elements_in("activation"),
    ),
    # Backward operators. Those element by element count what their forward operator counted; the
    # incoming gradient, their first argument, is as large. A mean's is a division, and free.
    **_named("convolution_backward convolution_backward_overrideable", _convolution_backward),
    **_named(
        "_scaled_dot_product_flash_attention_backward "
        "_scaled_dot_product_flash_attention_for_cpu_backward "
        "_scaled_dot_product_efficient_attention_backward "
        "_scaled_dot_product_cudnn_attention_backward",
        _attention_backward,
    ),
    **_named(
        "native_batch_norm_backward cudnn_batch_norm_backward miopen_batch_norm_backward "
        "batch_norm_backward native_group_norm_backward native_layer_norm_backward "
        "_fused_rms_norm_backward",
        _elements_in("norm"),
    ),
    **_named(
        "max_pool2d_with_indices_backward max_pool3d_with_indices_backward avg_pool2d_backward "
        "avg_pool3d_backward _adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward "
        "adaptive_max_pool2d_backward adaptive_max_pool3d_backward",
        _elements_in("pool"),
    ),
    **_named("_softmax_backward_data _log_softmax_backward_data", _elements_in("softmax")),
    **_named(
        "threshold_backward sigmoid_backward tanh_backward gelu_backward silu_backward "
        "elu_backward leaky_relu_backward hardtanh_backward hardswish_backward "
        "hardsigmoid_backward mish_backward softplus_backward _prelu_kernel_backward "
        "log_sigmoid_backward rrelu_with_noise_backward hardshrink_backward softshrink_backward",
        _elements_in("activation"),
    ),
    # half its input comes out of a gated linear unit
    **_named("glu_backward", _elements_in("activation", of=1)),
}
"""Rules by the operator's name in the aten namespace, without the underscore of in-place forms."""

FREE: frozenset[str] = frozenset(
    # copies and rearrangements: data moves, nothing is computed
    "_unsafe_view unsafe_split unsafe_split_with_sizes copy _to_copy cat stack repeat "
    "repeat_interleave index index_select gather embedding embedding_dense_backward "
    "constant_pad_nd roll flip pixel_shuffle pixel_unshuffle tril triu scatter index_put "
    "index_fill slice_scatter select_scatter fill zero nonzero unique_consecutive _unique _unique2 "
    "unique_dim im2col col2im masked_select masked_scatter take put index_copy channel_shuffle "
    "native_channel_shuffle diag_embed diagonal_scatter as_strided_scatter max_unpool2d "
    "max_unpool3d lift resize "
    # tensors from nothing
    "empty empty_like empty_strided zeros zeros_like ones ones_like full full_like arange linspace "
    "eye scalar_tensor new_empty new_empty_strided new_zeros new_ones new_full rand rand_like "
    "randn randn_like randint randperm bernoulli uniform normal native_dropout "
    "_efficientzerotensor exponential multinomial random tril_indices triu_indices empty_permuted "
    # element by element, but not tagged so by torch
    "polar complex isin __and__ __or__ floor_divide special_i0 "
    # reductions and orders: additions and comparisons without a product
    "sum prod max min amin aminmax argmax argmin cumsum cumprod logsumexp var std var_mean "
    "std_mean norm linalg_vector_norm any all topk sort argsort count_nonzero cummax cummin "
    "logcumsumexp median nanmedian kthvalue mode nansum bucketize searchsorted histc bincount "
    "equal scatter_reduce index_reduce segment_reduce _embedding_bag index_add scatter_add "
    "_embedding_bag_forward_only "
    # a weight by its direction and length, once a pass whatever the input
    "_weight_norm_interface "
    # losses: a network may compute its own
    "mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy "
    # bookkeeping
    "is_same_size _local_scalar_dense item _assert_async _assert_scalar".split()
)
"""Operators that cost nothing by convention; so do :data:`FREE_FAMILIES`."""

FREE_FAMILIES = (
    *("reflection_pad", "replication_pad", "nll_loss", "sym_"),
    # resampling: nearest copies; the few products of the others are no MACs by convention
    *("upsample_", "_upsample_", "grid_sampler_"),
)
"""How the names of free operators begin."""


def is_free(func: Any, name: str) -> bool:
    """Whether ``func`` of aten, whose name without an in-place underscore is ``name``, is free.

    Free are names in ``FREE`` or ``FREE_FAMILIES``; views and their copies; and operators that
    compute each element from one of each operand: at the most one operation each, by convention no
    MAC. The gradient of a free operator puts elements in their places among zeros, adds them up or
    hands them on: free as well.
    """
    forward = name.removesuffix("_backward")
    if {name, forward} & FREE or name.startswith(FREE_FAMILIES):
        return True
    # operators in place lack the tags
    packet = getattr(torch.ops.aten, forward, func._overloadpacket)
    overloads = [func, *(getattr(packet, each) for each in packet.overloads())]
    return any(_TAGS & set(each.tags) or _is_view(each) for each in overloads)


_TAGS = {torch.Tag.pointwise, torch.Tag.view_copy}


def _is_view(func: Any) -> bool:
    return any(each.alias_info and not each.alias_info.is_write for each in func._schema.returns)
