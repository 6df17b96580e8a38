"""Progress of work that takes a while: a bar on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

EVERY_S = 10.0


class Update(Protocol):
    """Shows a few words and ``done`` steps (default: one more) of ``total``."""

    def __call__(self, words: str, done: int | None = None, total: int | None = None) -> None: ...


@contextmanager
def progress(words: str, total: int, console: Console | None = None) -> Iterator[Update]:
    """Show the progress of ``total`` steps on standard error, or on ``console``."""
    console = console or Console(stderr=True, soft_wrap=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    over = threading.Event()
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as shown:
        task = shown.add_task(escape(words), total=total)

        def update(words: str, done: int | None = None, total: int | None = None) -> None:
            advance = 1 if done is None else None
            text = escape(words)
            shown.update(task, description=text, completed=done, advance=advance, total=total)

        def lines() -> None:
            while not over.wait(EVERY_S):
                (now,) = shown.tasks
                state = f"{now.completed:.0f} of {now.total:.0f}, {now.elapsed or 0:.0f} s"
                console.print(f"{now.description} ({state})", highlight=False)

        if not console.is_terminal:
            threading.Thread(target=lines, daemon=True).start()
        try:
            yield update
        finally:
            over.set()
