"""Calls as tasks of a Ray cluster. Ray schedules them, and repeats those whose node is lost.

This is the only module that imports Ray.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import logging
import os
import pickle
import platform
import socket
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vidcost.bench.engine.calls import Call, Lost, Needs, Outcome, Unfit
from vidcost.bench.errors import named
from vidcost.bench.extras import require

T = TypeVar("T")

TRIES = 3
"""How often a call is made whose process or node is lost, or whose machine cannot do it."""

REACHABLE_S = 5.0
"""A cluster's head that takes longer to accept a connection counts as absent."""

ANSWER_S = 180.0
"""How long a node may take to describe itself: it starts a Python process that imports torch."""

STORE_BYTES = 1 << 28
"""Object store of a Ray that is started here: only records pass through it."""

AT_LEAST = 8
"""Tasks handed to Ray however small the cluster, so that one that can grow does."""

TYPE_LABEL = "ray.io/accelerator-type"
"""Ray's label of nodes with GPUs of a type that it knows."""

NOT_SENT = (".git", ".venv", "venv", "__pycache__")
"""Left out of the folder that nodes get, besides what .gitignore names."""


@dataclass(frozen=True)
class Node:
    """A node that is alive: its cores and GPUs as Ray counts them, and their type if known."""

    id: str
    host: str
    cores: float
    gpus: float
    gpu_type: str


def nodes() -> list[Node]:
    """Those that are alive, in a fixed order."""
    found = [
        Node(
            id=node["NodeID"],
            host=node["NodeManagerHostname"],
            cores=node["Resources"].get("CPU", 0),
            gpus=node["Resources"].get("GPU", 0),
            gpu_type=node["Labels"].get(TYPE_LABEL, ""),
        )
        for node in _ray().nodes()
        if node["Alive"]
    ]
    return sorted(found, key=lambda node: node.id)


@contextlib.contextmanager
def joined(address: str | None, *, folder: Path | None = None) -> Iterator[None]:
    """Within the block this process drives the cluster at ``address``.

    None is the cluster that RAY_ADDRESS names, else the one that runs on this machine, else one
    that is started here and ends with the block. ``folder`` is sent to the nodes; calls run in it.
    Raises: ValueError if Ray is not installed, no cluster answers, or it is of another version.
    """
    require("ray")
    ray = _ray()
    # or a Ray that is started here would report to its makers
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # without it a task that lacks memory is repeated for ever
    os.environ.setdefault("RAY_task_oom_retries", str(TRIES - 1))
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        _check(address)
    # a job from `ray job submit` has sent its folder already
    submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    sent = {"working_dir": str(folder), "excludes": list(NOT_SENT)}
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": sent if folder and not submitted else None,
    }
    alone = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    # Ray prints a page for every node that is lost, between output that others parse
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            try:
                ray.init(address=address or "auto", **options)
            except ConnectionError:
                if address:
                    raise
                ray.init(address="local", **alone, **options)
        except Exception as error:
            # Ray raises many kinds of errors: RuntimeError for another version, for example
            where = f"the Ray cluster at {address}" if address else "Ray on this machine"
            raise ValueError(f"cannot use {where}: {_line(error)}") from None
        try:
            yield
        finally:
            ray.shutdown()


def _check(address: str) -> None:
    """Reject an address where nothing answers, for which Ray itself would wait a minute."""
    if address in ("auto", "local"):
        return
    if "://" in address:
        raise ValueError(
            f"--address {address}: give host:port, as `ray start --head` prints it, on a machine "
            "of the cluster, or hand the command to `ray job submit`"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--address {address} is none: give host:port, such as 10.0.0.1:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHABLE_S).close()
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"no Ray cluster answers at {address} ({error}): `ray start --head` starts one"
        ) from None


def check_types(asked: Sequence[str]) -> tuple[str, ...]:
    """The types of GPU that are ``asked`` for, as the cluster writes them.

    Raises: ValueError if it has no GPU, or one of these types is not in it.
    """
    types = sorted({node.gpu_type for node in nodes() if node.gpus >= 1})
    if not types:
        raise ValueError("the Ray cluster has no GPU: give --device cpu")
    by_name = {name.casefold(): name for name in types if name}
    for each in asked:
        if each.casefold() not in by_name:
            known = ", ".join(by_name.values()) or "GPUs without a type"
            raise ValueError(f"the Ray cluster has no GPU of type {each!r}: it has {known}")
    return tuple(by_name[each.casefold()] for each in asked)


class OnRay:
    """The cluster that this process has joined; see :class:`vidcost.bench.engine.calls.Engine`.

    A call that needs a GPU has a whole one, of one of ``gpu_types`` if there are any. A call that
    needs a machine takes as many cores as the largest nodes have, so smaller nodes are not used.
    ``on_note`` is told what a person should know.
    """

    def __init__(
        self, *, gpu_types: Sequence[str] = (), on_note: Callable[[str], None] = lambda _: None
    ) -> None:
        self._gpu_types = tuple(gpu_types)
        self._on_note = on_note

    def run(self, calls: Iterable[Call[T]]) -> Generator[Outcome[T]]:
        """See :class:`~vidcost.bench.engine.calls.Engine`.

        A call that is lost :data:`TRIES` times has :class:`Lost` as its outcome.
        """
        ray = _ray()
        numbered = enumerate(calls)
        flying: dict[Any, tuple[int, Call[T]]] = {}
        try:
            while True:
                resources = ray.cluster_resources()
                slots = resources.get("CPU", 0) + resources.get("GPU", 0)
                room = max(AT_LEAST, int(2 * slots)) - len(flying)
                for number, call in itertools.islice(numbered, max(0, room)):
                    task = _submitted(call.function, call.arguments, self._options(call.needs))
                    flying[task] = number, call
                if not flying:
                    return
                # with a limit, so that Ctrl-C is noticed
                done, _ = ray.wait(list(flying), num_returns=1, timeout=1.0)
                for task in done:
                    yield _outcome(*flying.pop(task), task)
        finally:
            # those that wait first: otherwise a core that becomes free would start the next one
            for task in reversed(flying):
                with contextlib.suppress(Exception):
                    ray.cancel(task, force=True)

    def everywhere(self, function: Callable[..., T], *arguments: Any, needs: Needs) -> list[T]:
        """See :class:`~vidcost.bench.engine.calls.Engine`. A node without an answer is left out.

        Raises: ValueError if there is no such node, or one cannot run vidcost; what ``function``
                raises.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        suiting = [node for node in nodes() if self._suits(node, needs)]
        if not suiting:
            words = "such a GPU" if needs == "gpu" else "cores"
            raise ValueError(f"no node of the Ray cluster has {words}: `ray status` shows them")
        asked = []
        for node in suiting:
            pinned = NodeAffinitySchedulingStrategy(node.id, soft=False)
            options = {"num_cpus": 0, "scheduling_strategy": pinned}
            asked.append(_submitted(function, arguments, options))
        found: list[T] = []
        for node, task in zip(suiting, asked, strict=True):
            outcome = _outcome(0, Call(node.host, function), task, timeout=ANSWER_S)
            if isinstance(outcome.error, Lost):
                self._on_note(f"{node.host} is left out: {outcome.error}")
                continue
            found.append(outcome.get())
        return found

    def _suits(self, node: Node, needs: Needs) -> bool:
        if needs != "gpu":
            return node.cores >= 1
        return node.gpus >= 1 and (not self._gpu_types or node.gpu_type in self._gpu_types)

    def _options(self, needs: Needs) -> dict[str, Any]:
        """What Ray is asked for."""
        if needs == "machine":
            cores = max((node.cores for node in nodes()), default=1)
            return {"num_cpus": cores, "scheduling_strategy": "SPREAD"}
        if needs == "core":
            return {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
        types = {TYPE_LABEL: f"in({','.join(self._gpu_types)})"} if self._gpu_types else {}
        return {"num_cpus": 1, "num_gpus": 1, "label_selector": types}


def _ray() -> Any:
    import ray

    return ray


def _submitted(function: Callable[..., Any], arguments: Sequence[Any], options: Any) -> Any:
    return _remote("num_gpus" in options).options(**options).remote(function, tuple(arguments))


@functools.cache
def _remote(on_gpu: bool) -> Any:
    """One for all tasks: Ray would send each new one to the nodes again."""
    # Ray's process touches no GPU itself, so it need not end to give one back
    gpus = {"num_gpus": 1} if on_gpu else {}
    repeated = {"max_retries": TRIES - 1, "retry_exceptions": [Unfit]}
    return _ray().remote(num_cpus=0, max_calls=0, **repeated, **gpus)(_called)


_Answer = tuple[Any, Exception | None, str, str]


def _called(function: Callable[..., Any], arguments: tuple[Any, ...]) -> _Answer:
    """On the node: what the call returned or raised, the host, and the id of the node."""
    node = _ray().get_runtime_context().get_node_id()
    try:
        return function(*arguments), None, platform.node(), node
    except Unfit as error:
        # Ray repeats it
        raise Unfit(f"{platform.node()}: {error}") from None
    except Exception as error:
        return None, _sendable(error), platform.node(), node


def _sendable(error: Exception) -> Exception:
    """The error, or its message if it does not survive being sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(named(error))
    return error


def _outcome(number: int, call: Call[T], task: Any, *, timeout: float | None = None) -> Outcome[T]:
    errors = _ray().exceptions
    lost = f"lost {TRIES} times, at last: "
    try:
        returned, error, host, node = _ray().get(task, timeout=timeout)
    except Unfit as unfit:
        cause = getattr(unfit, "cause", unfit)
        return Outcome(number, call.name, error=Lost(f"{lost}{cause}"))
    except (errors.RayTaskError, errors.RaySystemError, errors.RuntimeEnvSetupError) as failed:
        raise ValueError(
            f"a node cannot run vidcost: {_line(failed)}: install it there as it is installed here"
        ) from None
    except errors.RayError as failed:
        return Outcome(number, call.name, error=Lost(f"{lost}{_line(failed)}"))
    return Outcome(number, call.name, returned, error, host, node)


def _line(error: Exception) -> str:
    """The first sentence: Ray adds advice on several lines."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text.partition('. ')[0]}"[:300]
