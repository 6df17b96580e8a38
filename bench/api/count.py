"""``vidcost.count``, what any network costs exactly; ``vidcost.explain``, what others print."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from tabulate import tabulate
from torch import Tensor, nn

from vidcost.bench.api.guest import NotCopyable, called, clone, copied, guarded, outline
from vidcost.bench.call import Inputs
from vidcost.bench.count import counter
from vidcost.bench.count.counter import Count, UncountedOperator
from vidcost.bench.count.modules import Check, ModuleCount, closed_forms, modules
from vidcost.bench.count.reconcile import Entry, reconcile_network
from vidcost.bench.count.training import Training, count_training
from vidcost.bench.errors import named
from vidcost.models.cost import Cost

if TYPE_CHECKING:
    import pandas as pd

DEPTH = 2
"""Levels of modules that are printed."""


@dataclass(frozen=True, repr=False)
class NetworkCount:
    """What one pass of a network costs; printed, a table of its modules down to two levels.

    Units: MACs, elements and parameters as in :class:`vidcost.models.cost.Cost`; ``buffers`` are
    elements. ``modules`` are all of them, outermost first. ``checks`` holds every module with a
    closed form, a method ``cost(shape) -> Cost``, beside its count; ``unchecked`` says of others
    with such a method why it could not be asked. ``counted_on`` is the device of the pass;
    ``why`` says why it is not "meta", where nothing is computed. ``multiply`` are elements of the
    forward pass that are multiplied one by one, which is no MAC; ``masked`` its MACs that a mask
    discards, by name. ``recomputed`` is what checkpoints compute again. ``notes`` say so in words.
    """

    network: str
    forward: Cost
    backward: Cost | None
    buffers: int
    multiply: int
    masked: Mapping[str, int]
    recomputed: Cost | None
    notes: tuple[str, ...]
    modules: tuple[ModuleCount, ...]
    checks: tuple[Check, ...]
    unchecked: tuple[str, ...]
    counted_on: str
    why: str

    @property
    def params(self) -> int:
        """Parameters, each once however often it is used."""
        return self.forward.params

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the forward pass.

        Raises: ValueError if training was counted: it has three such figures.
        """
        if self.backward is not None:
            raise ValueError(
                "a step of training was counted: say forward.macs, backward.macs or total.macs"
            )
        return self.forward.macs

    @property
    def total(self) -> Cost:
        """Forward and, if it was counted, backward pass."""
        return self.forward if self.backward is None else self.forward + self.backward

    @property
    def closed_form(self) -> Literal["equal", "differs", "not checked"]:
        """Whether the closed forms of modules agree with their counts, as integers."""
        if not self.checks:
            return "not checked"
        return "equal" if all(check.equal for check in self.checks) else "differs"

    def to_pandas(self) -> pd.DataFrame:
        """One line for each module: its output's shape, parameters, MACs and elements by kind."""
        import pandas as pd

        return pd.DataFrame([_line(module) for module in self.modules])

    def to_json(self) -> str:
        """The whole and its modules as a JSON object."""
        whole = _line(self.modules[0]) | {
            "buffers": self.buffers,
            "multiply": self.multiply,
            "masked": self.masked,
            "recomputed_macs": self.recomputed and self.recomputed.macs,
            "counted_on": self.counted_on,
        }
        whole["module"] = self.network
        return json.dumps(whole | {"modules": [_line(module) for module in self.modules[1:]]})

    def __repr__(self) -> str:
        return "\n".join((self._table("simple"), *self.notes))

    def _repr_html_(self) -> str:
        return self._table("html")

    def _table(self, form: str) -> str:
        whole, space = self.total.macs, "\N{NO-BREAK SPACE}" if form == "html" else " "
        lines = []
        for module in self.modules:
            depth = module.module.count(".") + 1 if module.module else 0
            if depth > DEPTH:
                continue
            back = module.backward
            macs = module.forward.macs + (back.macs if back else 0)
            name = module.module.rpartition(".")[2]
            lines.append(
                [
                    2 * depth * space + (f"{name}: {module.type}" if name else module.type),
                    "x".join(map(str, module.output or ())) or None,
                    f"{module.forward.params:,}",
                    f"{module.forward.macs:,}",
                    *([] if back is None else [f"{back.macs:,}"]),
                    f"{macs / whole:.1%}" if whole else None,
                ]
            )
        backward = [] if self.backward is None else ["Backward MACs"]
        return tabulate(
            lines,
            ["Module", "Output", "Parameters", "MACs", *backward, "Of all MACs"],
            tablefmt=form,
            stralign="right",
            colalign=("left",),
            preserve_whitespace=True,
            disable_numparse=True,
        )


def count(
    model: nn.Module,
    inputs: Inputs,
    *,
    kwargs: Mapping[str, Any] | None = None,
    training: bool = False,
) -> NetworkCount:
    """Count one pass of ``model`` on ``inputs``: MACs, parameters, elements, by module.

    ``inputs`` are a tensor, a shape such as (1, 3, 16, 112, 112), arguments by position in a tuple
    or list, or a mapping from the names of forward's arguments; ``kwargs`` are more of those.
    Arguments and outputs may be tensors in tuples, lists, mappings and dataclasses; inputs also
    hold numbers, strings and None. Tensors are on the model's device. The pass is in evaluation
    mode; with ``training`` it is in training mode and the backward pass from all outputs is counted
    too.

    The network is run on the meta device, in milliseconds. If it cannot run there, because what it
    does depends on values, it runs once on its own device, and the result says why. Either way it
    is a copy that runs: parameters, buffers, mode, hooks, gradients and random generators stay.

    >>> import torch, vidcost
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.Flatten(), nn.Linear(72, 5))
    >>> counted = vidcost.count(network, torch.randn(1, 3, 5, 5))
    >>> counted.macs  # 8 maps of 3x3 from 3x3x3 each, and 72x5
    2304
    >>> counted.forward.conv, counted.forward.linear, counted.params
    (1944, 360, 581)
    >>> counted.counted_on, counted.closed_form
    ('meta', 'not checked')

    Raises: UncountedOperator naming every operator without a counting rule; ValueError if ``model``
            is no module or the inputs hold no tensor; NetworkExit if it calls sys.exit; what the
            network raises.
    """
    network, values = called(model, inputs, kwargs)
    run = count_training if training else counter.count
    with guarded(*values, *model.parameters()):
        found, counted_on, why = _on_meta_or_here(network, values, run)
    both = (found.forward, found.backward) if isinstance(found, Training) else (found, None)
    forward, backward = both
    checks, unchecked = closed_forms(network, forward)
    return NetworkCount(
        network=type(model).__name__,
        forward=forward.total,
        backward=None if backward is None else backward.total,
        buffers=forward.buffers,
        multiply=forward.multiply,
        masked=forward.masked,
        recomputed=None if backward is None else backward.recomputed,
        notes=tuple(_notes(forward, backward, counted_on, why)),
        modules=modules(network, forward, backward),
        checks=checks,
        unchecked=unchecked,
        counted_on=counted_on,
        why=why,
    )


def _notes(forward: Count, backward: Count | None, counted_on: str, why: str) -> Iterator[str]:
    if 100 * forward.multiply > forward.total.macs:
        yield f"{forward.multiply:,} multiplications element by element are no MACs."
    for mask, macs in forward.masked.items():
        yield f"{macs:,} of the forward pass's MACs are masked by {mask}."
    if backward and (macs := backward.recomputed.macs):
        yield f"{macs:,} of the backward pass's MACs compute the forward pass again."
    if why:
        yield f"Counted on {counted_on}, because of {why}"


def figures(forward: Cost, backward: Cost | None) -> dict[str, int]:
    """MACs and every quantity by name; those of the backward pass as ``backward_NAME``."""
    of_backward = {"macs": backward.macs, **asdict(backward)} if backward else {}
    of_backward.pop("params", None)
    return {"macs": forward.macs, **asdict(forward)} | {
        f"backward_{name}": figure for name, figure in of_backward.items()
    }


def _line(module: ModuleCount) -> dict[str, object]:
    return {
        "module": module.module,
        "type": module.type,
        "calls": module.calls,
        "output": module.output,
        **figures(module.forward, module.backward),
    }


def _on_meta_or_here(
    network: nn.Module, values: tuple[Tensor, ...], run: Callable[..., Count | Training]
) -> tuple[Count | Training, str, str]:
    """The result of ``run`` on a copy, the device it ran on, and why that is not meta."""
    why = ""
    for keep in (False, True):
        as_outline = partial(outline, keep_integers=keep)
        try:
            guest = copied(network, as_outline)
            return run(guest, *map(as_outline, values), keep_integers=keep), "meta", ""
        except UncountedOperator:
            raise
        except Exception as error:  # whatever does not work without values
            why = why or named(error)
    device = next((x.device for x in (*network.parameters(), *values)), None)
    held = sum(x.numel() * x.element_size() for x in (*network.parameters(), *values)) / 1e6
    logging.getLogger("vidcost").warning(
        "a network runs once on %s, for want of values: memory of one pass beside weights and "
        "inputs of %.1f MB, which are not copied",
        *(device, held),
    )
    here = [clone(x.detach()).requires_grad_(x.requires_grad) for x in values]
    try:
        guest = copied(network)
    except NotCopyable as error:
        guest, why = network, str(error)
    return run(guest, *here), str(device or "cpu"), why


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
