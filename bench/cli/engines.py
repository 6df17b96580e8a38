"""Where the work of a command is done, by its options, and how it has cells timed there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from vidcost.bench.cli.options import Where
from vidcost.bench.engine import on_ray
from vidcost.bench.engine.calls import Engine, Here
from vidcost.bench.progress import bar
from vidcost.bench.report.timing import milliseconds
from vidcost.bench.timing import conditions, machine, sweep
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.predict import predict_with_peak
from vidcost.bench.timing.stored import store_of
from vidcost.bench.user.reference import is_reference

NO_BUDGET = (
    "--budget shares out one machine's time: leave it out with --engine ray, stop the command when "
    "you want, and give it again to go on"
)


@dataclass(frozen=True)
class Choice:
    """The options --engine, --address and --gpu together.

    Raises: ValueError if they contradict each other, or ``device``.
    """

    where: Where
    address: str | None
    gpu: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.is_ray:
            for name, value in (("--address", self.address), ("--gpu", self.gpu)):
                if value is not None:
                    raise ValueError(f"{name} is a Ray cluster's: give --engine ray too")
            return
        if self.device not in ("cpu", "cuda"):
            raise ValueError(
                f"no device {self.device!r} on a cluster: each cell is given a GPU by "
                "--device cuda, or a node by cpu"
            )
        if self.gpu is not None and self.device != "cuda":
            raise ValueError("--gpu chooses among GPUs: give --device cuda too")

    @property
    def is_ray(self) -> bool:
        """Whether the work is done on a cluster."""
        return self.where is Where.RAY

    @contextlib.contextmanager
    def engine(self, references: Sequence[str] = ()) -> Iterator[Engine]:
        """What makes the command's calls; its notes go to standard error.

        If one of the words ``references`` names a user's code, the nodes get the current folder.
        Raises: ValueError if there is no such cluster, or no such GPU in it.
        """
        if not self.is_ray:
            yield Here()
            return
        folder = Path.cwd() if any(map(_is_here, references)) else None
        with on_ray.joined(self.address, folder=folder):
            types = self.gpu.split(",") if self.gpu else []
            known = on_ray.check_types(types) if self.device == "cuda" else ()
            yield on_ray.OnRay(gpu_types=known, on_note=partial(typer.echo, err=True))

    def threads(self) -> int:
        """On a CPU the cores that a cell has; on a GPU the one that feeds it.

        Raises: ValueError if the nodes of the cluster have unlike numbers of cores.
        """
        if not self.is_ray or self.device != "cpu":
            return machine.default_threads(self.device)
        cores = sorted({int(node.cores) for node in on_ray.nodes() if node.cores >= 1})
        if len(cores) > 1:
            words = " and ".join(map(str, cores))
            raise ValueError(f"the nodes have {words} cores: say how many to use by --threads")
        return cores[0] if cores else 1

    def check_device(self) -> None:
        """Raises: ValueError if there is no such device here; a cluster is asked later."""
        if not self.is_ray:
            machine.check_device(self.device)


def take(
    cells: Sequence[Cell],
    results: Path,
    *,
    engine: Engine | None = None,
    resume: bool = True,
    budget_s: float | None = None,
    start_up_s: float | None = None,
    command: str = "vidcost time",
) -> sweep.Swept:
    """Time ``cells`` of one device and store them in the results folder, under a progress bar.

    Here within the budget, or on ``engine``, which knows no budget. ``start_up_s`` is what a worker
    may take beside its sampling; None is the default.
    Raises: ValueError, Interrupted as :func:`sweep.sweep` and :func:`sweep.sweep_on` do.
    """
    if not cells:
        return sweep.Swept()
    device = cells[0].device
    limits = sweep.limits_for(device, start_up_s=start_up_s)
    with _progress(Console(stderr=True), len(set(cells))) as show:
        if engine is None or isinstance(engine, Here):
            return sweep.sweep(
                cells,
                store_of(results, conditions.machine_of(device), command=command),
                limits=limits,
                resume=resume,
                budget_s=budget_s,
                predict=predict_with_peak,
                on_event=show,
            )
        return sweep.sweep_on(
            engine,
            cells,
            partial(store_of, results, command=command),
            site=sweep.Site(predict_with_peak),
            limits=limits,
            resume=resume,
            on_event=show,
        )


@contextlib.contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[sweep.Event], None]]:
    """A bar on a terminal: the cell, the estimate so far, and how many are done."""
    with bar(console, "timing", total) as (shown, task):
        done: set[Cell] = set()

        def show(event: sweep.Event) -> None:
            text = event.cell.target
            if event.kind == "started":
                text += ", again: warming up" if event.again else ": warming up"
            elif (chunk := event.chunk) is not None:
                text += f": {chunk.samples} samples, {milliseconds(chunk.median_s)} ms"
                text += "" if chunk.precision is None else f" ± {chunk.precision:.1%}"
                text += ", throttled" if event.void else ""
            else:
                # one that is measured twice is done once
                done.add(event.cell)
            shown.update(task, description=escape(text), completed=len(done))

        yield show


def _is_here(word: str) -> bool:
    """Whether a word names a user's code in the current folder.

    Raises: ValueError if it is in a file elsewhere, which the nodes do not get.
    """
    where = word.partition(":")[0]
    if not is_reference(":".join(word.split(":")[:2])):
        return False
    if not where.endswith(".py"):
        # a package that is installed here must be installed there
        top = where.partition(".")[0]
        return Path(top).is_dir() or Path(f"{top}.py").is_file()
    path = Path(where)
    if path.is_absolute() or not path.resolve().is_relative_to(Path.cwd()):
        raise ValueError(
            f"nodes are sent the current folder: name {where} by a path from a folder above it"
        )
    return True
