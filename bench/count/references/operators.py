"""Counters of operators and functions.

torch's FlopCounterMode and ptflops with its aten backend count below the dispatcher; two FLOPs of
torch's are one MAC, ptflops counts biases too. fvcore and torchprofile trace a network with torch's
JIT and count functions. calflops and DeepSpeed's profiler replace functions by some that count;
they are asked for MACs.
Source: torch, utils/flop_counter.py; ptflops 0.7.5, aten_engine.py and aten_ops.py; fvcore
0.1.5.post20221221, nn/flop_count.py and nn/jit_handles.py; torchprofile 0.1.0, handlers.py;
calflops 0.3.2, pytorch_ops.py; deepspeed 0.19.8, profiling/flops_profiler/profiler.py.
"""

import io
import math
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from vidcost.bench.call import TensorsOut
from vidcost.bench.count.counter import FunctionCall, unfused
from vidcost.bench.count.operands import Operation
from vidcost.bench.count.references import seen
from vidcost.bench.count.references.reference import (
    TRACED_SIZES,
    Printed,
    Reference,
    frozen,
    no_terms,
)
from vidcost.bench.count.references.seen import Function, Rule, Seen

_CONV = "conv1d conv2d conv3d"
_TRANSPOSED = "conv_transpose1d conv_transpose2d conv_transpose3d"
_BILINEAR = "resampling, 4 per output element"
_CELLS = "RNNCell GRUCell LSTMCell"
"""To those that trace they are linear functions."""


def _profile_torch(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    # imports torch's compiler, which takes a second
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # attention in parts, as on the meta device: it does not know the CPU's fused kernel
    with unfused(model), counter:
        model(*inputs)
    # without products there are none
    flops = counter.get_flop_counts().get("Global", {})
    return Printed(sum(flops.values()) / 2, None, _parts(flops, 2))


def _profile_aten(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from ptflops.aten_engine import FlopCounterMode
    from ptflops.pytorch_engine import get_model_parameters_number

    counter = FlopCounterMode(output_params={"print_params": {"file": io.StringIO()}})
    with unfused(model), counter:
        model(*inputs)
    parts = _parts(counter.flop_counts["Global"], 1)
    return Printed(counter.complexity, get_model_parameters_number(model), parts)


def _parts(amounts: Mapping[Any, float], per_mac: int) -> Iterable[tuple[str, float]]:
    for operator, each in amounts.items():
        yield "convolutions" if "conv" in str(operator) else "products", each / per_mac


def _if_bias(module: nn.Module, convolution: Operation) -> int:
    return 0 if convolution.operands[2] is None else math.prod(convolution.output)


_SEEN = [Rule(each, "products") for each in ("convolution", "mm", "bmm", "addmm")]
_TORCH = Seen([*_SEEN, Rule("baddbmm", "products"), Rule("_scaled_mm", "products")])
_CONV_BIAS = "bias of convolutions, 1 per output element"
_LINEAR_BIAS = "bias of linear layers, 1 per output element"
_ATEN = Seen(
    [
        *_SEEN,
        Rule("convolution", "convolutions", _CONV_BIAS, _if_bias),
        Rule("addmm", "products", _LINEAR_BIAS, seen.out),
    ]
)
TORCH = Reference("torch", _TORCH.flop_terms, None, _profile_torch)
PTFLOPS_ATEN = Reference(
    *("ptflops-aten", _ATEN.flop_terms, frozen, _profile_aten), package="ptflops", optional=True
)


# fvcore

_FVCORE_CATEGORIES = {
    "conv": "convolutions",
    **dict.fromkeys("linear addmm mm bmm matmul einsum".split(), "products"),
    **{f"{name.lower()}_norm": f"{name}Norm" for name in ("Batch", "Group", "Layer", "Instance")},
    "adaptive_avg_pool2d": "pooling",
    **dict.fromkeys("upsample_nearest2d upsample_bilinear2d grid_sampler".split(), "resampling"),
}


def _einsum(call: FunctionCall) -> int:
    """Two equations have a rule; of others it takes half of what numpy prints, in four digits."""
    equation = call.detail.replace(" ", "")
    letters = dict.fromkeys(letter for letter in equation if letter.isalpha())
    equation = equation.translate(
        {ord(letter): ord("a") + place for place, letter in enumerate(letters)}
    )
    first = math.prod(call.operands[0])
    if equation == "abc,abd->acd":
        return first * call.operands[-1][-1]
    if equation == "abc,adc->adb":
        return first * call.operands[-1][1]
    import numpy as np

    nothing = np.zeros(())
    shaped = [np.broadcast_to(nothing, shape) for shape in call.operands]
    _, report = np.einsum_path(equation, *shaped, optimize="optimal")
    (printed,) = (line for line in report.splitlines() if "optimized flop" in line.lower())
    return math.floor(float(printed.rpartition(":")[2]) / 2)


def _norm(module: nn.Module, operation: Operation) -> tuple[str, int]:
    """A norm's name, and its operations per element."""
    is_affine = operation.operands[1] is not None
    per_element = 5 if is_affine else 4
    if isinstance(module, nn.modules.instancenorm._InstanceNorm):
        return "InstanceNorm", per_element
    names = {"native_group_norm": "GroupNorm", "native_layer_norm": "LayerNorm"}
    name = names.get(operation.operator, "BatchNorm")
    # without running statistics it computes them, as in training
    if name == "BatchNorm" and operation.operands[3] is not None:
        per_element = 2 if is_affine else 1
    return name, per_element


def _norm_amount(name: str, weight: int, module: nn.Module, operation: Operation) -> int:
    is_rms = operation.operator == "_fused_rms_norm"
    is_it = not is_rms and _norm(module, operation) == (name, weight)
    return weight * operation.amount * is_it


def _if_2d(module: nn.Module, call: FunctionCall) -> int:
    return seen.out(module, call) * (len(call.output) == 4)


_FVCORE = Seen(
    rules=[
        Rule("norm", name, f"{name}, {each} per element", partial(_norm_amount, name, each))
        for name in ("BatchNorm", "GroupNorm", "LayerNorm", "InstanceNorm")
        for each in (1, 2, 4, 5)
    ]
    + [
        Rule("adaptive_avg_pool2d()", "pooling", "adaptive 2D pooling, 1 per element", seen.into),
        Rule("interpolate(nearest)", "resampling", "2D resampling, 1 per output element", _if_2d),
        Rule("interpolate(bilinear)", "resampling", _BILINEAR, seen.scaled(4)),
    ]
    + [
        Rule(f"grid_sample({mode})", "resampling", _BILINEAR, seen.scaled(4))
        for mode in ("bilinear", "nearest", "bicubic")
    ],
    functions={
        **seen.functions(f"linear {_CONV} {_TRANSPOSED} mm bmm addmm {_CELLS}"),
        **seen.functions("matmul @", seen.FIRST),
        "einsum": Function(_einsum, "einsum, as numpy rounds it"),
    },
    traces=True,
)


def _profile_fvcore(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    # its tracer takes tensors in tuples, lists and dicts alone
    analysis = FlopCountAnalysis(TensorsOut(model), inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    return Printed(analysis.total(), parameter_count(model)[""], analysis.by_operator().items())


FVCORE = Reference(
    *("fvcore", _FVCORE.flop_terms, no_terms, _profile_fvcore),
    categories=_FVCORE_CATEGORIES,
    package="fvcore",
    # torch's JIT cannot trace operators that are written in Python, as many are on meta
    needs_values=True,
)

# torchprofile


def _transposed(call: FunctionCall) -> int:
    channels, per_group, *kernel = call.operands[1]
    times = per_group if call.output[1] == channels else channels
    return math.prod((*call.output, *kernel, times))


def _all_indices(call: FunctionCall) -> int:
    if "..." in call.detail:
        return 0
    terms = call.detail.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, call.operands, strict=True):
        sizes |= zip(term, shape, strict=True)
    return math.prod(sizes.values())


def _affine(module: nn.Module, norm: Operation) -> int:
    is_seen = norm.operator != "_fused_rms_norm" and norm.operands[1] is not None
    return norm.amount * is_seen


def _mean_of_squares(module: nn.Module, norm: Operation) -> int:
    return math.prod(norm.output) * (len(norm.operands) == 1)


def _states(module: Any, call: Any) -> int:
    return int(math.prod(call.input[:-1]) * module.hidden_size)


_AVERAGES = [f"{n}avg_pool{d}d" for n in ("", "adaptive_", "_adaptive_") for d in (1, 2, 3)]
_MEAN = "others", "means and average pooling, 1 per output element"
_PER_OUTPUT = "transposed convolutions, per output element"
_MULTIPLIED = "others", "multiplications element by element, 1 each"
_TORCHPROFILE = Seen(
    rules=[
        Rule("norm", "norms", "norms with parameters, 1 per element", _affine),
        *(Rule(each, *_MEAN, seen.out) for each in ("mean", *_AVERAGES)),
        # of squares, a mean is a norm of ours
        Rule("_fused_rms_norm", *_MEAN, _mean_of_squares),
        *(Rule(each, *_MULTIPLIED, seen.out) for each in ("mul()", "*()")),
        Rule("call", *_MULTIPLIED, seen.scaled(2, _states), (nn.GRUCell,)),
        Rule("call", *_MULTIPLIED, seen.scaled(3, _states), (nn.LSTMCell,)),
        Rule("leaky_relu", "others", "leaky activations, 1 per element", seen.amount),
        Rule("interpolate(bilinear)", "others", _BILINEAR, seen.scaled(4)),
        Rule("grid_sample(bilinear)", "others", _BILINEAR, seen.scaled(4)),
        Rule(
            "grid_sample(bicubic)", "others", "resampling, 16 per output element", seen.scaled(16)
        ),
    ],
    functions={
        **seen.functions(f"linear matmul @ {_CONV} bmm addmm addmv baddbmm LSTM {_CELLS}"),
        seen.FUSED: None,
        **seen.functions(_TRANSPOSED, Function(_transposed, _PER_OUTPUT)),
        "einsum": Function(_all_indices, "einsum, all indices at once"),
    },
    traces=True,
)


def _profile_torchprofile(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from torchprofile import profile_macs

    found, sizes = profile_macs(model, inputs, reduction=None), 0
    for node, macs in found.items():
        made = node.outputs[0]
        if node.operator == "aten::mul" and made.dtype in ("int", "long") and not made.shape:
            sizes += macs
    return Printed(sum(found.values()), None, [(TRACED_SIZES, sizes)])


TORCHPROFILE = Reference(
    *("torchprofile", _TORCHPROFILE.flop_terms, None, _profile_torchprofile),
    package="torchprofile",
    optional=True,
    needs_values=True,
)

# calflops and DeepSpeed


def _grouped_twice(call: FunctionCall) -> int:
    groups = call.output[1] // call.operands[1][1]
    entries = math.prod((call.operands[0][1], call.operands[1][1] // groups, *call.operands[1][2:]))
    return entries * math.prod((*call.operands[0][:1], *call.operands[0][2:]))


_TWICE = "transposed convolutions, groups twice"
_CALFLOPS = Seen(
    functions={
        **seen.functions(f"linear {_CONV} addmm baddbmm"),
        "matmul": seen.FIRST,
        **seen.functions(_TRANSPOSED, Function(_grouped_twice, _TWICE)),
    },
    owners=1,
    functions_by_owner=True,
)
_DEEPSPEED = Seen(
    functions=seen.functions(f"linear {_CONV} {_TRANSPOSED} mm bmm addmm baddbmm {seen.FUSED}")
    | seen.functions("matmul @", seen.FIRST)
)


def _profile_calflops(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    # the package itself imports accelerate and transformers, which counting does not need
    if "calflops" not in sys.modules and (spec := find_spec("calflops")):
        sys.modules["calflops"] = package = ModuleType("calflops")
        package.__path__ = list(spec.submodule_search_locations or ())
    from calflops.calculate_pipline import CalFlopsPipline

    made = CalFlopsPipline(model, include_backPropagation=False, compute_bp_factor=2)
    return _profiled(made, "flops_calculate", model, inputs)


def _profile_deepspeed(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from deepspeed.profiling.flops_profiler import FlopsProfiler

    return _profiled(FlopsProfiler(model), "profile", model, inputs)


def _profiled(profiler: Any, what: str, model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    getattr(profiler, f"start_{what}")()
    try:
        model(*inputs)
        return Printed(profiler.get_total_macs(), profiler.get_total_params(), [])
    finally:
        # functions of torch are its own again
        getattr(profiler, f"end_{what}")()


CALFLOPS = Reference(
    *("calflops", _CALFLOPS.flop_terms, frozen, _profile_calflops),
    package="calflops",
    optional=True,
)
DEEPSPEED = Reference(
    *("deepspeed", _DEEPSPEED.flop_terms, no_terms, _profile_deepspeed),
    package="deepspeed",
    optional=True,
    # on the meta device torch itself calls functions that it replaces
    needs_values=True,
    needs=("einops", "hjson", "msgpack", "packaging", "py-cpuinfo", "tqdm"),
)
