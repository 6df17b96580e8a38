"""``vidcost.explain``: from our count of any network to what other counters print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from vidcost.bench.api.guest import called, copied, guarded
from vidcost.bench.call import Inputs
from vidcost.bench.count.reconcile import Entry, reconcile_network

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Reconciliation:
    """The entries of a network with fvcore, thop, thop of May 2020 and torch's counter."""

    network: str
    entries: tuple[Entry, ...]

    @property
    def balanced(self) -> bool:
        """Whether every counter answered and nothing is left of any entry."""
        return all(entry.balanced for entry in self.entries)

    def entry(self, counter: str, quantity: Literal["flops", "params"] = "flops") -> Entry:
        """The entry with one counter.

        Raises: ValueError if there is none.
        """
        for entry in self.entries:
            if (entry.counter, entry.quantity) == (counter, quantity):
                return entry
        known = ", ".join(dict.fromkeys(entry.counter for entry in self.entries))
        raise ValueError(f"no entry of {quantity} with {counter!r}: choose from {known}")

    def to_pandas(self) -> pd.DataFrame:
        """One line for each term: ours first, what the counter prints and the remainder last."""
        import pandas as pd

        lines = []
        for entry in self.entries:
            head = {"counter": entry.counter, "quantity": entry.quantity}
            lines += [{**head, "term": term, "amount": amount} for term, amount in entry.amounts]
        return pd.DataFrame(lines)


def explain(
    model: nn.Module, inputs: Inputs, *, kwargs: Mapping[str, Any] | None = None
) -> Reconciliation:
    """Ask every counter what one pass of ``model`` on ``inputs`` costs, and explain its integer.

    ``inputs`` and ``kwargs`` are as for :func:`vidcost.count`. The counters run a copy of the
    network for real, on its device; it and the random generators are left as they were. A counter
    that is missing, rejects the network or crashes is an entry that says so.

    >>> import torch, vidcost
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
    >>> fvcore = vidcost.explain(network, torch.randn(1, 3, 5, 5)).entry("fvcore")
    >>> fvcore.ours, fvcore.printed, fvcore.remainder
    (1944, 2088, 0)
    >>> [(term.name, term.amount) for term in fvcore.terms]
    [('BatchNorm, 2 per element', 144)]

    Raises: UncountedOperator; ValueError if ``model`` is no module, cannot be copied or is on the
            meta device, or the inputs hold no tensor; NetworkExit if it calls sys.exit; what the
            network raises.
    """
    network, values = called(model, inputs, kwargs)
    if any(tensor.is_meta for tensor in (*values, *model.parameters(), *model.buffers())):
        raise ValueError("fvcore runs the network: it cannot be on the meta device")
    with guarded(*values, *model.parameters()):
        entries = reconcile_network(
            type(model).__name__, copied(network), [x.detach().clone() for x in values]
        )
    return Reconciliation(type(model).__name__, tuple(entries))
