"""Function calls as units of work, what becomes of them, and the engine that makes them here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from vidcost.bench.exit_status import Ending

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Needs = Literal["core", "machine", "gpu"]
"""What a call has for itself: a core, a machine with all its cores, or a whole GPU."""


class Lost(Ending):
    """A call that was lost each time it was tried, with its process, its node or its answer."""


class Unfit(Exception):
    """Raised by a call that this machine cannot do and another one may."""


@dataclass(frozen=True)
class Call(Generic[T_co]):
    """A call of ``function`` with ``arguments``; ``name`` is for people.

    On another machine the function is found by its module and name; arguments and result are
    pickled.
    """

    name: str
    function: Callable[..., T_co]
    arguments: tuple[Any, ...] = ()
    needs: Needs = "core"


@dataclass(frozen=True)
class Outcome(Generic[T_co]):
    """What call ``number`` (from 0) returned, or raised, which may be :class:`Lost`.

    ``host`` and ``node`` say where on a cluster it ran: the host's name and Ray's id of the node.
    """

    number: int
    name: str
    returned: T_co | None = None
    error: Exception | None = None
    host: str = ""
    node: str = ""

    def get(self) -> T_co:
        """What the call returned.  Raises: what it raised."""
        if self.error is not None:
            raise self.error
        return self.returned  # type: ignore[return-value]  # what returns None has None for T


class Engine(Protocol):
    """Makes calls."""

    def run(self, calls: Iterable[Call[T]]) -> Generator[Outcome[T]]:
        """The outcome of each call as soon as it is there, in any order.

        Calls are taken from ``calls`` as there is room for them. Closing the generator ends what
        still runs.
        """

    def everywhere(self, function: Callable[..., T], *arguments: Any, needs: Needs) -> list[T]:
        """What ``function`` returns on each machine that could make a call with such ``needs``."""


class Here:
    """Makes calls in this process, one after another."""

    def run(self, calls: Iterable[Call[T]]) -> Generator[Outcome[T]]:
        """See :class:`Engine`."""
        for number, call in enumerate(calls):
            try:
                outcome = Outcome(number, call.name, call.function(*call.arguments))
            except Exception as error:
                outcome = Outcome(number, call.name, error=error)
            yield outcome

    def everywhere(self, function: Callable[..., T], *arguments: Any, needs: Needs) -> list[T]:
        """See :class:`Engine`."""
        return [function(*arguments)]


def results(
    engine: Engine,
    calls: Iterable[Call[T]],
    *,
    advance: Callable[[str], None] = lambda name: None,
) -> list[T | Lost]:
    """What each call returned, in the order of ``calls``; :class:`Lost` for those that were lost.

    ``advance`` is called with the name of each call that is done.
    Raises: what a call raises, as soon as it does.
    """
    found: dict[int, T | Lost] = {}
    with contextlib.closing(engine.run(calls)) as outcomes:
        for outcome in outcomes:
            lost = isinstance(outcome.error, Lost)
            found[outcome.number] = outcome.error if lost else outcome.get()  # type: ignore[assignment]
            advance(outcome.name)
    return [found[number] for number in sorted(found)]
