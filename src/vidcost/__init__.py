"""What a long-range video block really costs: models, exact counts, measurements, verdicts.

Of a network of your own: :func:`count`, :func:`time`, :func:`explain`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidcost.bench.api.count import count
    from vidcost.bench.api.explain import explain
    from vidcost.bench.api.time import time

__all__ = ["count", "explain", "time"]


def __getattr__(name: str) -> object:
    # torch takes a second to import: only who asks for one of these waits
    if name in __all__:
        return getattr(import_module(f"vidcost.bench.api.{name}"), name)
    if name == "ledger":
        raise AttributeError("vidcost.ledger is now vidcost.explain")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
