"""A Ray cluster: joined by its address, or begun on this machine; its nodes and what they have."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidcost.bench.engine.work import Needs

INSTALL = 'pip install "vidcost[ray]"'

REACHABLE_S = 5.0
"""A cluster's head that takes longer to accept a connection is not there."""

STORE_BYTES = 1 << 28
"""Of the object store of a Ray that is begun here: what passes through it are records."""

TYPE_LABEL = "ray.io/accelerator-type"
"""The label that Ray gives to nodes with GPUs of a type that it knows."""

NODE_LABEL = "ray.io/node-id"
"""The label that every node has."""

NOT_SENT = (".git", ".venv", "venv", "__pycache__")
"""Beside what .gitignore names: Ray honours that itself."""


@dataclass(frozen=True)
class Node:
    """A node that is alive: its cores and GPUs as Ray counts them, and the GPUs' type, if known."""

    id: str
    host: str
    cores: float
    gpus: float
    gpu_type: str

    def suits(self, needs: Needs, gpu_types: Sequence[str]) -> bool:
        """Whether a piece with such ``needs`` could run on it."""
        if needs != "gpu":
            return self.cores >= 1
        return self.gpus >= 1 and (not gpu_types or self.gpu_type in gpu_types)


def ray_module() -> Any:
    """The package.  Raises: ValueError if it is not installed."""
    try:
        import ray
    except ImportError:
        raise ValueError(f"--engine ray needs the package ray: {INSTALL}") from None
    return ray


def nodes() -> list[Node]:
    """Those that are alive, in the same order each time."""
    found = []
    for node in ray_module().nodes():
        if not node["Alive"]:
            continue
        resources = node["Resources"]
        kinds = [
            name.partition(":")[2] for name in resources if name.startswith("accelerator_type")
        ]
        found.append(
            Node(
                id=node["NodeID"],
                host=node["NodeManagerHostname"],
                cores=resources.get("CPU", 0),
                gpus=resources.get("GPU", 0),
                gpu_type=node["Labels"].get(TYPE_LABEL, "") or next(iter(kinds), ""),
            )
        )
    return sorted(found, key=lambda node: node.id)


@contextlib.contextmanager
def joined(address: str | None, *, folder: Path | None = None) -> Iterator[None]:
    """Within, this process drives the cluster at ``address``, and prints nothing.

    None is the one that RAY_ADDRESS names, else the one that runs on this machine, else one that is
    begun here and ends with the block. ``folder`` is sent to the nodes, and pieces run in it.
    Raises: ValueError if Ray is not installed, no cluster answers, or it is of another version.
    """
    ray = ray_module()
    # or a Ray that is begun here would tell its makers
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    named = address or os.environ.get("RAY_ADDRESS")
    if named:
        _check(named)
    with contextlib.ExitStack() as stack:
        # pages on every node that is lost, in the middle of what others parse
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        _begin(ray, named, folder)
        stack.callback(ray.shutdown)
        yield


def _begin(ray: Any, named: str | None, folder: Path | None) -> None:
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        # a job that `ray job submit` began has sent its folder already
        "runtime_env": _sent(folder) if folder and not _is_submitted() else None,
    }
    try:
        try:
            ray.init(address=named or "auto", **options)
        except ConnectionError:
            if named:
                raise
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                **options,
            )
    except Exception as error:
        # Ray raises what happens to be at hand: RuntimeError for another version, for example
        where = f"the Ray cluster at {named}" if named else "Ray on this machine"
        said = " ".join(str(error).split()).partition(". ")[0]
        raise ValueError(f"cannot use {where}: {said}") from None


def _is_submitted() -> bool:
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def _sent(folder: Path) -> dict[str, Any]:
    return {"working_dir": str(folder), "excludes": list(NOT_SENT)}


def _check(address: str) -> None:
    """Refuse an address where nothing answers, for which Ray itself would wait a minute."""
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
            f"no Ray cluster answers at {address} ({error}): `ray start --head` begins one"
        ) from None


def check_types(asked: Sequence[str]) -> tuple[str, ...]:
    """The types of GPU that are ``asked`` for, as the cluster writes them.

    Raises: ValueError if it has no GPU, or one of these types is not in it.
    """
    with_gpus = [node for node in nodes() if node.gpus >= 1]
    if not with_gpus:
        raise ValueError("the Ray cluster has no GPU: give --device cpu")
    there = sorted({node.gpu_type for node in with_gpus if node.gpu_type})
    by_name = {name.casefold(): name for name in there}
    for each in asked:
        if each.casefold() not in by_name:
            known = f"it has {', '.join(there)}" if there else "it says no types"
            raise ValueError(f"the Ray cluster has no GPU of type {each!r}: {known}")
    return tuple(by_name[each.casefold()] for each in asked)
