"""What a measurement depends on besides its cell, known before a worker is started."""

import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import vidcost.bench.user
from vidcost.bench import block_spec, call, process
from vidcost.bench.timing.machine import describe
from vidcost.bench.timing.record import Machine
from vidcost.papers.catalog import row_files

PROBE_LIMIT_S = 120

PARENT = frozenset("budget conditions figures locks parent plan predict store stored sweep".split())
"""Modules beside this one that only the parent runs: no sample depends on them."""

_PROBE = """\
import sys
from vidcost.bench.timing.machine import describe
print(describe(sys.argv[1]).model_dump_json())
"""


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
        probe = subprocess.run(
            [sys.executable, "-P", "-c", _PROBE, device],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROBE_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"{device} did not answer within {PROBE_LIMIT_S} s") from None
    if probe.returncode != 0:
        last = probe.stderr.strip().splitlines()[-1:] or [f"exit status {probe.returncode}"]
        raise ValueError(f"cannot use {device}: {last[0].removeprefix('ValueError: ')}")
    return Machine.model_validate_json(probe.stdout)


def conditions(machine: Machine) -> tuple[str, ...]:
    """What a cell's key is made of beside the cell: the code, and all that may change a sample."""
    fields = "device driver cpu cores python torch cuda cudnn triton".split()
    return code_version(), *(str(getattr(machine, name)) for name in fields)


def worker_files() -> list[Path]:
    """The code that a worker runs."""
    timing = (path for path in Path(__file__).parent.glob("*.py") if path.stem not in PARENT)
    user = (path for folder in vidcost.bench.user.__path__ for path in Path(folder).glob("*.py"))
    beside = (Path(str(module.__file__)) for module in (block_spec, call, process))
    return [*row_files(), *beside, *sorted(user), *sorted(timing)]


@cache
def code_version() -> str:
    """A digest of the code that a worker runs."""
    digest = hashlib.sha256()
    for path in worker_files():
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
