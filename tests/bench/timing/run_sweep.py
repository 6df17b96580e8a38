"""A sweep of fake workers as a process of its own: FILE ROW..., with or without RESUME set."""

import os
import signal
import sys
from pathlib import Path

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import Store
from vidcost.bench.timing.sweep import Interrupted, sweep

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")

if __name__ == "__main__":
    # a job that a script started in the background begins with Ctrl-C ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    path, *rows = sys.argv[1:]
    try:
        sweep(
            [Cell(row=row) for row in rows],
            Store(Path(path)),
            resume="RESUME" in os.environ,
            command=[sys.executable, str(FAKE_WORKER)],
            on_progress=lambda words, done: print(words, flush=True),
        )
    except Interrupted as error:
        print(error, flush=True)
        sys.exit(130)
