"""A sweep on a Ray cluster: one cell is one task, which Ray schedules and repeats if it is lost.

This is the only module that imports Ray.
"""

import contextlib
import io
import logging
import os
import platform
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from vidcost.bench.extras import require
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.parent import COMMAND, Predicted, Supervisor
from vidcost.bench.timing.plan import code_of
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import store_of, stores
from vidcost.bench.timing.sweep import OnProgress, Swept, interrupted

T = TypeVar("T")

RETRIES = 2
"""How often Ray repeats a task whose process, node or memory is lost."""


@contextlib.contextmanager
def joined(address: str | None, *, folder: Path | None = None) -> Iterator[int]:
    """Within the block this process drives the cluster at ``address``; yields a node's cores.

    None is the cluster that RAY_ADDRESS names, else the one that runs on this machine, else one
    that is started here and ends with the block. ``folder`` is sent to the nodes; tasks run in it.
    Raises: ValueError if Ray is not installed, no cluster answers, or it is of another version.
    """
    require("ray")
    import ray

    # a Ray that is started here would report to its makers, and take a third of the memory
    os.environ.setdefault("RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES", str(1 << 28))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # by default a task that lacks memory is repeated for ever
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
    address = address or os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    # a job from `ray job submit` has sent its folder already
    if folder is not None and "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
        left_out = [".git", ".venv", "venv", "__pycache__"]
        options["runtime_env"] = {"working_dir": str(folder), "excludes": left_out}
    # Ray prints a page for every node that is lost, between output that others parse
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            if address not in (None, "auto", "local"):
                # Ray itself would wait a minute for an address where nothing answers
                host, _, port = str(address).rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            ray.init(address=address, **options)
        # Ray raises many kinds of errors: RuntimeError for another version, for example
        except Exception as error:
            raise ValueError(
                f"cannot use Ray at {address or 'local'}: {_line(error)}: give HOST:PORT as "
                "`ray start --head` prints it, or hand the command to `ray job submit`"
            ) from None
        try:
            yield _cores()
        finally:
            ray.shutdown()


def _cores() -> int:
    """The cores of the largest node, which a task on a CPU has for itself."""
    import ray

    nodes = ray.nodes()
    return int(max((n["Resources"].get("CPU", 1) for n in nodes if n["Alive"]), default=1))


def outcomes(
    function: Callable[..., T], calls: Sequence[tuple[Any, ...]], *, device: str, gpu: str | None
) -> Generator[tuple[int, T | Exception]]:
    """What ``function`` returns or raises for each of ``calls``, by number, as soon as it is done.

    A task on a CPU has all cores of one of the largest nodes, one on "cuda" a whole GPU, of the
    type ``gpu`` if it is given. Closing the generator ends the tasks that still run.
    Raises: ValueError if the cluster has no such GPU, or a node cannot run vidcost.
    """
    import ray
    from ray import exceptions

    needs: dict[str, Any] = {"num_cpus": _cores(), "scheduling_strategy": "SPREAD"}
    if device != "cpu":
        needs = {"num_cpus": 1, "num_gpus": 1, "accelerator_type": gpu}
        there = ray.cluster_resources()
        if (f"accelerator_type:{gpu}" if gpu else "GPU") not in there:
            wanted = f"GPU of type {gpu}" if gpu else "GPU"
            raise ValueError(f"the Ray cluster has no {wanted}: `ray status` shows what it has")
    # Ray's process touches no GPU itself, so it need not end to give one back
    task = ray.remote(max_calls=0, max_retries=RETRIES, **needs)(function)
    running = {task.remote(*arguments): number for number, arguments in enumerate(calls)}
    try:
        while running:
            # with a limit, so that Ctrl-C is noticed
            for done in ray.wait(list(running), timeout=1.0)[0]:
                outcome: Any
                try:
                    outcome = ray.get(done)
                except exceptions.RayTaskError as error:
                    outcome = getattr(error, "cause", error)
                except exceptions.RayError as error:
                    outcome = error
                unfit = ImportError, exceptions.RaySystemError, exceptions.RuntimeEnvSetupError
                if isinstance(outcome, unfit):
                    why = f"{_line(outcome)}: install it there as it is installed here"
                    raise ValueError(f"a node cannot run vidcost: {why}")
                yield running.pop(done), outcome
    finally:
        # those that wait first: otherwise a core that becomes free would start the next one
        for each in reversed(running):
            with contextlib.suppress(Exception):
                ray.cancel(each, force=True)


def sweep_on_ray(
    cells: Sequence[Cell],
    results: Path,
    *,
    command: str,
    gpu: str | None = None,
    limits: Limits | None = None,
    resume: bool = False,
    predict: Callable[[Cell], Predicted] = lambda _: Predicted(),
    on_progress: OnProgress = lambda words, done: None,
    worker: Sequence[str] = COMMAND,
) -> Swept:
    """Measure ``cells``, all of one device, on the Ray cluster that this process has joined.

    Each record goes to the file of its machine in ``results``, so unlike machines are never mixed.
    With ``resume`` a node leaves out a cell that is stored as ok for its kind of machine. A cell
    that fails, is lost, or that a node cannot measure has a status; the latter two are not stored.
    Raises: ValueError if there is no such GPU, or a file cannot be written; Interrupted on Ctrl-C,
            with every finished cell stored.
    """
    cells = list(dict.fromkeys(cells))
    known: dict[Cell, dict[str, Timing]] = {cell: {} for cell in cells}
    for store in stores(results) if resume else ():
        for key, timing in store.read().items():
            if timing.cell in known and timing.status == "ok":
                known[timing.cell][key] = timing
    shared = (limits or Limits(), predict, worker)
    calls = [(cell, frozenset(known[cell]), *shared) for cell in cells]
    timings: dict[Cell, Timing] = {}
    notes: list[str] = []
    device = cells[0].device if cells else "cpu"
    try:
        with contextlib.closing(outcomes(_measured, calls, device=device, gpu=gpu)) as running:
            for number, outcome in running:
                cell, words = cells[number], "stored"
                if isinstance(outcome, str):
                    timings[cell] = known[cell][outcome]
                elif isinstance(outcome, Exception):
                    timings[cell] = _failed(cell, outcome)
                    words = timings[cell].status
                else:
                    assert outcome.machine is not None, outcome
                    store = store_of(results, outcome.machine, command=command)
                    notes.append(store.append(outcome))
                    timings[cell], words = outcome, outcome.status
                on_progress(f"{cell.target}: {words}", len(timings))
    except KeyboardInterrupt:
        raise interrupted(len(timings), len(cells), "stored") from None
    return Swept([timings[cell] for cell in cells], list(filter(None, notes)))


def _measured(
    cell: Cell,
    known: frozenset[str],
    limits: Limits,
    predict: Callable[[Cell], Predicted],
    worker: Sequence[str],
) -> Timing | str:
    """On a node: the record of ``cell``, or its key if that is ``known``."""
    blocks = [spec for _, spec in cell.blocks or ()] + ([cell.block] if cell.block else [])
    if code_of(dict.fromkeys(blocks), cell.network or "", cell.inputs) != cell.code:
        raise ValueError(f"the code behind {cell.target} differs on this node")
    supervisor = Supervisor(worker, predict)
    if (key := supervisor.key(cell)) in known:
        return key
    timing = supervisor.measure(cell, limits=limits)[cell]
    assert timing.machine is not None, timing
    machine = timing.machine.model_copy(update={"host": platform.node()})
    return timing.model_copy(update={"machine": machine})


def _failed(cell: Cell, error: Exception) -> Timing:
    """A cell that was lost with its node, process or memory, or that a node could not measure."""
    from ray.exceptions import RayError

    if isinstance(error, RayError):
        lost = f"lost {RETRIES + 1} times, at last: {_line(error)}"
        return Timing(key="", cell=cell, status="killed", error=lost)
    return Timing(key="", cell=cell, status="crashed", error=str(error))


def _line(error: Exception) -> str:
    """The first sentence: Ray adds advice on several lines."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text.partition('. ')[0]}"[:300]
