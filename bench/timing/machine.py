"""The machine that a measurement runs on, its locks, and whatever else a sample depends on."""

import contextlib
import hashlib
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch
from filelock import FileLock, Timeout

import vidcost.bench.user
from vidcost.bench import block_spec, call, isolation, process
from vidcost.bench.isolation import Failed, isolated
from vidcost.bench.timing.record import UNKNOWN, Machine
from vidcost.bench.timing.telemetry import Watch, driver
from vidcost.papers.catalog import row_files

PROBE_LIMIT_S = 120

PARENT = frozenset("figures on_ray parent plan store sweep".split())
"""Modules beside this one that only the parent runs: no sample depends on them."""


def describe(device: str) -> Machine:
    """The machine, as ``device`` (torch's name) sees it.  Raises: as :func:`check_device`."""
    cpu = _cpu()
    return Machine(
        **({"device": cpu} if check_device(device) == "cpu" else _gpu(device)),
        cpu=cpu,
        cores=usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
        platform=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        vidcost=_version("vidcost"),
    )


def check_device(device: str) -> str:
    """``cpu``, ``cuda`` or ``cuda:1`` as it is.

    Raises: ValueError if there is no such device.
    """
    if device == "cpu":
        return device
    found = re.fullmatch(r"cuda(?::(\d+))?", device, re.ASCII)
    if not found:
        raise ValueError(f"no device {device!r}: choose cpu, cuda or, of several, cuda:1")
    devices = torch.cuda.device_count()
    if not devices:
        raise ValueError("no CUDA device: choose --device cpu")
    if int(found[1] or 0) >= devices:
        raise ValueError(f"no device {device!r}: there are cuda:0 to cuda:{devices - 1}")
    return device


def default_threads(device: str) -> int:
    """The cores this process may use on a CPU; on a GPU the one that feeds it."""
    return usable_cores() if device == "cpu" else 1


def _gpu(device: str) -> dict[str, str]:
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": properties.name,
        # NVML names a device by this, not by torch's number
        "device_uuid": f"GPU-{properties.uuid}" if hasattr(properties, "uuid") else UNKNOWN,
        "driver": driver(),
        "cuda": torch.version.cuda or UNKNOWN,
        "cudnn": str(torch.backends.cudnn.version() or UNKNOWN),  # type: ignore[no-untyped-call]
        "triton": _version("triton"),
    }


@cache
def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    # py-cpuinfo knows more systems, but asks other programs for 2.7 s in every worker
    return named[0] if named else platform.processor() or platform.machine()


def allowed_cpus() -> list[int]:
    """The CPUs that this process may run on, by number; none where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def cpus_for(
    threads: int, allowed: Sequence[int], cpus: Path = Path("/sys/devices/system/cpu")
) -> tuple[int, ...]:
    """The CPUs that so many threads are pinned to: one of each core first, then their siblings."""
    firsts: dict[str, int] = {}
    for cpu in allowed:
        try:
            core = (cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
        except OSError:
            core = str(cpu)
        firsts.setdefault(core, cpu)
    siblings = [cpu for cpu in allowed if cpu not in firsts.values()]
    return tuple([*firsts.values(), *siblings][:threads])


def usable_cores() -> int:
    """The number of cores that this process may run on."""
    return len(allowed_cpus()) or os.cpu_count() or 1


def clocks(machine: Machine) -> dict[str, int]:
    """The highest clocks of the CPU and of the GPU of ``machine`` in MHz, as far as they are known.

    A clock of now differs from one moment to the next.
    """
    frequency = psutil.cpu_freq()
    cpu = {"cpu": round(frequency.max)} if frequency and frequency.max else {}
    with Watch(machine.device_uuid) as watch:
        return cpu | watch.highest_clocks()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return UNKNOWN


# what the parent knows before a worker is started


def machine_of(device: str) -> Machine:
    """The machine of ``device``, in torch's numbering.

    A GPU is looked at by a process that then ends, so this one never holds memory on it. It sees
    what a worker will see: ``CUDA_VISIBLE_DEVICES`` by index, UUID or MIG instance is CUDA's to
    read, in an order that NVML does not share.
    Raises: ValueError if there is no such device.
    """
    # a process of Ray's is given one GPU after another
    return _machine(device, os.environ.get("CUDA_VISIBLE_DEVICES"))


@cache
def _machine(device: str, visible: str | None) -> Machine:
    if device == "cpu":
        return describe(device)
    try:
        return isolated(PROBE_LIMIT_S, describe, device)
    except Failed as failed:
        raise ValueError(f"cannot use {device}: {failed}") from None


def conditions(machine: Machine) -> tuple[str, ...]:
    """What a cell's key is made of beside the cell: the code, and all that may change a sample."""
    fields = "device driver cpu cores python torch cuda cudnn triton".split()
    return code_version(), *(str(getattr(machine, name)) for name in fields)


def worker_files() -> list[Path]:
    """The code that a worker runs."""
    timing = (path for path in Path(__file__).parent.glob("*.py") if path.stem not in PARENT)
    user = (path for folder in vidcost.bench.user.__path__ for path in Path(folder).glob("*.py"))
    beside = (Path(str(module.__file__)) for module in (block_spec, call, isolation, process))
    return [*row_files(), *beside, *sorted(user), *sorted(timing)]


@cache
def code_version() -> str:
    """A digest of the code that a worker runs."""
    digest = hashlib.sha256()
    for path in worker_files():
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def names_of(device: str, threads: int, machine: Machine) -> list[str]:
    """The names of the locks that a measurement on ``device`` needs: its GPU's, or its CPUs'."""
    if device == "cpu":
        return [f"cpu-{cpu}" for cpu in sorted(cpus_for(threads, allowed_cpus()))]
    return [machine.device_uuid if machine.device_uuid != UNKNOWN else device.replace(":", "-")]


@contextlib.contextmanager
def locked(names: Iterable[str], say: Callable[[str], None]) -> Iterator[None]:
    """Hold the locks of ``names``; ``say`` is told of one that another program holds.

    They lie in the folder ``VIDCOST_LOCKS`` or the system's temporary one, so that other users are
    waited for as well. Where none can be made, there is none.
    """
    folder = Path(os.environ.get("VIDCOST_LOCKS") or Path(tempfile.gettempdir()) / "vidcost-locks")
    with contextlib.ExitStack() as held:
        # in one order for all programs, or two could wait for each other
        for name in names:
            lock = FileLock(folder / f"{name}.lock", mode=0o666)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    say(f"another program measures on {name}: waiting until it is done")
                    lock.acquire()
            except OSError as error:
                say(f"cannot lock {name} ({error.strerror}): another program may measure on it")
                continue
            held.callback(lock.release)
        yield
