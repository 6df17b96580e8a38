"""What a long-range video block really costs: models, exact counts, measurements, verdicts.

Of a network of your own: :func:`count`, :func:`time`, :func:`explain`; of an operator of your own:
:func:`rule`, :func:`free`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidcost.bench.api.count import count, explain
    from vidcost.bench.api.time import time
    from vidcost.bench.count.rules import free, rule

__all__ = ["count", "explain", "free", "rule", "time"]


def __getattr__(name: str) -> object:
    # torch takes a second to import: only who asks for one of these waits
    if name in __all__:
        home = {"free": "count.rules", "rule": "count.rules", "time": "api.time"}
        return getattr(import_module(f"vidcost.bench.{home.get(name, 'api.count')}"), name)
    if name == "ledger":
        raise AttributeError("vidcost.ledger is now vidcost.explain")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
