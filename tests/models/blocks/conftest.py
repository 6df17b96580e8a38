"""What the tests of the blocks share: random weights and inputs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


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
