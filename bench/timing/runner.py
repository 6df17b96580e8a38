"""One pass of a cell's target, with marks between its parts."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcost.bench.call import tensors_in
from vidcost.bench.timing.build import Built
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.clock import Clock
from vidcost.bench.timing.failure import Unsupported, is_out_of_memory, one_line
from vidcost.bench.timing.machine import last_cache_bytes
from vidcost.bench.timing.record import Part

Pass = Callable[[], object]
Mark = Callable[[], int]
Timed = Callable[[Mark], tuple[int, ...]]
"""A pass that marks its beginning, its end, and in between the ends of its parts."""

_PARTS: Mapping[Part, tuple[Part, ...]] = {
    "latency": ("forward", "backward", "optimizer"),
    "target": ("target_forward", "target_backward"),
    "reference": ("reference_forward", "reference_backward"),
}
"""The parts of a training step that are kept, by the name of the whole."""

LEARNING_RATE = 1e-6
"""However many steps are timed, the weights stay about what they were built as."""


class Runner:
    """Takes samples of one target. ``step`` is one pass without any mark."""

    def __init__(self, cell: Cell, built: Built, clock: Clock, *, seed: int = 0) -> None:
        self._clock = clock
        self._flush = _cache_flush(cell) if cell.cold else None
        self._order = random.Random(seed)
        self._seed = seed
        self._steps: list[_Training] = []
        self._passes: dict[Part, Pass] = {}
        self._timed: dict[Part, Timed] = {}
        self._pair: dict[Part, Cell] = {}
        if cell.against is not None:
            assert built.reference is not None, cell
            self._pair = {"target": cell, "reference": cell.against}
            set_products(cell)
            self._add("target", cell, built)
            set_products(cell.against)
            self._add("reference", cell.against, built.reference)
        elif cell.contribution:
            assert built.without is not None, cell
            self._add("with", cell, built)
            self._add("without", cell, Built(built.without, built.inputs))
        else:
            self._add("latency", cell, built)

    def _add(self, part: Part, cell: Cell, built: Built) -> None:
        if cell.phase == "inference":
            self._passes[part] = inference(cell, built)
        else:
            self._steps.append(_Training(cell, built, self._seed))
            self._passes[part] = self._steps[-1].step
        if cell.phase == "training" and part in _PARTS:
            self._timed[part] = self._steps[-1].step
        else:
            self._timed[part] = _marked(self._passes[part])

    @property
    def state_bytes(self) -> int:
        """The optimisers' state between steps, and the labels or gradients they start from."""
        return sum(step.state_bytes for step in self._steps)

    def step(self) -> object:
        """One pass of each side; the outputs at inference."""
        outputs = []
        for part, run in self._passes.items():
            self._switch(part)
            outputs.append(run())
        return outputs

    def take(self, count: int) -> dict[Part, list[float]]:
        """``count`` samples in seconds by part, read together at the end."""
        wholes = list(self._timed)
        self._clock.prepare(4 * len(wholes) * count)
        marks: dict[Part, list[tuple[int, ...]]] = {whole: [] for whole in wholes}
        for _ in range(count):
            # interleaved and in random order, so that no side profits from being second
            for whole in self._order.sample(wholes, len(wholes)):
                self._switch(whole)
                if self._flush is not None:
                    self._flush()
                    # or the host would launch the pass meanwhile, which hides the launches
                    self._clock.finish()
                marks[whole].append(self._timed[whole](self._clock.mark))
        self._clock.finish()
        seconds = self._clock.seconds
        taken: dict[Part, list[float]] = {}
        for whole, of_whole in marks.items():
            taken[whole] = [seconds(each[0], each[-1]) for each in of_whole]
            for number, part in enumerate(_PARTS.get(whole, ()) if self._steps else ()):
                taken[part] = [seconds(each[number], each[number + 1]) for each in of_whole]
        return taken

    def _switch(self, part: Part) -> None:
        """Set torch's products as the cell of this side of a pair says."""
        if part in self._pair:
            set_products(self._pair[part])


def _marked(run: Pass) -> Timed:
    def timed(mark: Mark) -> tuple[int, ...]:
        start = mark()
        run()
        return start, mark()

    return timed


def held_bytes(built: Built, runner: Runner) -> int:
    """Inputs and the optimiser's state; gradients are freed at the beginning of a step."""
    inputs = sum(x.numel() * x.element_size() for x in built.inputs)
    return inputs + runner.state_bytes


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
        states = self._optimizer.state.values()
        values = [value for state in states for value in state.values()]
        held = (v for v in [*values, *self._targets] if isinstance(v, Tensor))
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    def step(self, mark: Mark = lambda: 0) -> tuple[int, int, int, int]:
        """Marks before and after forward, backward and optimiser."""
        start = mark()
        with _autocast(self._cell):
            outputs = starts(self._model(*self._inputs))
            if not self._targets:
                self._targets = _targets(outputs, self._seed)
            loss = loss_of(outputs, self._targets)
        forward = mark()
        if loss is None:
            torch.autograd.backward(outputs, self._targets)
        else:
            torch.autograd.backward(loss)
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


def loss_of(outputs: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> Tensor | None:
    """The cross-entropy of logits with labels; None where gradients are given."""
    return F.cross_entropy(outputs[0].float(), targets[0]) if _is_logits(outputs) else None


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


def _cache_flush(cell: Cell) -> Pass:
    """Overwrites twice the last cache of the device.

    Raises: Unsupported if its size is not known.
    """
    device = torch.device(cell.device)
    cache_bytes = (
        torch.cuda.get_device_properties(device).L2_cache_size
        if device.type == "cuda"
        else last_cache_bytes()
    )
    if not cache_bytes:
        raise Unsupported("the size of this processor's cache is not reported: time it warm")
    buffer = torch.zeros(2 * cache_bytes, dtype=torch.int8, device=device)
    # reads and writes: filling it with one value may go past the cache
    return lambda: buffer.add_(1)
