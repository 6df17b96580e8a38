"""``vidcost.time``: how long a pass of any network takes in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import nn

from vidcost.bench.api.guest import called, copied, guarded
from vidcost.bench.call import Inputs, is_finite
from vidcost.bench.timing.build import Built
from vidcost.bench.timing.cell import Cell, Phase
from vidcost.bench.timing.clock import clock_for
from vidcost.bench.timing.machine import describe
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.runner import Runner, memory_of
from vidcost.bench.timing.sampling import sample
from vidcost.bench.timing.statistics import Summary, summary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class NetworkTiming:
    """Raw samples of one network, and what is known of how they were taken.

    ``samples_s`` are seconds by part: "latency", and in training "forward", "backward" and
    "optimizer" of the same steps. ``settled``: two windows of the warm-up agreed. ``precision`` is
    the half width of the median's 95% confidence interval over the median, as reached.
    ``weights_bytes`` are parameters and buffers, ``peak_bytes`` the most that was allocated at once
    above them, None if it was not measured.
    ``finite``: no output held NaN or infinity. ``conditions`` are what a timing depends on besides
    the machine, as found, such as torch's "matmul_precision" of products in fp32. ``machine`` names
    hardware and versions.
    """

    network: str
    samples_s: Mapping[str, tuple[float, ...]]
    warmup_samples: int
    settled: bool
    precision: float | None
    sampling_s: float
    weights_bytes: int
    peak_bytes: int | None
    finite: bool
    conditions: Mapping[str, Any]
    machine: Mapping[str, str | int]

    def summary(self, part: str = "latency") -> Summary:
        """Median, its 95% confidence interval, interquartile range in seconds, and how many.

        Raises: ValueError if there is no such part.
        """
        if part not in self.samples_s:
            raise ValueError(f"no part {part!r}: choose from {', '.join(self.samples_s)}")
        return summary(self.samples_s[part])

    @property
    def median_s(self) -> float:
        """Median latency in seconds."""
        return self.summary().median

    def to_pandas(self) -> pd.DataFrame:
        """One line for each sample, a column for each part, in seconds."""
        import pandas as pd

        columns = {f"{part}_s": list(samples) for part, samples in self.samples_s.items()}
        return pd.DataFrame(columns)


def time(
    model: nn.Module,
    inputs: Inputs,
    *,
    device: str | torch.device | None = None,
    phase: Phase = "inference",
    precision: float = 0.01,
    budget_s: float = 60.0,
    warmup_s: float = 10.0,
    min_samples: int = 30,
    threads: int | None = None,
    memory: bool = True,
) -> NetworkTiming:
    """Time passes of ``model`` on ``inputs`` until the median is known to ``precision``.

    ``inputs`` are as for :func:`vidcost.count`. A pass is a forward pass in evaluation mode without
    gradients, or with ``phase`` "training" a step of SGD: forward, backward and optimiser. The loss
    is the cross-entropy where a network returns one matrix of logits, else every output that needs
    a gradient is given a random one.

    It warms up until two windows agree, at most ``warmup_s`` seconds, then takes at least
    ``min_samples`` samples until half of the median's 95% confidence interval is within
    ``precision`` of it, at most for about ``budget_s`` seconds. ``device`` is "cpu" or "cuda" (by
    default where the model is), ``threads`` are those that compute on the CPU (by default torch's).
    Afterwards one pass is run to measure its ``memory``.

    It runs a copy: the model, torch's settings and the random generators are left as they were.
    `vidcost time` on the command line gives each measurement a process of its own, and watches a
    GPU's clocks.

    >>> import torch, vidcost
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    >>> timing = vidcost.time(network, torch.randn(8, 64), budget_s=0.2, warmup_s=0.1)
    >>> timing.summary().n >= 1, timing.median_s < 1
    (True, True)
    >>> timing.weights_bytes, timing.finite
    (19240, True)

    Raises: ValueError if ``model`` is no module or cannot be copied, an input is no tensor, there
            is no such device or phase, or no output needs a gradient in training; NetworkExit if it
            calls sys.exit; what the network raises, torch's lack of memory among it.
    """
    if phase not in get_args(Phase):
        raise ValueError(f"no phase {phase!r}: choose inference or training")
    network, values = called(model, inputs)
    where = str(device or next((x.device for x in (*model.parameters(), *values)), "cpu"))
    machine = describe(where)
    threads = torch.get_num_threads() if threads is None else threads
    given: dict[str, Any] = {"precision": precision, "warmup_s": warmup_s}
    given["min_samples"] = min_samples
    for name, number in {**given, "budget_s": budget_s, "threads": threads}.items():
        if not number > 0:
            raise ValueError(f"{name} is {number}: give a number above 0")
    limits = Limits(sampling_s=budget_s, **given)
    with guarded(*values, *model.parameters()), _set(where, threads):
        conditions = {
            "device": where,
            "phase": phase,
            "dtypes": sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters()}),
            "threads": threads,
            "matmul_precision": torch.get_float32_matmul_precision(),
            "cudnn_tf32": torch.backends.cudnn.allow_tf32,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        }
        guest = copied(network).to(where).train(phase == "training")
        inputs = (x.detach().to(where, copy=True).requires_grad_(x.requires_grad) for x in values)
        built = Built(guest, tuple(inputs))
        cell = Cell(row=type(model).__name__, device=where, phase=phase, threads=threads)
        with torch.no_grad():
            finite = is_finite(guest(*built.inputs))
        clock = clock_for(where)
        runner = Runner(cell, built, clock, seed=limits.seed)
        step_s = clock.resolution_s
        samples, protocol = sample(runner.take, limits, lambda _: "keep", resolution_s=step_s)
        peak = memory_of(where, runner).peak if memory else None
    return NetworkTiming(
        network=type(model).__name__,
        samples_s={part: tuple(values) for part, values in samples.items()},
        warmup_samples=protocol.warmup_samples,
        settled=protocol.settled,
        precision=protocol.precision,
        sampling_s=protocol.sampling_s,
        weights_bytes=built.weights_bytes,
        peak_bytes=peak,
        finite=finite,
        conditions=conditions,
        machine=machine.model_dump(),
    )


@contextmanager
def _set(device: str, threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    on_cuda = torch.device(device).type == "cuda"
    torch.set_num_threads(threads)
    try:
        # events are recorded on the current device's stream
        with torch.cuda.device(device) if on_cuda else nullcontext():
            yield
    finally:
        torch.set_num_threads(before)
