"""One pass of what a cell times, with marks between its parts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.clock import Clock
from vidcost.bench.timing.record import Part
from vidcost.bench.timing.subject import Built

Pass = Callable[[], object]


class Unsupported(RuntimeError):
    """The device or torch cannot do what the cell asks for."""


class Runner:
    """Takes samples of one subject. ``step`` is one pass without any mark."""

    def __init__(self, cell: Cell, built: Built, clock: Clock, *, seed: int = 0) -> None:
        self._clock = clock
        self._flush = _cache_flush(cell) if cell.cold else None
        self._order = random.Random(seed)
        self._steps: list[_Training] = []
        self._passes: dict[Part, Pass] = {}
        if cell.share:
            assert built.without is not None, cell
            baseline = Built(built.without, built.inputs)
            self._passes = {
                "with": self._whole(cell, built, seed),
                "without": self._whole(cell, baseline, seed),
            }
        elif cell.phase == "training":
            self._steps.append(_Training(built, seed))
        else:
            self._passes = {"latency": inference(cell, built)}

    def _whole(self, cell: Cell, built: Built, seed: int) -> Pass:
        if cell.phase == "inference":
            return inference(cell, built)
        self._steps.append(_Training(built, seed))
        return self._steps[-1].step

    @property
    def state_bytes(self) -> int:
        """What the optimisers hold between steps."""
        return sum(step.state_bytes for step in self._steps)

    def step(self) -> None:
        """One pass: of a share, both sides."""
        if self._passes:
            for each in self._passes.values():
                each()
        else:
            self._steps[0].step()

    def take(self, count: int) -> dict[Part, list[float]]:
        """``count`` samples in seconds by part, read together at the end."""
        if self._passes:
            return self._take_passes(count)
        return self._take_steps(count)

    def _take_passes(self, count: int) -> dict[Part, list[float]]:
        parts = list(self._passes)
        self._clock.prepare(2 * len(parts) * count)
        marks: dict[Part, list[tuple[int, int]]] = {part: [] for part in parts}
        for _ in range(count):
            # in turns and in random order, so that no side profits from being second
            for part in self._order.sample(parts, len(parts)):
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


class _Training:
    """A step of SGD with momentum on random labels; of a block alone, on the sum of its output."""

    def __init__(self, built: Built, seed: int) -> None:
        self._model, self._inputs = built.model, built.inputs
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=1e-3, momentum=0.9)
        self._seed = seed
        self._labels: Tensor | None = None

    @property
    def state_bytes(self) -> int:
        """Momenta."""
        values = (value for state in self._optimizer.state.values() for value in state.values())
        return sum(v.numel() * v.element_size() for v in values if isinstance(v, Tensor))

    def step(self, mark: Callable[[], int] = lambda: 0) -> tuple[int, int, int, int]:
        """Marks before and after forward, backward and optimiser."""
        # frees the gradients, which no part is charged with
        self._optimizer.zero_grad(set_to_none=True)
        start = mark()
        loss = self._loss(self._model(*self._inputs))
        forward = mark()
        loss.backward()  # type: ignore[no-untyped-call]
        backward = mark()
        self._optimizer.step()
        return start, forward, backward, mark()

    def _loss(self, out: Tensor) -> Tensor:
        if out.dim() != 2:
            return out.sum()
        if self._labels is None:
            chooser = torch.Generator().manual_seed(self._seed)
            labels = torch.randint(out.shape[1], (len(out),), generator=chooser)
            self._labels = labels.to(out.device)
        return F.cross_entropy(out.float(), self._labels)


def inference(cell: Cell, built: Built) -> Pass:
    """One forward pass in evaluation mode without gradients, as the cell's mode runs it.

    Raises: Unsupported if torch cannot compile or capture it.
    """
    model, inputs = built.model, built.inputs
    if cell.mode == "compile":
        return _compiled(model, inputs)
    if cell.mode == "cuda-graph":
        return _captured(model, inputs)

    def eager() -> object:
        with torch.inference_mode():
            return model(*inputs)

    return eager


def _compiled(model: nn.Module, inputs: Sequence[Tensor]) -> Pass:
    compiled = torch.compile(model, dynamic=False)

    def run() -> object:
        with torch.no_grad():
            return compiled(*inputs)

    try:
        run()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever its backend meets: no compiler, no rule
        raise Unsupported(f"torch.compile: {_first_line(error)}") from error
    return run


def _captured(model: nn.Module, inputs: Sequence[Tensor]) -> Pass:
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.no_grad():
            # libraries set themselves up outside the capture
            with torch.cuda.stream(stream):
                for _ in range(3):
                    model(*inputs)
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph):
                out = model(*inputs)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise Unsupported(f"CUDA graph: {_first_line(error)}") from error

    def replay(keep: Any = out) -> object:
        graph.replay()
        return keep

    return replay


def _cache_flush(cell: Cell) -> Pass:
    """Overwrites twice the last cache of the device."""
    device = torch.device(cell.device)
    if device.type == "cuda":
        cache_bytes = torch.cuda.get_device_properties(device).L2_cache_size
    else:
        cache_bytes = HOST_CACHE_BYTES
    buffer = torch.zeros(2 * cache_bytes, dtype=torch.int8, device=device)
    return lambda: buffer.add_(1)


HOST_CACHE_BYTES = 64 << 20
"""More than the last cache of most processors."""


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
