"""Progress of work that takes a while: a bar on a terminal, elsewhere a line every ten seconds."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

AFTER_S = 2.0
EVERY_S = 10.0

_bars: list[Progress] = []
"""Those that are shown now."""


class Update(Protocol):
    """Shows a few words and ``done`` steps (default: one more) of ``total``."""

    def __call__(self, words: str, done: int | None = None, total: int | None = None) -> None: ...


@contextmanager
def progress(words: str, total: int, console: Console | None = None) -> Iterator[Update]:
    """Show the progress of ``total`` steps on standard error, or on ``console``."""
    console = console or Console(stderr=True, soft_wrap=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    drawn = console.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not drawn
    ) as shown:
        task = shown.add_task(escape(words), total=total)

        def update(words: str, done: int | None = None, total: int | None = None) -> None:
            advance = 1 if done is None else None
            text = escape(words)
            shown.update(task, description=text, completed=done, advance=advance, total=total)

        def state() -> str:
            (now,) = shown.tasks
            return "" if drawn else f"{now.description} ({now.completed:.0f} of {now.total:.0f})"

        _bars.append(shown)
        with _lines(console, state, EVERY_S):
            try:
                yield update
            finally:
                _bars.remove(shown)


@contextmanager
def alive(words: str) -> Iterator[None]:
    """Say every ten seconds that the work goes on, while no other progress is shown."""
    console = Console(stderr=True, soft_wrap=True)
    first_s = AFTER_S if console.is_terminal else EVERY_S
    with _lines(console, lambda: "" if _bars else words, first_s):
        yield


@contextmanager
def _lines(console: Console, state: Callable[[], str], first_s: float) -> Iterator[None]:
    over, began = threading.Event(), time.monotonic()

    def write() -> None:
        wait_s = first_s
        while not over.wait(wait_s):
            if text := state():
                console.print(f"{text}: {time.monotonic() - began:.0f} s", highlight=False)
            wait_s = EVERY_S

    threading.Thread(target=write, daemon=True).start()
    try:
        yield
    finally:
        over.set()
