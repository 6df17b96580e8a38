"""One pass of what a cell times, with marks between its parts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcost.bench.outputs import tensors_in
from vidcost.bench.timing.build import Built
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.clock import Clock
from vidcost.bench.timing.failure import Unsupported, is_out_of_memory, one_line
from vidcost.bench.timing.machine import last_cache_bytes
from vidcost.bench.timing.record import Part

Pass = Callable[[], object]
Side = Literal["target", "reference"]

_PARTS_OF_SIDES: tuple[tuple[Side, Part, Part], ...] = (
    ("target", "target_forward", "target_backward"),
    ("reference", "reference_forward", "reference_backward"),
)

LEARNING_RATE = 1e-6
"""However many steps are timed, the weights stay about what they were built as."""


class Runner:
    """Takes samples of one target. ``step`` is one pass without any mark."""

    def __init__(self, cell: Cell, built: Built, clock: Clock, *, seed: int = 0) -> None:
        self._clock = clock
        self._flush = _cache_flush(cell) if cell.cold else None
        self._order = random.Random(seed)
        self._steps: list[_Training] = []
        self._passes: dict[Part, Pass] = {}
        self._pair: dict[Side, Cell] = {}
        if cell.against is not None:
            assert built.reference is not None, cell
            self._pair = {"target": cell, "reference": cell.against}
            for side, its_cell in self._pair.items():
                set_products(its_cell)
                its_own = built if side == "target" else built.reference
                self._passes[side] = self._whole(its_cell, its_own, seed)
        elif cell.contribution:
            assert built.without is not None, cell
            baseline = Built(built.without, built.inputs)
            self._passes = {
                "with": self._whole(cell, built, seed),
                "without": self._whole(cell, baseline, seed),
            }
        elif cell.phase == "training":
            self._steps.append(_Training(cell, built, seed))
        else:
            self._passes = {"latency": inference(cell, built)}

    def _whole(self, cell: Cell, built: Built, seed: int) -> Pass:
        if cell.phase == "inference":
            return inference(cell, built)
        self._steps.append(_Training(cell, built, seed))
        return self._steps[-1].step

    @property
    def state_bytes(self) -> int:
        """What the optimisers hold between steps, and the labels or gradients they start from."""
        return sum(step.state_bytes for step in self._steps)

    def step(self) -> object:
        """One pass, of two sides both; the output at inference, None of a step."""
        if self._passes:
            return [self._run(part) for part in self._passes]
        self._steps[0].step()
        return None

    def take(self, count: int) -> dict[Part, list[float]]:
        """``count`` samples in seconds by part, read together at the end."""
        if self._pair and self._steps:
            return self._take_steps_interleaved(count)
        if self._passes:
            return self._take_passes(count)
        return self._take_steps(count)

    def _run(self, part: Part) -> object:
        self._switch(part)
        return self._passes[part]()

    def _switch(self, part: Part) -> None:
        """Have torch compute as this side's cell says; what is no pair is set once and for all."""
        for side, cell in self._pair.items():
            if side == part:
                set_products(cell)

    def _take_passes(self, count: int) -> dict[Part, list[float]]:
        parts = list(self._passes)
        self._clock.prepare(2 * len(parts) * count)
        marks: dict[Part, list[tuple[int, int]]] = {part: [] for part in parts}
        for _ in range(count):
            # interleaved and in random order, so that no side profits from being second
            for part in self._order.sample(parts, len(parts)):
                self._switch(part)
                if self._flush is not None:
                    self._flush()
                start = self._clock.mark()
                self._passes[part]()
                marks[part].append((start, self._clock.mark()))
        self._clock.finish()
        return {
            part: [self._clock.seconds(start, end) for start, end in pairs]
            for part, pairs in marks.items()
        }

    def _take_steps_interleaved(self, count: int) -> dict[Part, list[float]]:
        training: dict[Side, _Training] = dict(zip(self._pair, self._steps, strict=True))
        self._clock.prepare(4 * len(training) * count)
        marks: dict[Side, list[tuple[int, int, int, int]]] = {side: [] for side in training}
        for _ in range(count):
            for side in self._order.sample(list(training), len(training)):
                self._switch(side)
                marks[side].append(training[side].step(self._clock.mark))
        self._clock.finish()
        seconds = self._clock.seconds
        taken: dict[Part, list[float]] = {}
        for side, forward, backward in _PARTS_OF_SIDES:
            taken[side] = [seconds(start, end) for start, _, _, end in marks[side]]
            taken[forward] = [seconds(start, middle) for start, middle, _, _ in marks[side]]
            taken[backward] = [seconds(middle, last) for _, middle, last, _ in marks[side]]
        return taken

    def _take_steps(self, count: int) -> dict[Part, list[float]]:
        (training,) = self._steps
        self._clock.prepare(4 * count)
        steps = [training.step(self._clock.mark) for _ in range(count)]
        self._clock.finish()
        parts: tuple[Part, ...] = ("forward", "backward", "optimizer")
        seconds = self._clock.seconds
        return {
            "latency": [seconds(marks[0], marks[3]) for marks in steps],
            **{
                part: [seconds(marks[number], marks[number + 1]) for marks in steps]
                for number, part in enumerate(parts)
            },
        }


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
        model, self._inputs = built.model, built.inputs
        self._optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)
        self._seed = seed
        self._cell = cell
        self._targets: tuple[Tensor, ...] = ()
        self._model: Callable[..., object] = model
        if cell.mode == "compile":
            self._model = torch.compile(model, dynamic=False)
            _attempt("torch.compile", self.step)

    @property
    def state_bytes(self) -> int:
        """Momenta, and what the backward pass starts from."""
        states = self._optimizer.state.values()
        values = [value for state in states for value in state.values()]
        held = (v for v in [*values, *self._targets] if isinstance(v, Tensor))
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    def step(self, mark: Callable[[], int] = lambda: 0) -> tuple[int, int, int, int]:
        """Marks before and after forward, backward and optimiser."""
        start = mark()
        with _autocast(self._cell):
            outputs = starts(self._model(*self._inputs))
            targets = self._targets_for(outputs)
            loss = loss_of(outputs, targets)
        forward = mark()
        if loss is None:
            torch.autograd.backward(outputs, targets)
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

    def _targets_for(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Labels for logits, else gradients; made once."""
        if not self._targets:
            chooser = torch.Generator().manual_seed(self._seed)
            if is_logits(outputs):
                labels = torch.randint(outputs[0].shape[1], (len(outputs[0]),), generator=chooser)
                self._targets = (labels.to(outputs[0].device),)
            else:
                self._targets = tuple(_gradient(y, chooser) for y in outputs)
        return self._targets


def starts(output: object) -> tuple[Tensor, ...]:
    """What a backward pass starts from: the tensors in ``output`` that need a gradient.

    Raises: ValueError if there are none.
    """
    found = tuple(y for y in tensors_in(output) if y.requires_grad)
    if not found:
        raise ValueError(
            "no output needs a gradient: set requires_grad on a parameter or an input, and return "
            "tensors, in lists, tuples, dicts or dataclasses"
        )
    return found


def is_logits(outputs: tuple[Tensor, ...]) -> bool:
    """Whether the outputs are one matrix of real numbers: a row of logits for each clip."""
    return len(outputs) == 1 and outputs[0].dim() == 2 and outputs[0].is_floating_point()


def loss_of(outputs: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> Tensor | None:
    """The cross-entropy of logits with labels; None where gradients are given."""
    if not is_logits(outputs):
        return None
    return F.cross_entropy(outputs[0].float(), targets[0])


def _gradient(output: Tensor, chooser: torch.Generator) -> Tensor:
    # on the host, so that every device starts from the same numbers
    gradient = torch.randn(output.shape, generator=chooser).to(output.device, output.dtype)
    return torch.empty_like(output).copy_(gradient).detach()


def inference(cell: Cell, built: Built) -> Pass:
    """One forward pass in evaluation mode without gradients, as the cell's mode runs it.

    Raises: Unsupported if torch cannot compile or capture it.
    """
    model, inputs = built.model, built.inputs
    if cell.mode == "compile":
        return _compiled(cell, model, inputs)
    if cell.mode == "cuda-graph":
        return _captured(cell, model, inputs)

    def eager() -> object:
        with torch.inference_mode(), _autocast(cell):
            return model(*inputs)

    return eager


def set_products(cell: Cell) -> None:
    """How exact torch's products of fp32 are, and whether cuDNN tries its algorithms."""
    torch.set_float32_matmul_precision("high" if cell.dtype == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = cell.dtype == "tf32"
    torch.backends.cudnn.benchmark = cell.cudnn_benchmark


def _autocast(cell: Cell) -> AbstractContextManager[object]:
    if cell.dtype != "bf16-autocast":
        return nullcontext()
    return torch.autocast(torch.device(cell.device).type, torch.bfloat16)


def _compiled(cell: Cell, model: nn.Module, inputs: Sequence[Tensor]) -> Pass:
    compiled = torch.compile(model, dynamic=False)

    def run() -> object:
        with torch.no_grad(), _autocast(cell):
            return compiled(*inputs)

    _attempt("torch.compile", run)
    return run


def _attempt(what: str, first: Pass) -> None:
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
        raise Unsupported(f"{what}: {one_line(error)}") from error


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
        with torch.cuda.stream(stream):
            for _ in range(3):
                with _autocast(cell):
                    model(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        _attempt("CUDA graph", capture)

    def replay() -> object:
        graph.replay()
        return out[0]

    return replay


def _cache_flush(cell: Cell) -> Pass:
    """Overwrites twice the last cache of the device.

    Raises: Unsupported if its size is not to be had.
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
