"""The machine that a measurement runs on."""

import os
import platform
import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from vidcost.bench.timing.record import UNKNOWN, Machine
from vidcost.bench.timing.telemetry import driver


def describe(device: str) -> Machine:
    """The machine, as ``device`` (torch's name) sees it.

    Raises: ValueError if there is no such device.
    """
    try:
        kind = torch.device(device)
    except RuntimeError:
        raise ValueError(f"no device {device!r}: choose cpu or cuda") from None
    if kind.type not in ("cpu", "cuda"):
        raise ValueError(f"{device} is not timed here: choose cpu or cuda")
    cpu = _cpu()
    return Machine(
        **({"device": cpu} if kind.type == "cpu" else _gpu(kind)),
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


def _gpu(device: torch.device) -> dict[str, str]:
    check_device(str(device))
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


def last_cache_bytes(cpus: Path = Path("/sys/devices/system/cpu")) -> int | None:
    """The last caches of the CPUs this process may run on, together; None where nobody says."""
    caches: dict[tuple[int, str], int] = {}
    for cpu in allowed_cpus():
        for folder in (cpus / f"cpu{cpu}" / "cache").glob("index*"):
            try:
                level = int((folder / "level").read_text())
                kibibytes = (folder / "size").read_text().strip().removesuffix("K")
                # one cache is listed under every CPU that shares it
                caches[level, (folder / "shared_cpu_list").read_text()] = 1024 * int(kibibytes)
            except (OSError, ValueError):
                continue
    last = max((level for level, _ in caches), default=0)
    return sum(size for (level, _), size in caches.items() if level == last) or None


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


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return UNKNOWN
