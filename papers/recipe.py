"""Recipes: how a paper's networks may have been built otherwise than it describes them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import nn

Edit = Callable[[nn.Module], None]
"""Changes a network in place. After it the closed forms of what it changed no longer hold."""


class Choice(NamedTuple):
    """A setting in words, and its effect: an edit of the network, or keywords for ``Row.at``."""

    words: str
    edit: Edit | None = None
    at: Mapping[str, int] = {}


class Axis(NamedTuple):
    """A property on which a network may differ from its row, if it has a module that ``changes``
    says it changes; without ``changes`` any network.
    """

    choices: Mapping[str, Choice]
    changes: Callable[[nn.Module], bool] | None = None

    def suits(self, network: nn.Module) -> bool:
        """Whether it could change ``network``."""
        return self.changes is None or any(map(self.changes, network.modules()))
