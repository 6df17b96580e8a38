"""A sweep over a cluster as a process of its own: ADDRESS RESULTS ROW..."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from vidcost.bench.engine import cluster
from vidcost.bench.engine.on_ray import OnRay
from vidcost.bench.session.timing import store_of
from vidcost.bench.timing import conditions, events
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine
from vidcost.bench.timing.spread import Spread, Usual, spread

FAKE_WORKER = Path(__file__).parents[1] / "timing/fake_worker.py"


def look(device: str) -> Machine:
    """The host, and GPUs that are none."""
    machine = conditions.machine_of("cpu")
    return machine if device == "cpu" else machine.model_copy(update={"device": "Abacus"})


def site() -> Usual:
    return Usual(
        command=(sys.executable, "-P", str(FAKE_WORKER)),
        look=look,
        look_around=lambda device: [look(device)],
    )


def tell(event):
    match event:
        case events.CellDone(cell, timing):
            node = timing.machine.node if timing.machine else ""
            print(f"{cell.row} {timing.status} {node}", file=sys.__stdout__, flush=True)
        case events.CellSkipped(cell):
            print(f"{cell.row} skipped", file=sys.__stdout__, flush=True)


def note(text):
    print(f"note: {text}", file=sys.stderr, flush=True)


def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    address, results, *rows = sys.argv[1:]
    device = os.environ.get("DEVICE", "cpu")
    found = Spread([Cell(row=row, device=device) for row in rows])
    with cluster.joined(address):
        import ray

        ray.cloudpickle.register_pickle_by_value(sys.modules["__main__"])
        engine = OnRay(on_note=note)
        spread(
            found,
            engine,
            lambda machine: store_of(Path(results), machine),
            site=site(),
            resume=True,
            on_event=tell,
        )
    print(f"done {found.done}", flush=True)


if __name__ == "__main__":
    main()
