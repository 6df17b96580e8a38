"""How values are written in SQL."""

from __future__ import annotations


def quoted(value: object) -> str:
    """``value`` as a string of SQL."""
    return "'" + str(value).replace("'", "''") + "'"
