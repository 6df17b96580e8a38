"""Pieces of work in this process, one after another."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from vidcost.bench.engine.work import Needs, Outcome, Piece

T = TypeVar("T")


class Here:
    """The machine of this process, which a piece has for itself, since they take turns."""

    def run(self, pieces: Iterable[Piece[T]]) -> Generator[Outcome[T]]:
        """Each outcome in turn."""
        for piece in pieces:
            try:
                outcome = Outcome(piece, returned=piece.function(*piece.arguments))
            except Exception as error:
                outcome = Outcome(piece, error=error)
            yield outcome

    def everywhere(self, function: Callable[..., T], *arguments: Any, needs: Needs) -> list[T]:
        """What ``function`` returns here."""
        return [function(*arguments)]
