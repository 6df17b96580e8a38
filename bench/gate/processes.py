"""What one process measured of one subject, as a stored file has it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["vidcost timings", "pytest-benchmark"]

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Process:
    """One subject in one process.

    ``name`` and ``details``, the conditions, say what was measured; ``where`` the place in the
    ``file``.
    ``machine`` is what it ran on with the version measured, None if a failure does not say.
    ``median_s`` is None where there is a ``failure``. ``identity`` is the same for copies alone.
    """

    name: str
    details: Fields
    file: str
    where: str
    identity: bytes
    started: str
    machine: Mapping[str, str] | None
    median_s: float | None = None
    peak_bytes: int | None = None
    failure: str = ""


class Contents(NamedTuple):
    """What files hold; ``warnings`` say what could not be read."""

    kind: Kind
    processes: list[Process]
    warnings: list[str]


def checked_seconds(seconds: Iterable[object], where: str) -> list[float]:
    """``seconds`` if each of them is a time.

    Raises: ValueError that names ``where`` if there are none or one is no positive finite number.
    """
    found = []
    for value in seconds:
        # JSON's true would pass for 1
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{where}: {value!r} is no number of seconds: measure it again")
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f"{where}: a sample of {value} s cannot be: measure it again")
        found.append(float(value))
    if not found:
        raise ValueError(f"{where} has no samples: measure it again, or take it out")
    return found
