"""What a closed form says a module costs."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass, as integers.

    Units: ``params`` are parameters; ``conv``, ``linear`` and ``matmul`` are multiply-accumulates
    (MACs); ``norm``, ``softmax`` and ``activation`` are elements processed and ``pool`` is elements
    produced, so that each counting convention can weigh them as it likes.

    ``linear`` is a product with a tensor that depends on no input, such as a weight; ``matmul`` is
    a product of two activations.
    """

    params: int = 0
    conv: int = 0
    linear: int = 0
    matmul: int = 0
    norm: int = 0
    pool: int = 0
    softmax: int = 0
    activation: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions, linear layers and matrix products."""
        return self.conv + self.linear + self.matmul

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Cost)))
