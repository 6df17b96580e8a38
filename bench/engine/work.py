"""A piece of work, what it needs for itself, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from vidcost.bench.exit_status import Ending

T = TypeVar("T")

Needs = Literal["core", "machine", "gpu"]
"""What nothing else uses meanwhile: a core, a whole machine with all its cores, or a whole GPU."""


class Lost(Ending):
    """A piece that was lost each time it was tried, with its process, its node or its answer."""


class Unfit(Exception):
    """What a piece raises that this machine alone keeps from being done: others may do it."""


@dataclass(frozen=True)
class Piece(Generic[T]):
    """A call of ``function`` with ``arguments``; ``name`` is for people, ``tag`` for who made it.

    Elsewhere the function is found by its module's name, and what it takes and returns is pickled.
    """

    name: str
    function: Callable[..., T]
    arguments: tuple[Any, ...] = ()
    needs: Needs = "core"
    tag: Any = None


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What became of a piece: what it returned, or what it raised, which may be :class:`Lost`.

    ``host`` and ``node`` are where it ran on a cluster: the host's name, the cluster's of the node.
    """

    piece: Piece[T]
    returned: T | None = None
    error: Exception | None = None
    host: str = ""
    node: str = ""

    def get(self) -> T:
        """What it returned.  Raises: what it raised."""
        if self.error is not None:
            raise self.error
        return self.returned  # type: ignore[return-value]  # what returns None has None for T


class Engine(Protocol):
    """Where pieces run."""

    def run(self, pieces: Iterable[Piece[T]]) -> Generator[Outcome[T]]:
        """The outcome of each piece as soon as it is there, in any order.

        Pieces are asked for when there is room for them, so that there may be any number of them.
        Whoever stops iterating, closes: what runs then is ended.
        """

    def everywhere(self, function: Callable[..., T], *arguments: Any, needs: Needs) -> list[T]:
        """What ``function`` returns on each machine that could run a piece with such ``needs``."""
