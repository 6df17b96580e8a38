"""Calls as tasks of a Ray cluster. Ray schedules them, and repeats those whose node is lost.

This is the only module that imports Ray.
"""

import contextlib
import io
import logging
import os
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from vidcost.bench.extras import require

T = TypeVar("T")

RETRIES = 2
"""How often Ray repeats a task whose process, node or memory is lost."""

REACHABLE_S = 5.0
"""A cluster's head that takes longer to accept a connection counts as absent."""

STORE_BYTES = 1 << 28
"""Object store of a Ray that is started here: only records pass through it."""

NOT_SENT = (".git", ".venv", "venv", "__pycache__")
"""Left out of the folder that nodes get, besides what .gitignore names."""


class Lost(Exception):
    """A task that was lost each time it was tried, with its process or its node."""


@contextlib.contextmanager
def joined(address: str | None, *, folder: Path | None = None) -> Iterator[None]:
    """Within the block this process drives the cluster at ``address``.

    None is the cluster that RAY_ADDRESS names, else the one that runs on this machine, else one
    that is started here and ends with the block. ``folder`` is sent to the nodes; tasks run in it.
    Raises: ValueError if Ray is not installed, no cluster answers, or it is of another version.
    """
    require("ray")
    ray = _ray()
    # a Ray that is started here would report to its makers
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # by default a task that lacks memory is repeated for ever
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
    address = address or os.environ.get("RAY_ADDRESS")
    _check(address)
    # a job from `ray job submit` has sent its folder already
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        folder = None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if folder is not None:
        options["runtime_env"] = {"working_dir": str(folder), "excludes": list(NOT_SENT)}
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
        # Ray raises many kinds of errors: RuntimeError for another version, for example
        except Exception as error:
            raise ValueError(f"cannot use Ray at {address or 'local'}: {_line(error)}") from None
        try:
            yield
        finally:
            ray.shutdown()


def _check(address: str | None) -> None:
    """Reject an address where nothing answers, for which Ray itself would wait a minute."""
    if address in (None, "auto", "local"):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHABLE_S).close()
    except (OSError, OverflowError, ValueError) as error:
        raise ValueError(
            f"no Ray cluster answers at {address} ({error}): give HOST:PORT as `ray start --head` "
            "prints it, on a machine of the cluster, or hand the command to `ray job submit`"
        ) from None


def cores() -> int:
    """The cores of the largest node, which a task on a CPU has for itself."""
    ray = _ray()
    return int(max((n["Resources"].get("CPU", 1) for n in ray.nodes() if n["Alive"]), default=1))


def outcomes(
    function: Callable[..., T], calls: Sequence[tuple[Any, ...]], *, device: str, gpu: str | None
) -> Generator[tuple[int, T | Exception]]:
    """What ``function`` returns or raises for each of ``calls``, by number, as soon as it is done.

    A task on a CPU has all cores of one of the largest nodes, one on "cuda" a whole GPU, of the
    type ``gpu`` if it is given. Closing the generator ends the tasks that still run.
    Raises: ValueError if the cluster has no such GPU, or a node cannot run vidcost.
    """
    ray = _ray()
    needs: dict[str, Any] = {"num_cpus": cores(), "scheduling_strategy": "SPREAD"}
    if device != "cpu":
        needs = {"num_cpus": 1, "num_gpus": 1, "accelerator_type": gpu}
        if (f"accelerator_type:{gpu}" if gpu else "GPU") not in ray.cluster_resources():
            wanted = f"GPU of type {gpu}" if gpu else "GPU"
            raise ValueError(f"the Ray cluster has no {wanted}: `ray status` shows what it has")
    # Ray's process touches no GPU itself, so it need not end to give one back
    task = ray.remote(max_calls=0, max_retries=RETRIES, **needs)(function)
    running = {task.remote(*arguments): number for number, arguments in enumerate(calls)}
    try:
        while running:
            # with a limit, so that Ctrl-C is noticed
            for done in ray.wait(list(running), timeout=1.0)[0]:
                yield running.pop(done), _outcome(done)
    finally:
        # those that wait first: otherwise a core that becomes free would start the next one
        for each in reversed(running):
            with contextlib.suppress(Exception):
                ray.cancel(each, force=True)


def _outcome(task: Any) -> Any:
    from ray import exceptions

    try:
        return _ray().get(task)
    except exceptions.RayTaskError as error:
        failed: Exception = getattr(error, "cause", error)
        if not isinstance(failed, ImportError):
            return failed
    except (exceptions.RaySystemError, exceptions.RuntimeEnvSetupError) as error:
        failed = error
    except exceptions.RayError as error:
        return Lost(f"lost {RETRIES + 1} times, at last: {_line(error)}")
    raise ValueError(
        f"a node cannot run vidcost: {_line(failed)}: install it there as it is installed here"
    )


def _ray() -> Any:
    import ray

    return ray


def _line(error: Exception) -> str:
    """The first sentence: Ray adds advice on several lines."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text.partition('. ')[0]}"[:300]
