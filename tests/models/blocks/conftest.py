"""What the tests of the blocks share: random weights, and a naive reading of the papers.

The naive pieces loop over coordinates with plain floats. They take weights from the block and
nothing else of torch, so they cannot share a mistake with it.
"""

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

# One clip: the channel values at each (t, h, w).
Field = dict[tuple[int, int, int], list[float]]


def dot(a: list[float], b: list[float]) -> float:
    assert len(a) == len(b)
    return sum(x * y for x, y in zip(a, b, strict=True))


def softmax(scores: list[float]) -> list[float]:
    terms = [math.exp(score) for score in scores]
    normaliser = sum(terms)
    return [term / normaliser for term in terms]


def fields(x: Tensor) -> list[Field]:
    """Split (B, C, T, H, W) into one field per clip."""
    values = x.tolist()
    _, channels, frames, height, width = x.shape
    return [
        {
            (t, h, w): [clip[c][t][h][w] for c in range(channels)]
            for t in range(frames)
            for h in range(height)
            for w in range(width)
        }
        for clip in values
    ]


def tensor(clips: list[Field]) -> Tensor:
    """Put fields back together as (B, C, T, H, W)."""
    out = torch.full((len(clips), len(clips[0][0, 0, 0]), *extents(clips[0])), math.nan)
    out = out.double()
    for b, clip in enumerate(clips):
        for (t, h, w), values in clip.items():
            for c, value in enumerate(values):
                out[b, c, t, h, w] = value
    return out


def extents(field: Field) -> tuple[int, int, int]:
    frames, height, width = (max(position[axis] for position in field) + 1 for axis in range(3))
    return frames, height, width


def channels(field: Field, first: int, last: int) -> Field:
    return {position: values[first:last] for position, values in field.items()}


def add(a: Field, b: Field) -> Field:
    return {i: [x + y for x, y in zip(a[i], b[i], strict=True)] for i in a}


def conv(layer: Any, field: Field) -> Field:
    """Multiply each position by the matrix of a 1x1x1 convolution, grouped or not."""
    matrix = layer.weight.detach().flatten(1).tolist()
    bias = [0.0] * len(matrix) if layer.bias is None else layer.bias.tolist()
    out: Field = {}
    for position, values in field.items():
        out[position] = []
        for o, row in enumerate(matrix):
            group = o // (len(matrix) // layer.groups)
            seen = values[group * len(row) : (group + 1) * len(row)]
            out[position].append(dot(row, seen) + bias[o])
    return out


def max_pool(field: Field) -> Field:
    """Take the largest of 2x2 pixels; an odd last row or column is dropped."""
    frames, height, width = extents(field)
    out: Field = {}
    for t in range(frames):
        for h in range(height // 2):
            for w in range(width // 2):
                four = [field[t, 2 * h + i, 2 * w + j] for i in (0, 1) for j in (0, 1)]
                out[t, h, w] = [max(values) for values in zip(*four, strict=True)]
    return out


def nearest(field: Field, size: tuple[int, int, int]) -> Field:
    _, small_height, small_width = extents(field)
    _, height, width = size
    return {
        (t, h, w): field[t, h * small_height // height, w * small_width // width]
        for t in range(size[0])
        for h in range(height)
        for w in range(width)
    }


def batch_norm(layer: Any, field: Field) -> Field:
    """Normalise by the running statistics."""
    mean, variance = layer.running_mean.tolist(), layer.running_var.tolist()
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    return {
        i: [
            weight[c] * (value - mean[c]) / math.sqrt(variance[c] + 1e-5) + bias[c]
            for c, value in enumerate(values)
        ]
        for i, values in field.items()
    }


def non_local(
    operation: Any,
    field: Field,
    *,
    pairwise: str,
    pool_keys: bool = False,
    pool_first: bool = False,
    scale: bool = False,
) -> Field:
    """W_z of y_i = 1/C(x) sum_j f(x_i, x_j) g(x_j), one pair of positions after the other."""
    source = max_pool(field) if pool_first else field
    query = field if pairwise == "gaussian" else conv(operation.theta, field)
    key = source if pairwise == "gaussian" else conv(operation.phi, source)
    value = conv(operation.g, source)
    if pool_keys and not pool_first:
        key, value = max_pool(key), max_pool(value)
    if pairwise == "concatenation":
        halves = (operation.w_theta, operation.w_phi)
        w_f = [w for half in halves for w in half.weight.flatten().tolist()]
    y: Field = {}
    for i, x_i in query.items():
        affinities = []
        for x_j in key.values():
            if pairwise == "concatenation":
                affinities.append(max(0.0, dot(w_f, x_i + x_j)))
            elif pairwise == "dot-product":
                affinities.append(dot(x_i, x_j))
            else:
                affinities.append(math.exp(dot(x_i, x_j) / (len(x_i) ** 0.5 if scale else 1)))
        normaliser = sum(affinities) if "gaussian" in pairwise else len(key)
        response = [0.0] * len(value[0, 0, 0])
        for affinity, g_j in zip(affinities, value.values(), strict=True):
            for d, g in enumerate(g_j):
                response[d] += affinity * g / normaliser
        y[i] = response
    return conv(operation.z, y)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def naive() -> Any:
    """The functions above."""
    return sys.modules[__name__]


@pytest.fixture
def randomised() -> Callable[[nn.Module], nn.Module]:
    """Draw every parameter and running statistic of a block, the zero-initialised ones too."""

    def draw(block: nn.Module) -> nn.Module:
        block.double().eval()
        generator = torch.Generator().manual_seed(20)
        with torch.no_grad():
            for parameter in block.parameters():
                parameter.normal_(std=0.4, generator=generator)
            for name, buffer in block.named_buffers():
                if name.endswith("running_mean"):
                    buffer.normal_(generator=generator)
                elif name.endswith("running_var"):
                    buffer.uniform_(0.5, 2, generator=generator)
        return block

    return draw


@pytest.fixture
def clip() -> Callable[..., Tensor]:
    """Draw a float64 input of the given shape, the same at every call."""

    def draw(*shape: int) -> Tensor:
        generator = torch.Generator().manual_seed(6)
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    return draw


@pytest.fixture
def assert_close() -> Callable[[Tensor, Tensor], None]:
    def check(expected: Tensor, actual: Tensor) -> None:
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)

    return check
