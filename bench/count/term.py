"""Named amounts: of what a counter's convention adds to our MACs and takes off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True)
class Term:
    """What a convention books otherwise than we do: ``amount`` more, or less if negative.

    ``part`` is the heading under which the counter books it, so that a wrong term is found by name.
    """

    name: str
    part: str
    amount: int


@dataclass(frozen=True)
class Explanation:
    """A counter's integers, from ours: sums of named terms.

    ``macs`` are our MACs by part, the terms of ``flops`` lead from them to what the counter prints
    as FLOPs. ``params`` and its terms are the same for parameters, None for a counter that prints
    none.
    """

    macs: dict[str, int]
    flop_terms: tuple[Term, ...]
    params: int
    param_terms: tuple[Term, ...] | None

    @property
    def flops(self) -> int:
        """What the counter should print."""
        return sum(self.macs.values()) + sum(term.amount for term in self.flop_terms)

    @property
    def seen_params(self) -> int | None:
        """The parameters the counter should print."""
        if self.param_terms is None:
            return None
        return self.params + sum(term.amount for term in self.param_terms)

    @property
    def parts(self) -> dict[str, int]:
        """What the counter should book under each heading; headings of 0 left out."""
        return by_category(
            (*self.macs.items(), *((term.part, term.amount) for term in self.flop_terms))
        )


@dataclass
class Terms:
    """Terms as they add up, in the order in which they turned up."""

    amounts: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, name: str, part: str, amount: int) -> None:
        """Add ``amount`` to the term ``name``."""
        self.amounts[name, part] = self.amounts.get((name, part), 0) + amount

    def done(self) -> tuple[Term, ...]:
        """All terms that are not 0."""
        return tuple(
            Term(name, part, amount) for (name, part), amount in self.amounts.items() if amount
        )


def by_category(amounts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Sums of (heading, amount); headings of 0 left out."""
    sums: Counter[str] = Counter()
    for heading, amount in amounts:
        sums[heading] += amount
    return {heading: amount for heading, amount in sums.items() if amount}


def modules_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by each of its names, the network itself by ""."""
    return dict(model.named_modules(remove_duplicate=False))
