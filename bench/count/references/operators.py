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
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from vidcost.bench.call import TensorsOut
from vidcost.bench.count.counter import FunctionCall, unfused
from vidcost.bench.count.operands import Operation
from vidcost.bench.count.references import seen
from vidcost.bench.count.references.reference import TRACED_SIZES, Printed, Reference
from vidcost.bench.count.references.seen import Function, Rule

_CONV = "conv1d conv2d conv3d"
_TRANSPOSED = "conv_transpose1d conv_transpose2d conv_transpose3d"
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


def _has_bias(module: nn.Module, convolution: Operation) -> bool:
    return convolution.operands[2] is not None


_SEEN = [Rule(each, "products") for each in ("convolution", "mm", "bmm", "addmm")]
_CONV_BIAS = "bias of convolutions, 1 per output element"
_LINEAR_BIAS = "bias of linear layers, 1 per output element"
TORCH = Reference(
    name="torch",
    rules=[*_SEEN, Rule("baddbmm", "products"), Rule("_scaled_mm", "products")],
    params="none",
    profile=_profile_torch,
)
PTFLOPS_ATEN = Reference(
    name="ptflops-aten",
    rules=[
        *_SEEN,
        Rule("convolution", "convolutions", _CONV_BIAS, seen.out, weight=_has_bias),
        Rule("addmm", "products", _LINEAR_BIAS, seen.out),
    ],
    params="with gradient",
    profile=_profile_aten,
    package="ptflops",
    optional=True,
)


# fvcore


def _einsum(module: nn.Module, call: FunctionCall) -> int:
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


_NORMS = {"native_group_norm": "GroupNorm", "native_layer_norm": "LayerNorm", "_fused_rms_norm": ""}


def _norm(name: str) -> Rule:
    def weight(module: nn.Module, norm: Operation) -> int:
        is_affine, found = norm.operands[1] is not None, _NORMS.get(norm.operator, "BatchNorm")
        if isinstance(module, nn.modules.instancenorm._InstanceNorm):
            found = "InstanceNorm"
        # without running statistics it computes them, as in training
        elif found == "BatchNorm" and norm.operands[3] is not None:
            return (2 if is_affine else 1) * (found == name)
        return (5 if is_affine else 4) * (found == name)

    return Rule("norm", name, name + ", {weight} per element", seen.elements, weight=weight)


def _if_2d(module: nn.Module, call: FunctionCall) -> int:
    return seen.out(module, call) * (len(call.output) == 4)


def _profile_fvcore(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    # its tracer takes tensors in tuples, lists and dicts alone
    analysis = FlopCountAnalysis(TensorsOut(model), inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    return Printed(analysis.total(), parameter_count(model)[""], analysis.by_operator().items())


_ADAPTIVE = "adaptive 2D pooling, 1 per element"
_RESAMPLED = "2D resampling, {weight} per output element"
_SAMPLED = "grid sampling, {weight} per output element"
_BY_MODE = seen.by_mode({"nearest": 1, "bilinear": 4})
FVCORE = Reference(
    name="fvcore",
    rules=[
        *map(_norm, ("BatchNorm", "GroupNorm", "LayerNorm", "InstanceNorm")),
        Rule("adaptive_avg_pool2d()", "pooling", _ADAPTIVE, seen.into),
        Rule("interpolate()", "resampling", _RESAMPLED, _if_2d, weight=_BY_MODE),
        Rule("grid_sample()", "resampling", _SAMPLED, seen.out, weight=4),
    ],
    functions={
        **seen.functions(f"linear {_CONV} {_TRANSPOSED} mm bmm addmm {_CELLS}"),
        **seen.functions("matmul @", seen.FIRST),
        "einsum": Function(_einsum, "einsum, as numpy rounds it"),
    },
    traces=True,
    profile=_profile_fvcore,
    categories={
        "conv": "convolutions",
        **dict.fromkeys("linear addmm mm bmm matmul einsum".split(), "products"),
        **{f"{each.lower()}_norm": f"{each}Norm" for each in "Batch Group Layer Instance".split()},
        "adaptive_avg_pool2d": "pooling",
        "upsample_nearest2d": "resampling",
        "upsample_bilinear2d": "resampling",
        "grid_sampler": "resampling",
    },
    package="fvcore",
    # torch's JIT cannot trace operators that are written in Python, as many are on meta
    needs_values=True,
)


# torchprofile


def _transposed(module: nn.Module, call: FunctionCall) -> int:
    channels, per_group, *kernel = call.operands[1]
    times = per_group if call.output[1] == channels else channels
    return math.prod((*call.output, *kernel, times))


def _all_indices(module: nn.Module, call: FunctionCall) -> int:
    if "..." in call.detail:
        return 0
    terms = call.detail.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, call.operands, strict=True):
        sizes |= zip(term, shape, strict=True)
    return math.prod(sizes.values())


def _is_affine(module: nn.Module, norm: Operation) -> bool:
    return norm.operator != "_fused_rms_norm" and norm.operands[1] is not None


def _is_mean(module: nn.Module, norm: Operation) -> bool:
    return len(norm.operands) == 1


def _states(module: Any, call: Any) -> int:
    return int(math.prod(call.input[:-1]) * module.hidden_size)


def _profile_torchprofile(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from torchprofile import profile_macs

    found, sizes = profile_macs(model, inputs, reduction=None), 0
    for node, macs in found.items():
        made = node.outputs[0]
        if node.operator == "aten::mul" and made.dtype in ("int", "long") and not made.shape:
            sizes += macs
    return Printed(sum(found.values()), None, [(TRACED_SIZES, sizes)])


_AVERAGES = [f"{n}avg_pool{d}d" for n in ("", "adaptive_", "_adaptive_") for d in (1, 2, 3)]
_MEAN = "means and average pooling, 1 per output element"
_AFFINE = "norms with parameters, 1 per element"
_MULTIPLIED = "multiplications element by element, 1 each"
_RESAMPLING = "resampling, {weight} per output element"
_BILINEAR, _BICUBIC = map(seen.by_mode, ({"bilinear": 4}, {"bilinear": 4, "bicubic": 16}))
_PER_OUTPUT = "transposed convolutions, per output element"
TORCHPROFILE = Reference(
    name="torchprofile",
    rules=[
        Rule(
            "norm",
            "norms",
            "norms with parameters, 1 per element",
            seen.elements,
            weight=_is_affine,
        ),
        *(Rule(each, "others", _MEAN, seen.out) for each in ("mean", *_AVERAGES)),
        # of squares, a mean is a norm of ours
        Rule("_fused_rms_norm", "others", _MEAN, seen.out, weight=_is_mean),
        *(Rule(each, "others", _MULTIPLIED, seen.out) for each in ("mul()", "*()")),
        Rule("call", "others", _MULTIPLIED, _states, (nn.GRUCell,), weight=2),
        Rule("call", "others", _MULTIPLIED, _states, (nn.LSTMCell,), weight=3),
        Rule("leaky_relu", "others", "leaky activations, 1 per element", seen.elements),
        Rule("interpolate()", "others", _RESAMPLING, seen.out, weight=_BILINEAR),
        Rule("grid_sample()", "others", _RESAMPLING, seen.out, weight=_BICUBIC),
    ],
    functions={
        **seen.functions(f"linear matmul @ {_CONV} bmm addmm addmv baddbmm LSTM {_CELLS}"),
        "SDPA": None,
        **seen.functions(_TRANSPOSED, Function(_transposed, _PER_OUTPUT)),
        "einsum": Function(_all_indices, "einsum, all indices at once"),
    },
    traces=True,
    params="none",
    profile=_profile_torchprofile,
    package="torchprofile",
    optional=True,
    needs_values=True,
)


# calflops and DeepSpeed


def _grouped_twice(module: nn.Module, call: FunctionCall) -> int:
    groups = call.output[1] // call.operands[1][1]
    entries = math.prod((call.operands[0][1], call.operands[1][1] // groups, *call.operands[1][2:]))
    return entries * math.prod((*call.operands[0][:1], *call.operands[0][2:]))


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


_TWICE = "transposed convolutions, groups twice"
CALFLOPS = Reference(
    name="calflops",
    functions={
        **seen.functions(f"linear {_CONV} addmm baddbmm"),
        "matmul": seen.FIRST,
        **seen.functions(_TRANSPOSED, Function(_grouped_twice, _TWICE)),
    },
    owners=1,
    functions_by_owner=True,
    params="with gradient",
    profile=_profile_calflops,
    package="calflops",
    optional=True,
)
DEEPSPEED = Reference(
    name="deepspeed",
    functions={
        **seen.functions(f"linear {_CONV} {_TRANSPOSED} mm bmm addmm baddbmm SDPA"),
        **seen.functions("matmul @", seen.FIRST),
    },
    profile=_profile_deepspeed,
    package="deepspeed",
    optional=True,
    # on the meta device torch itself calls functions that it replaces
    needs_values=True,
    needs=("einops", "hjson", "msgpack", "packaging", "py-cpuinfo", "tqdm"),
)
