"""A lock for each GPU and each CPU, so that two programs never measure on one at the same time."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from vidcost.bench.timing.machine import allowed_cpus, cpus_for
from vidcost.bench.timing.record import UNKNOWN, Machine


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
