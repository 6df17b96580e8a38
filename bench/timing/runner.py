"""One pass of a cell's target: with marks between its parts, or measured for its memory."""

from __future__ import annotations

import random
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcost.bench.call import tensors_in
from vidcost.bench.timing.build import Built
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.clock import Clock
from vidcost.bench.timing.record import PARTS, Memory

Pass = Callable[[], object]
Mark = Callable[[], int]
Timed = Callable[[Mark], tuple[int, ...]]
"""A pass that marks its beginning, its end, and in between the ends of its parts."""

LEARNING_RATE = 1e-6
"""However many steps are timed, the weights stay about what they were built as."""


class Runner:
    """Takes samples of one target, or of a pair and of those ``also`` timed against its reference.

    ``step`` is one pass of each side; ``sides`` are their cells by part.
    """

    def __init__(
        self,
        cell: Cell,
        built: Built,
        clock: Clock,
        *,
        seed: int = 0,
        also: Sequence[tuple[Cell, Built]] = (),
    ) -> None:
        self._clock = clock
        self._inputs = built.inputs
        self.weights_bytes = built.weights_bytes
        self._order = random.Random(seed)
        self._seed = seed
        self._steps: list[_Training] = []
        self._passes: dict[str, Pass] = {}
        self._timed: dict[str, Timed] = {}
        self.sides: dict[str, Cell] = {}
        if cell.against is None:
            self._add("latency", cell, built)
            return
        assert built.reference is not None, cell
        self._add("target", cell, built)
        self._add("reference", cell.against, built.reference)
        for number, (other, each) in enumerate(also, start=1):
            self._add(f"target {number}", other, each)

    def _add(self, part: str, cell: Cell, built: Built) -> None:
        self.sides[part] = cell
        self._switch(part)
        if cell.phase == "inference":
            self._passes[part] = inference(cell, built)
            self._timed[part] = _marked(self._passes[part])
        else:
            self._steps.append(_Training(cell, built, self._seed))
            self._passes[part] = self._timed[part] = self._steps[-1].step

    @property
    def held_bytes(self) -> int:
        """Inputs, optimisers' state between steps, and the labels or gradients they start from."""
        return sum(x.nbytes for x in self._inputs) + sum(each.state_bytes for each in self._steps)

    def step(self) -> object:
        """One pass of each side; the outputs at inference."""
        outputs = []
        for part, run in self._passes.items():
            self._switch(part)
            outputs.append(run())
        return outputs

    def take(self, count: int) -> dict[str, list[float]]:
        """``count`` samples in seconds by part, read together at the end."""
        wholes = list(self._timed)
        self._clock.prepare(4 * len(wholes) * count)
        marks: dict[str, list[tuple[int, ...]]] = {whole: [] for whole in wholes}
        for _ in range(count):
            # interleaved and in random order, so that no side profits from being second
            for whole in self._order.sample(wholes, len(wholes)):
                self._switch(whole)
                marks[whole].append(self._timed[whole](self._clock.mark))
        self._clock.finish()
        seconds = self._clock.seconds
        taken: dict[str, list[float]] = {}
        for whole, of_whole in marks.items():
            taken[whole] = [seconds(each[0], each[-1]) for each in of_whole]
        if self._steps and "latency" in self.sides:
            for number, part in enumerate(PARTS):
                taken[part] = [seconds(m[number], m[number + 1]) for m in marks["latency"]]
        return taken

    def _switch(self, part: str) -> None:
        """Set torch's products as the cell of this side of a pair says."""
        if part != "latency":
            set_products(self.sides[part])


def _marked(run: Pass) -> Timed:
    def timed(mark: Mark) -> tuple[int, ...]:
        start = mark()
        run()
        return start, mark()

    return timed


class _Training:
    """A step of SGD with momentum: of a network on random labels, with the cross-entropy.

    A network that returns anything but one matrix of logits, or a block alone, starts from random
    gradients of its outputs.
    Raises: Unsupported if torch cannot compile it; ValueError if no output needs a gradient.
    """

    def __init__(self, cell: Cell, built: Built, seed: int) -> None:
        self._inputs = built.inputs
        self._optimizer = torch.optim.SGD(built.model.parameters(), lr=LEARNING_RATE, momentum=0.9)
        self._seed = seed
        self._cell = cell
        self._targets: tuple[Tensor, ...] = ()
        self._model: Callable[..., object] = built.model
        if cell.mode == "compile":
            self._model = torch.compile(built.model, dynamic=False)
            _attempt("torch.compile", self.step)

    @property
    def state_bytes(self) -> int:
        """Momenta, and the labels or gradients from which the backward pass starts."""
        momenta = [m for state in self._optimizer.state.values() for m in state.values()]
        return sum(held.nbytes for held in (*momenta, *self._targets))

    def step(self, mark: Mark = lambda: 0) -> tuple[int, int, int, int]:
        """Marks before and after forward, backward and optimiser."""
        start = mark()
        with _autocast(self._cell):
            outputs = starts(self._model(*self._inputs))
            if not self._targets:
                self._targets = _targets(outputs, self._seed)
            ends, gradients = outputs, self._targets
            if _is_logits(outputs):
                ends, gradients = (F.cross_entropy(outputs[0].float(), self._targets[0]),), ()
        forward = mark()
        torch.autograd.backward(ends, gradients or None)
        backward = mark()
        self._optimizer.step()
        end = mark()
        # no part is charged with it
        self._optimizer.zero_grad(set_to_none=True)
        for x in self._inputs:
            x.grad = None
        return start, forward, backward, end


def starts(output: object) -> tuple[Tensor, ...]:
    """The tensors in ``output`` that need a gradient: there a backward pass starts.

    Raises: ValueError if there are none.
    """
    found = tuple(y for y in tensors_in(output) if y.requires_grad)
    if not found:
        raise ValueError(
            "no output needs a gradient: set requires_grad on a parameter or an input, and return "
            "tensors, in lists, tuples, dicts or dataclasses"
        )
    return found


def _is_logits(outputs: tuple[Tensor, ...]) -> bool:
    """Whether the outputs are one matrix of real numbers: a row of logits for each clip."""
    return len(outputs) == 1 and outputs[0].dim() == 2 and outputs[0].is_floating_point()


def _targets(outputs: tuple[Tensor, ...], seed: int) -> tuple[Tensor, ...]:
    """Labels for logits, else gradients; made on the host, so that they are the same everywhere."""
    generator = torch.Generator().manual_seed(seed)
    if _is_logits(outputs):
        rows, classes = outputs[0].shape
        return (torch.randint(classes, (rows,), generator=generator).to(outputs[0].device),)
    gradients = []
    for y in outputs:
        gradient = torch.randn(y.shape, generator=generator).to(y.device, y.dtype)
        gradients.append(torch.empty_like(y).copy_(gradient).detach())
    return tuple(gradients)


def inference(cell: Cell, built: Built) -> Pass:
    """One forward pass in evaluation mode without gradients, as the cell's mode runs it.

    Raises: Unsupported if torch cannot compile or capture it.
    """
    model, inputs = built.model, built.inputs
    if cell.mode == "cuda-graph":
        return _captured(cell, model, inputs)
    if cell.mode == "eager":

        def eager() -> object:
            with torch.inference_mode(), _autocast(cell):
                return model(*inputs)

        return eager
    compiled = torch.compile(model, dynamic=False)

    def run() -> object:
        with torch.no_grad(), _autocast(cell):
            return compiled(*inputs)

    _attempt("torch.compile", run)
    return run


def set_products(cell: Cell) -> None:
    """Set the precision of torch's fp32 products, and whether cuDNN tries its algorithms."""
    torch.set_float32_matmul_precision("high" if cell.dtype == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = cell.dtype == "tf32"
    torch.backends.cudnn.benchmark = cell.cudnn_benchmark


def _autocast(cell: Cell) -> AbstractContextManager[object]:
    if cell.dtype != "bf16-autocast":
        return nullcontext()
    return torch.autocast(torch.device(cell.device).type, torch.bfloat16)


def _attempt(action: str, first: Pass) -> None:
    """Run the first pass of something that torch may not be able to do.

    Raises: Unsupported; ValueError as the network does.
    """
    try:
        first()
    except ValueError:
        raise
    except Exception as error:  # whatever a backend meets: no compiler, no rule
        if is_out_of_memory(error):
            raise
        raise Unsupported(f"{action}: {one_line(error)}") from error


def _captured(cell: Cell, model: nn.Module, inputs: Sequence[Tensor]) -> Pass:
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    graph = torch.cuda.CUDAGraph()
    out: list[object] = []

    def capture() -> None:
        with torch.cuda.graph(graph), _autocast(cell):
            out.append(model(*inputs))

    with torch.no_grad():
        # libraries set themselves up outside the capture
        with torch.cuda.stream(stream), _autocast(cell):
            for _ in range(3):
                model(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        _attempt("CUDA graph", capture)

    def replay() -> object:
        graph.replay()
        return out[0]

    return replay


def rss_peak_bytes() -> int:
    """The most memory this process has held so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def memory_of(device: str, runner: Runner) -> Memory:
    """The memory of one more pass of ``runner``.

    What is held before it (inputs, the optimiser's state) is part of the peak above the weights;
    gradients are freed at the beginning of a step. The rest of the peak is what torch's allocator
    gave out at once above what was allocated before the step: on CUDA by its own statistics, on the
    CPU by the profiler.
    """
    rss = rss_peak_bytes()
    weights, held = runner.weights_bytes, runner.held_bytes
    if torch.device(device).type != "cuda":
        return Memory(weights=weights, peak=held + _most_allocated(runner.step), rss_peak=rss)
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    runner.step()
    torch.cuda.synchronize(device)
    return Memory(
        weights=weights,
        peak=held + torch.cuda.max_memory_allocated(device) - before,
        reserved=torch.cuda.max_memory_reserved(device),
        rss_peak=rss_peak_bytes(),
        device_used=_device_used(device),
    )


def _device_used(device: str) -> int | None:
    """Bytes that all processes use on the device, by NVML; None without NVML."""
    try:
        return int(torch.cuda.device_memory_used(device))
    except Exception:  # no NVML, no permission, a device it does not know: it varies by release
        return None


def _most_allocated(step: Callable[[], object]) -> int:
    from torch.profiler import ProfilerActivity, profile

    # one cycle is all there is: acc_events keeps torch 2.11 from warning of more
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, profile_memory=True, acc_events=True) as profiled:
        step()
    results = profiled.profiler.kineto_results
    changes = sorted(_allocations(results.experimental_event_tree()))
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def _allocations(events: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """(time, bytes given out or, if negative, taken back) of every event and those below it."""
    for event in events:
        extra = event.typed[1]
        if type(extra).__name__ == "_ExtraFields_Allocation":
            yield event.start_time_ns, extra.alloc_size
        yield from _allocations(event.children)


_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "bad_alloc",
    "status_alloc_failed",  # cuDNN's and cuBLAS's
)


class Unsupported(RuntimeError):
    """The device or torch cannot do what the cell asks for."""


def failure_of(error: BaseException) -> dict[str, str]:
    """Status and error of a record, ``oom`` or ``unsupported``; nothing for any other error."""
    if is_out_of_memory(error):
        return {"status": "oom", "error": one_line(error)}
    if isinstance(error, Unsupported | NotImplementedError) or "not implemented for" in str(error):
        return {"status": "unsupported", "error": one_line(error)}
    return {}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory, on the device or on the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _OUT_OF_MEMORY)


def one_line(error: BaseException) -> str:
    """The message in one line, or the error's name if it has none."""
    return " ".join(str(error).split())[:500] or type(error).__name__
