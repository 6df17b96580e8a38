"""Pieces of work as tasks of a Ray cluster."""

from __future__ import annotations

import collections
import contextlib
import functools
import math
import pickle
import platform
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from vidcost.bench.engine.cluster import NODE_LABEL, TYPE_LABEL, Node, nodes, ray_module
from vidcost.bench.engine.work import Lost, Needs, Outcome, Piece, Unfit
from vidcost.bench.errors import named

T = TypeVar("T")

TRIES = 3
"""How often a piece is begun whose process or node is lost."""

PAUSES_S = (2.0, 10.0)
"""Before the second and the third try: a node that was lost is listed as alive for a while."""

SHUNNED_S = 60.0
"""How long a node that lost a piece, or could not do it, is left alone if there are others: what
fails fails fast, so a broken node would be the first to be free each time."""

_WORDS: Mapping[Needs, str] = {"core": "cores", "machine": "cores", "gpu": "such a GPU"}

LOOK_S = 1.0
"""How often the list of nodes is read anew."""

ANSWER_S = 180.0
"""How long a node may take to say what it is: a process of Python that imports torch."""

AHEAD = 2
"""Tasks that are handed to Ray for each that can run, so that no core waits for this process."""

AT_LEAST = 8
"""Tasks that are handed to Ray however small the cluster: one that can grow grows by what waits."""


@dataclass(frozen=True)
class _Flight(Generic[T]):
    """A piece that Ray has: its number of tries, and the node it was put on, if it was."""

    piece: Piece[T]
    tries: int
    node: str | None = None


class OnRay:
    """The cluster that this process has joined.

    A core is any node's; a GPU is a whole one, of one of ``gpu_types`` if there are any. A piece
    that needs a machine is put on a node that has none of this run, and asks for all of its cores,
    so that Ray gives none of them to anything else. ``on_note`` is told what a person should know.
    """

    def __init__(
        self, *, gpu_types: Sequence[str] = (), on_note: Callable[[str], None] = lambda _: None
    ) -> None:
        self.gpu_types = tuple(gpu_types)
        self.on_note = on_note

    def run(self, pieces: Iterable[Piece[T]]) -> Generator[Outcome[T]]:
        """See :class:`~vidcost.bench.engine.work.Engine`.

        A piece whose process or node is lost is tried again, elsewhere if there is an elsewhere;
        after :data:`TRIES` its outcome is :class:`Lost`.
        """
        run = _Run(self, pieces)
        with contextlib.closing(run):
            yield from run.outcomes()

    def everywhere(self, function: Callable[..., T], *arguments: Any, needs: Needs) -> list[T]:
        """What ``function`` returns on each node that could run a piece with such ``needs``.

        It takes no core and no GPU. A node that is lost meanwhile is left out.
        Raises: ValueError if there is no such node, or one cannot run vidcost; what ``function``
                raises.
        """
        ray = ray_module()
        suiting = [node for node in nodes() if node.suits(needs, self.gpu_types)]
        if not suiting:
            raise ValueError(
                f"no node of the Ray cluster has {_WORDS[needs]}: `ray status` shows them"
            )
        asked = {_submitted(function, arguments, _pinned(node)): node for node in suiting}
        found: list[T] = []
        _, late = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
        for ref, node in asked.items():
            if ref in late:
                ray.cancel(ref, force=True)
                self.on_note(f"{node.host} did not answer within {ANSWER_S:g} s and is not asked")
                continue
            try:
                found.append(ray.get(ref).get())
            except _lost() as error:
                self.on_note(f"{node.host} was lost: {_line(error)}")
            except ray.exceptions.RayError as error:
                raise _unable(node.host, error) from None
        return found


class _Run(Generic[T]):
    """One iteration: what waits, what Ray has, which nodes are busy."""

    def __init__(self, engine: OnRay, pieces: Iterable[Piece[T]]) -> None:
        self._engine = engine
        self._ray = ray_module()
        self._pieces = iter(pieces)
        # pieces that came back or found no place: when they may go, and with how many tries behind
        self._waiting: collections.deque[tuple[float, _Flight[T]]] = collections.deque()
        self._flying: dict[Any, _Flight[T]] = {}
        self._nodes: list[Node] = []
        self._looked = -math.inf
        self._shunned: dict[str, float] = {}
        self._said_none = False

    def outcomes(self) -> Iterator[Outcome[T]]:
        while self._fill() or self._flying or self._waiting:
            if not self._flying:
                time.sleep(0.05)
                continue
            for ref in self._ready():
                flight = self._flying.pop(ref)
                outcome = self._outcome(flight, ref)
                # the store's copy goes before the next is asked for
                del ref
                if outcome is not None:
                    yield outcome

    def close(self) -> None:
        """End what still runs.

        What waits goes first: a core that is set free would take the next of them, and Ray 2.60 has
        been seen to end this process when what it cancels is on its way to a core.
        """
        for ref in reversed(self._flying):
            with contextlib.suppress(Exception):
                self._ray.cancel(ref, force=True)
        self._flying.clear()

    def _ready(self) -> list[Any]:
        refs = list(self._flying)
        # a first one, and whatever else is there by then
        first, rest = self._ray.wait(refs, num_returns=1, timeout=LOOK_S)
        if not first or not rest:
            return list(first)
        more, _ = self._ray.wait(rest, num_returns=len(rest), timeout=0)
        return [*first, *more]

    def _fill(self) -> bool:
        """Hand over what there is room for; whether anything was."""
        began = False
        while (flight := self._next()) is not None:
            placed = self._place(flight)
            if placed is None:
                self._waiting.appendleft((0.0, flight))
                break
            node, options = placed
            piece = flight.piece
            ref = _submitted(piece.function, piece.arguments, options)
            self._flying[ref] = replace(flight, node=node, tries=flight.tries + 1)
            began = True
        return began

    def _next(self) -> _Flight[T] | None:
        """What is to be begun next, if anything is: first what came back."""
        now = time.monotonic()
        for index, (due, flight) in enumerate(self._waiting):
            if due <= now:
                del self._waiting[index]
                return flight
        piece = next(self._pieces, None)
        return None if piece is None else _Flight(piece, 0)

    def _place(self, flight: _Flight[T]) -> tuple[str | None, dict[str, Any]] | None:
        """Where it may go now and what it asks for; None if there is no room."""
        needs = flight.piece.needs
        suiting = [node for node in self._alive() if node.suits(needs, self._engine.gpu_types)]
        if not suiting and not self._said_none:
            self._said_none = True
            self._engine.on_note(f"no node that has {_WORDS[needs]} is left: waiting for one")
        now = time.monotonic()
        shunned = [node.id for node in suiting if self._shunned.get(node.id, now) > now]
        if len(shunned) == len(suiting):
            shunned = []
        if needs == "machine":
            taken = {*shunned, *(each.node for each in self._flying.values())}
            for node in suiting:
                if node.id not in taken:
                    return node.id, _pinned(node) | {"num_cpus": node.cores}
            return None
        room = sum(node.gpus if needs == "gpu" else node.cores for node in suiting)
        if len(self._flying) >= max(AT_LEAST, AHEAD * room):
            return None
        labels = {NODE_LABEL: f"!in({','.join(shunned)})"} if shunned else {}
        if needs == "core":
            # by labels or spread, not both
            chosen = {"label_selector": labels} if labels else {"scheduling_strategy": "SPREAD"}
            return None, {"num_cpus": 1, **chosen}
        if self._engine.gpu_types:
            labels[TYPE_LABEL] = f"in({','.join(self._engine.gpu_types)})"
        return None, {"num_cpus": 1, "num_gpus": 1, "label_selector": labels}

    def _alive(self) -> list[Node]:
        now = time.monotonic()
        if now - self._looked >= LOOK_S:
            self._nodes, self._looked = nodes(), now
        return self._nodes

    def _outcome(self, flight: _Flight[T], ref: Any) -> Outcome[T] | None:
        """None if it is to be tried again."""
        try:
            said = self._ray.get(ref)
        except _lost() as error:
            return self._again(flight, _line(error))
        except self._ray.exceptions.RayError as error:
            return Outcome(flight.piece, error=_unable("a node", error))
        if isinstance(said.error, Unfit):
            return self._again(replace(flight, node=said.node), f"{said.host}: {said.error}")
        return Outcome(flight.piece, said.returned, said.error, said.host, said.node)

    def _again(self, flight: _Flight[T], why: str) -> Outcome[T] | None:
        """Have it wait for another try, or give it up."""
        if flight.node is not None:
            self._shunned[flight.node] = time.monotonic() + SHUNNED_S
        # what died with it need not be listed as dead yet
        self._looked = -math.inf
        if flight.tries >= TRIES:
            return Outcome(flight.piece, error=Lost(f"lost {flight.tries} times, at last: {why}"))
        self._engine.on_note(f"{flight.piece.name} is tried again: {why}")
        self._waiting.append((time.monotonic() + PAUSES_S[flight.tries - 1], flight))
        return None


def _pinned(node: Node) -> dict[str, Any]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node.id, soft=False)}


def _submitted(function: Callable[..., Any], arguments: Sequence[Any], options: Any) -> Any:
    """A task, which Ray itself never repeats: what is lost is counted here."""
    remote = _remote("num_gpus" in options)
    return remote.options(**({"num_cpus": 0} | options)).remote(function, tuple(arguments))


@functools.cache
def _remote(on_gpu: bool) -> Any:
    """One for all tasks: each that is made anew is sent to the nodes anew."""
    # a worker of Ray's touches no GPU here, so it need not end to give one back
    gpus = {"num_gpus": 1} if on_gpu else {}
    return ray_module().remote(num_cpus=0, max_calls=0, max_retries=0, **gpus)(_called)


@dataclass(frozen=True)
class _Said:
    """What a node answers."""

    returned: Any
    error: Exception | None
    host: str
    node: str

    def get(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.returned


def _called(function: Callable[..., T], arguments: tuple[Any, ...]) -> _Said:
    """On the node: call, and say what came of it."""
    node = ray_module().get_runtime_context().get_node_id()
    try:
        return _Said(function(*arguments), None, platform.node(), node)
    except Exception as error:
        return _Said(None, _sendable(error), platform.node(), node)


def _sendable(error: Exception) -> Exception:
    """The error, or its words if it does not survive being sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(named(error))
    return error


def _lost() -> tuple[type[Exception], ...]:
    """What Ray raises for a piece that may well succeed elsewhere, or later."""
    errors = ray_module().exceptions
    return (
        errors.WorkerCrashedError,
        errors.NodeDiedError,
        errors.LocalRayletDiedError,
        errors.OutOfMemoryError,
        errors.ObjectLostError,
        errors.ObjectStoreFullError,
        errors.OutOfDiskError,
        errors.TaskUnschedulableError,
        errors.RpcError,
    )


def _unable(host: str, error: Exception) -> ValueError:
    """What Ray says of a task that could not be begun, or answered: modules differ, mostly."""
    return ValueError(
        f"{host} cannot run vidcost: {_line(error)}: install it there as it is installed here"
    )


def _line(error: Exception) -> str:
    """The first sentence: Ray adds advice on several lines."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text.partition('. ')[0]}"[:300]
