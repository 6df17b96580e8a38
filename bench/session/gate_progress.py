"""What a person sees while two versions are measured in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from vidcost.bench.gate.campaign import Progress
from vidcost.bench.progress import bar


@contextmanager
def gate_progress(console: Console) -> Iterator[Callable[[Progress], None]]:
    """A bar of the pairs of a stage on a terminal; nothing elsewhere."""
    with bar(console, "gate", 1) as (shown, task):

        def on_progress(at: Progress) -> None:
            what = f"{at.stage}: {at.subject}"
            shown.update(task, description=escape(what), completed=at.pair, total=at.of)

        yield on_progress
