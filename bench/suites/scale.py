"""Measures how a sweep scales on a Ray cluster, and writes results/scale.md: ten minutes.

``python bench/suites/scale.py [--cells N] [--results DIR]``
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from vidcost.bench import files
from vidcost.bench.engine import cluster
from vidcost.bench.engine.on_ray import OnRay
from vidcost.bench.report.timing import timing_table
from vidcost.bench.session.timing import store_of
from vidcost.bench.timing import events
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import conditions, machine_of
from vidcost.bench.timing.kinds import by_kind
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.record import Machine, Protocol, Timing
from vidcost.bench.timing.spread import Spread, spread

COMMAND = "python bench/suites/scale.py"

WORKERS = (1, 2, 4, 8)
CELL_S = 1.0
CELLS_PER_WORKER = 30
GOAL = 0.9

MARKS = (1_000, 10_000, 25_000, 50_000, 75_000, 100_000)
NODES = 4
SAMPLES = 100
"""Of each simulated record, which is then of 3 kB."""

STORE_BYTES = 80 << 20


@dataclass(frozen=True)
class Simulated:
    """A site that measures nothing: a cell takes ``seconds`` of sleep; its record is made up."""

    seconds: float

    def machines(self, device: str) -> list[tuple[Machine, tuple[str, ...]]]:
        machine = machine_of(device)
        return [(machine, conditions(machine))]

    def measure(self, cell: Cell, limits: Limits) -> tuple[tuple[str, ...], Timing]:
        machine = machine_of(cell.device)
        made_under = conditions(machine)
        if self.seconds:
            time.sleep(self.seconds)
        protocol = Protocol(warmup_samples=3, settled=True, precision=0.01, sampling_s=1.0)
        samples = tuple(0.01 + n * 1e-7 for n in range(SAMPLES))
        timing = Timing(
            key=cell.key(*made_under),
            cell=cell,
            machine=machine,
            protocol=protocol,
            samples_s={"latency": samples},
        )
        return made_under, timing


@contextlib.contextmanager
def nodes(count: int) -> Iterator[None]:
    """Be the driver of a cluster of a head and ``count`` nodes of a core each."""
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    begun = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(count):
            begun.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        with cluster.joined(begun.address):
            # what stands in this file is sent: the nodes cannot import it
            ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
            yield
    finally:
        begun.shutdown()


def swept(
    cells: list[Cell], seconds: float, folder: Path, on_done: Callable[[int], None]
) -> tuple[float, Spread]:
    """Seconds from the first cell handed over to the last record on the disk."""
    times: list[float] = []
    done = 0

    def on_event(event: events.Event) -> None:
        nonlocal done
        if isinstance(event, events.CellStarted) and not times:
            times.append(time.monotonic())
        if isinstance(event, events.CellDone):
            done += 1
            on_done(done)

    found = Spread(cells)
    notes: list[str] = []
    spread(
        found,
        OnRay(on_note=notes.append),
        lambda machine: store_of(folder, machine),
        site=Simulated(seconds),
        resume=True,
        on_event=on_event,
    )
    took_s = time.monotonic() - times[0]
    assert not notes, notes
    assert found.done == len(cells), (found.done, len(cells))
    return took_s, found


def efficiency(workers: int) -> tuple[int, float]:
    """Cells of one second each, and the seconds that all took on so many workers."""
    cells = [Cell(row=f"cell {n}") for n in range(CELLS_PER_WORKER * workers)]
    with nodes(workers), tempfile.TemporaryDirectory() as folder:
        took_s, _ = swept(cells, CELL_S, Path(folder), lambda _: None)
    return len(cells), took_s


def rss_mb() -> float:
    """Of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def memory(count: int) -> tuple[list[tuple[str, float]], float]:
    """Resident memory of the driver at marks of a sweep of ``count`` cells; the sweep's seconds."""
    cells = [Cell(row=f"cell {n}") for n in range(count)]
    found: list[tuple[str, float]] = []

    def on_done(done: int) -> None:
        if done in MARKS or done == count:
            found.append((f"{done:,} cells stored", rss_mb()))
            print(found[-1], flush=True, file=sys.__stdout__)

    with nodes(NODES), tempfile.TemporaryDirectory() as folder:
        found.append(("before the first cell", rss_mb()))
        took_s, result = swept(cells, 0.0, Path(folder), on_done)
        read = sum(1 for _ in result)
        assert read == count
        found.append(("after all, with every record read again in order", rss_mb()))
        known = Spread(cells)
        began = time.monotonic()
        spread(
            known,
            OnRay(),
            lambda machine: store_of(Path(folder), machine),
            site=Simulated(0.0),
            resume=True,
        )
        resumed_s = time.monotonic() - began
        assert known.done == count
        found.append(
            (f"after a resumed sweep that found all of it done, {resumed_s:.0f} s", rss_mb())
        )
        tables = [timing_table(each) for each in by_kind(result)]
        assert count == sum(len(table.lines) for table in tables)
        found.append(("with the table that a command ends with, a line for each cell", rss_mb()))
    return found, took_s


def document(
    scaled: dict[int, tuple[int, float]],
    marks: list[tuple[str, float]],
    count: int,
    took_s: float,
    load: tuple[float, float],
) -> str:
    """The figures, and how they came about."""
    machine = machine_of("cpu")
    lines = [
        f"<!-- written by: {COMMAND} -->\n",
        "# How a sweep scales on Ray\n",
        f"Measured on one machine ({machine.cpu}, {machine.cores} cores, "
        f"{machine.memory_bytes / 2**30:.0f} GiB, Ray {ray.__version__}, Python "
        f"{platform.python_version()}) with `ray.cluster_utils.Cluster`: a head and nodes of one "
        "core each, which are processes here. Load average of the minute before: "
        f"{load[0]:.1f} at the beginning, {load[1]:.1f} at the end.\n",
        "## Scheduling\n",
        f"Cells that are known to take {CELL_S:g} s, for they sleep, go through what a sweep is "
        "made of: handed to Ray one for each node, sent back as records, appended to the file "
        "under its lock and synced. Only the worker process is left out, which is the same on one "
        "machine. Timed from the first cell to the last record on the disk; that Ray and the "
        "nodes' Python start is not in it.\n",
        "| workers | cells | ideal, s | took, s | of linear |",
        "|---:|---:|---:|---:|---:|",
    ]
    for workers, (cells, seconds) in scaled.items():
        ideal = cells * CELL_S / workers
        lines.append(f"| {workers} | {cells} | {ideal:g} | {seconds:.2f} | {ideal / seconds:.1%} |")
    worst = min(cells * CELL_S / w / seconds for w, (cells, seconds) in scaled.items())
    word = "Met" if worst >= GOAL else "Missed"
    lines += [
        "",
        f"**{word}: at least {GOAL:.0%} of linear** from {min(scaled)} to {max(scaled)} workers "
        f"(the worst is {worst:.1%}).\n",
        "## Memory of the driver\n",
        f"A sweep of {count:,} cells that take no time, on {NODES} nodes: simulated, since each is "
        f"a task of Ray that returns a made-up record of {SAMPLES} samples at once. It took "
        f"{took_s:.0f} s, {count / took_s:.0f} cells a second, each synced to the disk. The list "
        "of cells itself is there before the first.\n",
        "| when | resident, MB |",
        "|---|---:|",
    ]
    lines += [f"| {when} | {mb:.0f} |" for when, mb in marks]
    by_name = dict(marks)
    first = next((mb for when, mb in marks if when.startswith("10,000 ")), None)
    last = by_name.get(f"{count:,} cells stored")
    if first is not None and last is not None:
        lines += [
            "",
            f"From 10,000 to {count:,} cells it grew by {last - first:.0f} MB, "
            f"{(last - first) * 1e6 / (count - 10_000):.0f} bytes a cell.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--results", type=Path, default=Path("results"))
    given = parser.parse_args()
    before = os.getloadavg()[0]
    scaled = {}
    for workers in WORKERS:
        scaled[workers] = efficiency(workers)
        print(workers, scaled[workers], flush=True)
    marks, took_s = memory(given.cells)
    text = document(scaled, marks, given.cells, took_s, (before, os.getloadavg()[0]))
    files.write(given.results / "scale.md", text)
    print(text)


if __name__ == "__main__":
    main()
