"""What a person sees while cells are timed: the cell, the estimate so far, the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from vidcost.bench.progress import bar
from vidcost.bench.report.timing import milliseconds
from vidcost.bench.timing import events
from vidcost.bench.timing.events import Event
from vidcost.bench.timing.messages import Chunk


def estimate(chunk: Chunk) -> str:
    """The samples so far in words: ``12 samples, 430.1 ms ± 0.8%``."""
    reached = "" if chunk.precision is None else f" ± {chunk.precision:.1%}"
    return f"{chunk.samples} samples, {milliseconds(chunk.median_s)} ms{reached}"


@contextmanager
def progress(console: Console, total: int) -> Iterator[Callable[[Event], None]]:
    """A bar on a terminal, and what a sweep is to tell it; nothing elsewhere."""
    with bar(console, "timing", total) as (shown, task):

        def on_event(event: Event) -> None:
            match event:
                case events.CellStarted():
                    again = ", again" if event.again else ""
                    say(f"{event.cell.target}{again}: warming up")
                case events.ChunkTaken():
                    void = ", throttled" if event.reply == "void" else ""
                    say(f"{event.cell.target}: {estimate(event.chunk)}{void}")
                case events.CellDone() | events.CellSkipped():
                    done.add(event.cell)
                    shown.update(task, completed=len(done))
                case _:
                    pass

        def say(what: str) -> None:
            shown.update(task, description=escape(what))

        done: set[object] = set()
        yield on_event
