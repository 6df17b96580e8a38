"""What two versions are compared on: the cells that both can run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vidcost.bench.gate.campaign import Launch
from vidcost.bench.gate.record import Rule, Run, Side, Version
from vidcost.bench.gate.versions import Prepared, check_out, prepare
from vidcost.bench.timing import plan
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import machine_of
from vidcost.bench.timing.parent import COMMAND
from vidcost.papers.catalog import rows_of


def prepare_refs(
    repository: Path,
    base: str | None,
    head: str | None,
    *,
    cache: Path,
    same_environment: bool = False,
) -> tuple[Prepared, Prepared]:
    """Check out and prepare both; None is the repository as it stands.

    Raises: ValueError as :func:`check_out` and :func:`prepare` do.
    """
    checkouts = [check_out(repository, ref, cache=cache) for ref in (base, head)]
    return prepare(*checkouts, cache=cache, same_environment=same_environment)


def common_rows(
    base: Sequence[str], head: Sequence[str], patterns: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Rows of both versions that match one of ``patterns`` (all, if there are none), and why
    others are left out.

    Raises: ValueError if a pattern matches no row of either, or nothing is left.
    """
    names = list(dict.fromkeys([*head, *base]))
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"no row {pattern!r} in either version: `vidcost list` shows those of this one"
            )
    chosen = [n for n in names if not patterns or any(fnmatchcase(n, p) for p in patterns)]
    left_out = [
        f"{name} is only in {'head' if name in head else 'base'}: nothing to compare it with"
        for name in chosen
        if name not in head or name not in base
    ]
    both = [name for name in chosen if name in head and name in base]
    if not both:
        none = "the two versions have no row in common: name blocks with --blocks"
        raise ValueError("; ".join(left_out) if patterns else none)
    return both, left_out


def blocks_alone(
    blocks: Sequence[str], shapes: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Blocks at ``shapes`` (where rows share them, if there are none), as fields of cells; and why
    some are left out.

    Raises: ValueError for an unknown block or shape, or for shapes of no block.
    """
    if not blocks:
        if shapes:
            raise ValueError("--shape is for blocks alone: give --blocks too")
        return [], []
    specs = plan.named_specs(blocks)
    at = [plan.shape_of(text) for text in shapes] or plan.shared_shapes(rows_of())
    alone, reasons = plan.fitting(specs, at)
    return [{"block": spec, "shape": shape} for spec, shape in alone], reasons


def new_run(
    prepared: tuple[Prepared, Prepared],
    cells: Sequence[Cell],
    *,
    left_out: Sequence[str] = (),
    rule: Rule,
    seed: int,
    visit_s: float,
) -> Run:
    """A run in which nothing has been measured yet.

    Raises: ValueError if the cells' device is not there.
    """
    base, head = (
        Version(
            ref=side.checkout.ref,
            commit=side.checkout.commit,
            code=side.code,
            environment=side.environment,
            machine=machine_of(cells[0].device),
        )
        for side in prepared
    )
    return Run(
        vidcost=version("vidcost"),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        base=base,
        head=head,
        cells=tuple(cells),
        left_out=tuple(left_out),
        rule=rule,
        seed=seed,
        visit_s=visit_s,
    )


def launches(prepared: tuple[Prepared, Prepared]) -> Mapping[Side, Launch]:
    """How the workers of both sides are started: this harness, each side's models."""
    base, head = (Launch((side.python, *COMMAND[1:]), side.variables) for side in prepared)
    return {"base": base, "head": head}
