"""Recipes: how a paper's networks may have been built otherwise than it describes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

Edit = Callable[[nn.Module], None]
"""Changes a network in place. After it the closed forms of what it changed no longer hold."""


@dataclass(frozen=True)
class Choice:
    """A setting in words, and its effect: keywords for ``Row.at``, or an edit of the network."""

    words: str
    edit: Edit | None = None
    at: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Axis:
    """A property on which a network may differ from its row.

    ``found_in`` are the modules that it changes; none: any network. ``attribute`` is one that such
    a module must have.
    """

    name: str
    choices: Mapping[str, Choice]
    found_in: tuple[type[nn.Module], ...] = ()
    attribute: str = ""

    def suits(self, network: nn.Module) -> bool:
        """Whether it could change ``network``."""
        return not self.found_in or any(
            isinstance(module, self.found_in)
            and (not self.attribute or hasattr(module, self.attribute))
            for module in network.modules()
        )
