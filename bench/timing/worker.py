"""The process that times cells: ``python -m vidcost.bench.timing.worker``.

Its parent is :mod:`vidcost.bench.timing.parent`. A sweep gives a worker one task, so that nothing
is left over from another; a side of a comparison may be given several.
"""

import contextlib
import os

from vidcost.bench.process import connect
from vidcost.bench.timing.measurement import measure
from vidcost.bench.timing.messages import STARTED, Chunk, ParentGone, Reply, Window


def main() -> None:
    """Time the cells of the parent's tasks until it hangs up."""
    pipe = connect()

    def exchange(message: Chunk | Window) -> Reply:
        pipe.send(message)
        try:
            reply: Reply = pipe.recv()
        except (EOFError, OSError):
            raise ParentGone from None
        return reply

    with contextlib.suppress(EOFError, ParentGone):
        while True:
            pipe.send(measure(pipe.recv(), exchange, lambda: pipe.send(STARTED)))


if __name__ == "__main__":
    main()
    # torch and CUDA need not tidy up: all of it goes with the process
    os._exit(0)
