"""What describes a reference counter: its package, its answers and its convention."""

import importlib.metadata
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from vidcost.bench import files
from vidcost.bench.count.counter import Count, count
from vidcost.bench.count.references.seen import Seen, Terms

Convention = str
"""The name of a counter. thop-2020 is thop of May 2020, torch its FlopCounterMode, halved."""

Quantity = Literal["flops", "params"]
K = TypeVar("K")
Status = Literal["answered", "missing", "crashed", "timed out"]


class Answer(BaseModel):
    """The integers of another counter, or in ``error``, a line, why there are none.

    ``flops`` is in the counter's own convention and ``parts`` the same by category; ``params`` is
    None if it prints none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    flops: int | None = None
    params: int | None = None
    parts: dict[str, int] = {}
    status: Status = "answered"
    error: str = ""


class Printed(NamedTuple):
    """What a counter returned: FLOPs, parameters, and FLOPs by its own names of operators."""

    flops: float
    params: float | None
    by_name: Iterable[tuple[str, float]]


@dataclass(frozen=True)
class Term:
    """A named difference between a convention and ours: ``amount`` more, or less if negative.

    ``part`` is the category in which the counter adds it up, so that a wrong term is found by name.
    """

    name: str
    part: str
    amount: int


@dataclass(frozen=True)
class Explanation:
    """What a counter should print: ``ours``, our amounts by category, and the ``terms`` to add."""

    ours: Mapping[str, int]
    terms: tuple[Term, ...]

    @property
    def total(self) -> int:
        """The integer that it should print."""
        return sum(self.parts.values())

    @property
    def parts(self) -> dict[str, int]:
        """The same by the counter's categories, without zeros."""
        return sums((*self.ours.items(), *((t.part, t.amount) for t in self.terms)))


Explained = Mapping[Quantity, Explanation]
"""FLOPs that a counter should print, from our MACs, and its parameters, if it prints these."""


@dataclass(frozen=True, kw_only=True)
class Reference(Seen):
    """A reference counter: what it sees, and how it is asked.

    ``flop_terms`` and ``param_terms`` lead from our count to the integers that it should print,
    never by the counter itself. ``profile`` runs it on a network in evaluation mode; ``categories``
    are those of its names of operators. ``package`` is what it imports, of a distribution
    ``installed_as`` (default: that name); it may change the network. It does not run on the meta
    device if it ``needs_values``. ``reimplemented`` is a version that is not run. An ``optional``
    counter may be installed in a ``folder`` of its own, with the distributions that it ``needs``.
    """

    name: Convention
    profile: Callable[[nn.Module, tuple[Tensor, ...]], Printed] | None = None
    categories: Mapping[str, str] = field(default_factory=dict)
    package: str = ""
    installed_as: str = ""
    optional: bool = False
    needs: tuple[str, ...] = ()
    needs_values: bool = False
    reimplemented: str = ""

    @property
    def distribution(self) -> str:
        """What is installed; two counters may be backends of one."""
        return self.installed_as or self.package

    @property
    def folder(self) -> Path:
        """Where an optional counter disturbs no other package."""
        return files.cache_folder() / "counters" / self.distribution

    @property
    def version(self) -> str:
        """The version that answers."""
        folder = self.folder if self.optional else None
        return self.reimplemented or version(self.distribution or self.name, folder)

    @property
    def title(self) -> str:
        """Its name above a column."""
        return f"{self.name} (re-implemented)" if self.reimplemented else self.name

    def explain(self, model: nn.Module, count: Count) -> Explained:
        """What it should print for the ``model`` that was counted."""
        total = count.total
        macs = {"convolutions": total.conv, "products": total.linear + total.matmul}
        found: dict[Quantity, Explanation] = {
            "flops": Explanation(macs, _added_up(self.flop_terms(model, count)))
        }
        if self.params != "none":
            terms = _added_up(self.param_terms(model, count))
            found["params"] = Explanation({"params": total.params}, terms)
        return found

    def explained_answer(self, explained: Explained) -> Answer:
        """The answer that it should give."""
        flops, params = explained["flops"], explained.get("params")
        found = Answer(version=self.reimplemented, flops=flops.total, parts=flops.parts)
        return found.model_copy(update={"params": params.total}) if params else found

    def answer(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> Answer:
        """Profile ``model`` on ``inputs``.  Raises: whatever the counter raises."""
        if self.profile is None:
            return self.explained_answer(self.explain(model, count(model, *inputs)))
        flops, params, by_name = self.profile(model, inputs)
        parts = ((self.categories.get(name, name), _integer(each)) for name, each in by_name)
        return Answer(
            version=self.version,
            flops=_integer(flops),
            params=None if params is None else _integer(params),
            parts=sums(parts),
        )


def sums(amounts: Iterable[tuple[K, int]]) -> dict[K, int]:
    """The sum of the amounts of each key, in the order of their first appearance, without zeros."""
    found: Counter[K] = Counter()
    for key, amount in amounts:
        if amount:
            found[key] += amount
    return {key: amount for key, amount in found.items() if amount}


def _added_up(terms: Terms) -> tuple[Term, ...]:
    added = sums(((name, part), amount) for name, part, amount in terms)
    return tuple(Term(*key, amount) for key, amount in added.items())


def _integer(amount: float) -> int:
    if int(amount) != amount:
        raise ValueError(f"{amount} is not an integer")
    return int(amount)


TRACED_SIZES = "products of sizes, which tracing makes tensors"
"""What a counter adds that no count of ours has: a term of the amount that it says itself."""


@cache
def version(distribution: str, folder: Path | None = None) -> str:
    """The version of a distribution, in ``folder`` or as installed, or "not installed"."""
    path = [*([] if folder is None else [str(folder)]), *sys.path]
    found = importlib.metadata.distributions(name=distribution, path=path)
    return next((each.version for each in found), "not installed")


@contextmanager
def importable(reference: Reference) -> Iterator[None]:
    """Import an optional counter from its own folder, in place of any other of its import name."""
    if not (reference.optional and reference.folder.is_dir()):
        yield
        return

    def unload() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] == reference.package]
        return {name: sys.modules.pop(name) for name in names}

    others = unload()
    sys.path.insert(0, str(reference.folder))
    try:
        yield
    finally:
        sys.path.remove(str(reference.folder))
        unload()
        sys.modules.update(others)


def fault_of(reference: Reference) -> str:
    """Why the counter cannot be asked, in one line; empty if it can."""
    package, distribution = reference.package, reference.distribution
    if not package or (reference.optional and reference.folder.is_dir()):
        return ""
    # thop and ultralytics-thop have one import name, and count otherwise
    owners = set(importlib.metadata.packages_distributions().get(package, []))
    if owners == {distribution} and find_spec(package):
        return ""
    distributions = " ".join((distribution, *reference.needs))
    target = f"--no-deps --target {reference.folder} {distributions}"
    which = target if reference.optional else "'vidcost[reference]'"
    if owners <= {distribution} or reference.optional:
        return f"{distribution} is not installed: `pip install {which}` installs it"
    return (
        f"module {package} belongs to {', '.join(sorted(owners))}, not to {distribution} alone: "
        f"`pip uninstall` the other, then `pip install --force-reinstall {distribution}`"
    )
