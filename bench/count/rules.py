"""The counting convention: what each operator costs.

A rule takes an operator's arguments and result and returns a quantity and its amount. Quantities
are the fields of :class:`vidcost.models.cost.Cost`. The counter rejects an operator that has no
rule and is not in ``FREE``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

Rule = Callable[[Sequence[Any], Any, Callable[[Tensor], bool]], tuple[str, int]]
"""(arguments, result, is this tensor a parameter) -> (quantity, amount)."""


def _convolution(
    args: Sequence[Any], out: Tensor, is_parameter: Callable[[Tensor], bool]
) -> tuple[str, int]:
    # convolution(input, weight, bias, stride, padding, dilation, transposed, ...)
    x, weight, transposed = args[0], args[1], args[6]
    # A weight is (out, in / groups, *kernel), transposed (in, out / groups, *kernel): each output
    # element takes one MAC per entry of a filter, each input element of a transposed one gives
    # one. The bias is no MAC.
    return "conv", (x if transposed else out).numel() * math.prod(weight.shape[1:])


def _convolution_backward(
    args: Sequence[Any], out: Any, is_parameter: Callable[[Tensor], bool]
) -> tuple[str, int]:
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

    def rule(
        args: Sequence[Any], out: Tensor, is_parameter: Callable[[Tensor], bool]
    ) -> tuple[str, int]:
        a, b = args[left], args[right]
        kind = "linear" if is_parameter(a) or is_parameter(b) else "matmul"
        return kind, a.numel() * (b.shape[-1] if b.dim() > 1 else 1)

    return rule


def _outer(
    args: Sequence[Any], out: Tensor, is_parameter: Callable[[Tensor], bool]
) -> tuple[str, int]:
    # addr(self, vec1, vec2)
    kind = "linear" if is_parameter(args[1]) or is_parameter(args[2]) else "matmul"
    return kind, out.numel()


def _attention(
    args: Sequence[Any], out: Any, is_parameter: Callable[[Tensor], bool]
) -> tuple[str, int]:
    # (query, key, value, ...), each (B, heads, positions, width). Both products in full: a causal
    # mask saves none by this convention.
    query, key, value = args[:3]
    positions = math.prod(query.shape[:-1])
    return "matmul", positions * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _attention_backward(
    args: Sequence[Any], out: Any, is_parameter: Callable[[Tensor], bool]
) -> tuple[str, int]:
    # (grad_output, query, key, value, ...). The kernels keep no scores: they compute query x key
    # anew, then the gradients of value, scores, query and key. Five products, where attention in
    # parts needs four.
    query, key, value = args[1:4]
    positions = math.prod(query.shape[:-1])
    return "matmul", positions * key.shape[-2] * (3 * query.shape[-1] + 2 * value.shape[-1])


def _affine_grid(
    args: Sequence[Any], out: Tensor, is_parameter: Callable[[Tensor], bool]
) -> tuple[str, int]:
    # (theta, size, align_corners): each coordinate is a row of theta times a position and 1
    kind = "linear" if is_parameter(args[0]) else "matmul"
    return kind, out.numel() * args[0].shape[-1]


def _elements_in(kind: str, of: int = 0) -> Rule:
    def rule(
        args: Sequence[Any], out: Any, is_parameter: Callable[[Tensor], bool]
    ) -> tuple[str, int]:
        return kind, args[of].numel()

    return rule


def _elements_out(kind: str) -> Rule:
    def rule(
        args: Sequence[Any], out: Any, is_parameter: Callable[[Tensor], bool]
    ) -> tuple[str, int]:
        return kind, (out if isinstance(out, Tensor) else out[0]).numel()

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
    # views: no data moves
    "view _unsafe_view reshape _reshape_alias expand permute transpose t squeeze unsqueeze slice "
    "select split split_with_sizes unsafe_split unsafe_split_with_sizes chunk unbind alias detach "
    "as_strided unfold diagonal real imag view_as_real view_as_complex _conj lift_fresh "
    # copies and rearrangements: data moves, nothing is computed
    "clone copy _to_copy contiguous cat stack repeat repeat_interleave index index_select gather "
    "embedding constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d roll flip pixel_shuffle pixel_unshuffle "
    "tril triu masked_fill where scatter index_put index_fill slice_scatter select_scatter fill "
    "zero nonzero unique_consecutive _unique _unique2 unique_dim im2col col2im masked_select "
    "masked_scatter take put index_copy channel_shuffle native_channel_shuffle diag_embed "
    "diagonal_scatter as_strided_scatter view_copy expand_copy permute_copy slice_copy select_copy "
    "squeeze_copy unsqueeze_copy t_copy transpose_copy unfold_copy max_unpool2d max_unpool3d "
    "lift resize "
    # tensors from nothing
    "empty empty_like empty_strided zeros zeros_like ones ones_like full full_like arange linspace "
    "eye scalar_tensor new_empty new_empty_strided new_zeros new_ones new_full rand rand_like "
    "randn randn_like randint randperm bernoulli uniform normal native_dropout "
    "_efficientzerotensor exponential multinomial random tril_indices triu_indices "
    "empty_permuted "
    # element by element: one operation each at the most, by convention no MAC
    "add sub rsub mul div remainder fmod neg abs sqrt rsqrt square pow exp exp2 expm1 log log2 "
    "log10 log1p reciprocal sign floor ceil round trunc frac clamp clamp_min clamp_max maximum "
    "minimum sin cos tan asin acos atan atan2 sinh cosh erf erfc erfinv addcmul addcdiv lerp "
    "floor_divide eq ne lt le gt ge logical_and logical_or logical_not logical_xor bitwise_and "
    "bitwise_or bitwise_not bitwise_xor isnan isinf nan_to_num polar complex isin heaviside "
    "__lshift__ __rshift__ __and__ __or__ __xor__ bitwise_left_shift bitwise_right_shift hypot "
    "logaddexp logaddexp2 logit signbit conj_physical angle copysign xlogy sinc asinh acosh atanh "
    "lgamma digamma special_i0 special_erfcx "
    # reductions and orders: additions and comparisons without a product
    "sum prod max min amin aminmax argmax argmin cumsum cumprod logsumexp var std var_mean "
    "std_mean norm linalg_vector_norm any all topk sort argsort count_nonzero cummax cummin "
    "logcumsumexp median nanmedian kthvalue mode nansum bucketize searchsorted histc bincount "
    "equal scatter_reduce index_reduce segment_reduce _embedding_bag "
    "_embedding_bag_forward_only "
    # a weight by its direction and length, once a pass whatever the input
    "_weight_norm_interface _weight_norm_interface_backward "
    # losses: a network may compute its own
    "mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy nll_loss_forward "
    "nll_loss2d_forward "
    # resampling: nearest copies; the few products of the others are no MACs by convention
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d "
    "_upsample_bilinear2d_aa upsample_bicubic2d _upsample_bicubic2d_aa upsample_trilinear3d "
    "grid_sampler_2d grid_sampler_3d "
    # backward of the above: the gradient of a view, copy, reduction or resampling is another of
    # them, put in its place among zeros, added up or handed on
    "slice_backward select_backward diagonal_backward unfold_backward embedding_dense_backward "
    "reflection_pad1d_backward reflection_pad2d_backward reflection_pad3d_backward "
    "replication_pad1d_backward replication_pad2d_backward replication_pad3d_backward "
    "native_dropout_backward index_add scatter_add sgn grid_sampler_2d_backward "
    "grid_sampler_3d_backward mse_loss_backward smooth_l1_loss_backward huber_loss_backward "
    "binary_cross_entropy_backward nll_loss_backward nll_loss2d_backward "
    "upsample_nearest1d_backward upsample_nearest2d_backward upsample_nearest3d_backward "
    "_upsample_nearest_exact1d_backward _upsample_nearest_exact2d_backward "
    "_upsample_nearest_exact3d_backward upsample_linear1d_backward upsample_bilinear2d_backward "
    "_upsample_bilinear2d_aa_backward upsample_bicubic2d_backward "
    "_upsample_bicubic2d_aa_backward upsample_trilinear3d_backward "
    # bookkeeping
    "sym_size sym_stride sym_numel sym_storage_offset is_same_size _local_scalar_dense item "
    "_assert_async _assert_scalar".split()
)
"""Operators that cost nothing by convention."""
