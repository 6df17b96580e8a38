"""A sweep of fake workers as a process of its own: FILE ROW..., with RESUME or LIMIT set."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import Store
from vidcost.bench.timing.sweep import Interrupted, sweep

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")


def tell(event):
    if event.kind == "sampled":
        print(f"{event.cell.row} {event.chunk.samples}", flush=True)
    if event.kind == "skipped":
        print(f"{event.cell.row} skipped", flush=True)


def main():
    # a job that a script started in the background begins with Ctrl-C ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    path, *rows = sys.argv[1:]
    if "LIMIT" in os.environ:
        limit = int(os.environ["LIMIT"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        sweep(
            [Cell(row=row) for row in rows],
            Store(Path(path)),
            resume="RESUME" in os.environ,
            command=[sys.executable, str(FAKE_WORKER)],
            on_event=tell,
        )
    except Interrupted as stopped:
        print(stopped, flush=True)
        sys.exit(130)
    except ValueError as error:
        print(error, flush=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
