"""``vidcost.ledger``: from our count of any network to what other counters print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import nn

from vidcost.bench.api.guest import called, copied, guarded
from vidcost.bench.call import Inputs
from vidcost.bench.count.ledger import Entry, reconcile_network
from vidcost.bench.count.term import Term

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Account:
    """From ours to what one counter prints.

    ``quantity`` is "flops", where ``ours`` are MACs, or "params". ``ours`` and the ``terms`` add up
    to ``printed`` but for ``remainder``; ``off`` has what is not explained by the heading under
    which the counter books it. Without an answer ``printed`` and ``remainder`` are None,
    ``status`` is not "answered" and ``error`` says in one line what happened.
    """

    counter: str
    version: str
    quantity: Literal["flops", "params"]
    ours: int
    terms: tuple[Term, ...]
    printed: int | None
    remainder: int | None
    off: Mapping[str, int]
    status: str
    error: str

    @property
    def balanced(self) -> bool:
        """Whether nothing is left, under any heading."""
        return self.remainder == 0 and not self.off


@dataclass(frozen=True)
class Ledger:
    """The accounts of a network with fvcore, thop, thop of May 2020 and torch's counter."""

    network: str
    accounts: tuple[Account, ...]

    @property
    def balanced(self) -> bool:
        """Whether every counter answered and nothing is left of any account."""
        return all(account.balanced for account in self.accounts)

    def account(self, counter: str, quantity: Literal["flops", "params"] = "flops") -> Account:
        """The account with one counter.

        Raises: ValueError if there is none.
        """
        for account in self.accounts:
            if (account.counter, account.quantity) == (counter, quantity):
                return account
        known = ", ".join(dict.fromkeys(account.counter for account in self.accounts))
        raise ValueError(f"no account of {quantity} with {counter!r}: choose from {known}")

    def to_pandas(self) -> pd.DataFrame:
        """One line for each term: ours first, what the counter prints and what is left last."""
        import pandas as pd

        return pd.DataFrame([line for account in self.accounts for line in _lines(account)])


def ledger(model: nn.Module, inputs: Inputs) -> Ledger:
    """Ask every counter what one pass of ``model`` on ``inputs`` costs, and explain its integer.

    ``inputs`` are as for :func:`vidcost.count`. The counters run a copy of the network for real, on
    its device; it and the random generators are left as they were. A counter that is missing,
    refuses or crashes is an account that says so.

    >>> import torch, vidcost
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
    >>> fvcore = vidcost.ledger(network, torch.randn(1, 3, 5, 5)).account("fvcore")
    >>> fvcore.ours, fvcore.printed, fvcore.remainder
    (1944, 2088, 0)
    >>> [(term.name, term.amount) for term in fvcore.terms]
    [('BatchNorm, 2 per element', 144)]

    Raises: UncountedOperator; ValueError if ``model`` is no module, cannot be copied or is on the
            meta device, or an input is no tensor; NetworkExit if it calls sys.exit; what the
            network raises.
    """
    network, values = called(model, inputs)
    if any(tensor.is_meta for tensor in (*values, *model.parameters(), *model.buffers())):
        raise ValueError("fvcore and thop run the network: it cannot be on the meta device")
    with guarded(*values, *model.parameters()):
        entries = reconcile_network(
            type(model).__name__, copied(network), [x.detach().clone() for x in values]
        )
    return Ledger(type(model).__name__, tuple(map(_account, entries)))


def _account(entry: Entry) -> Account:
    return Account(
        counter=entry.counter,
        version=entry.answer.version,
        quantity=entry.quantity,
        ours=entry.ours,
        terms=entry.terms,
        printed=entry.printed,
        remainder=entry.remainder,
        off=dict(entry.off),
        status=entry.answer.status,
        error=entry.answer.error,
    )


def _lines(account: Account) -> list[dict[str, object]]:
    head = {"counter": account.counter, "quantity": account.quantity}
    return [
        {**head, "term": "ours", "amount": account.ours},
        *({**head, "term": term.name, "amount": term.amount} for term in account.terms),
        {**head, "term": "not explained", "amount": account.remainder},
        {**head, "term": "printed", "amount": account.printed},
    ]
