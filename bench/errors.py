"""Errors for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


def named(error: BaseException) -> str:
    """The error's class and its message, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def first_of(error: ValidationError) -> str:
    """The first thing that is wrong, behind its place if it has one, in one line."""
    first = error.errors()[0]
    where, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
