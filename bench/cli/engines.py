"""The options that say where work is done, as an engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from vidcost.bench.cli.options import Where
from vidcost.bench.engine import cluster
from vidcost.bench.engine.here import Here
from vidcost.bench.engine.on_ray import OnRay
from vidcost.bench.engine.work import Engine
from vidcost.bench.session import timing
from vidcost.bench.session.cluster_timing import take_on
from vidcost.bench.timing.cell import Cell
from vidcost.bench.user.reference import is_reference

NO_BUDGET = (
    "--budget shares out one machine's time: leave it out with --engine ray, stop the command when "
    "you want, and give it again to go on"
)


@dataclass(frozen=True)
class Choice:
    """What --engine, --address and --gpu say together.

    Raises: ValueError if they contradict each other, or ``device``.
    """

    where: Where
    address: str | None
    gpu: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.where is Where.HERE:
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
        """What runs pieces of work; what it has to say goes to standard error.

        ``references`` are words of the command, some of which may name a user's code: then the
        current folder is sent to the nodes.
        Raises: ValueError in a line, if there is no such cluster, or no such GPU in it.
        """
        if not self.is_ray:
            yield Here()
            return
        folder = Path.cwd() if any(map(_is_here, references)) else None
        with cluster.joined(self.address, folder=folder):
            types = self.gpu.split(",") if self.gpu else []
            known = cluster.check_types(types) if self.device == "cuda" else ()
            yield OnRay(gpu_types=known, on_note=_say)

    def threads(self) -> int:
        """The cores on which a CPU's cells are timed, of a node; on a GPU the one that feeds it.

        Raises: ValueError if nodes have unlike numbers of them.
        """
        if not self.is_ray:
            return timing.default_threads(self.device)
        if self.device != "cpu":
            return 1
        cores = sorted({int(node.cores) for node in cluster.nodes() if node.suits("machine", ())})
        if len(cores) > 1:
            words = " and ".join(map(str, cores))
            raise ValueError(f"the nodes have {words} cores: say how many to use by --threads")
        return cores[0] if cores else 1

    def check_device(self) -> None:
        """Raises: ValueError if there is no such device here; of a cluster it is asked later."""
        if not self.is_ray:
            timing.check_device(self.device)

    def take(
        self,
        machines: Engine,
        cells: Sequence[Cell],
        results: Path,
        *,
        resume: bool,
        start_up_s: float,
        budget_s: float | None = None,
        command: str = "vidcost time",
    ) -> timing.Taken:
        """Time ``cells`` here, within the budget, or on ``machines``, which know none.

        Raises: ValueError, Interrupted as :func:`take` and :func:`take_on` do.
        """
        console = Console(stderr=True)
        if self.is_ray:
            return take_on(
                machines,
                cells,
                results,
                console=console,
                resume=resume,
                start_up_s=start_up_s,
                command=command,
            )
        return timing.take(
            cells,
            results,
            console=console,
            resume=resume,
            budget_s=budget_s,
            start_up_s=start_up_s,
            command=command,
        )


def _is_here(word: str) -> bool:
    """Whether a word names a user's code in the current folder.

    Raises: ValueError if it is in a file elsewhere, which the nodes do not get.
    """
    where = word.partition(":")[0]
    if not is_reference(":".join(word.split(":")[:2])):
        return False
    if not where.endswith(".py"):
        # a package that is installed here must be there
        top = where.partition(".")[0]
        return Path(top).is_dir() or Path(f"{top}.py").is_file()
    path = Path(where)
    if path.is_absolute() or not path.resolve().is_relative_to(Path.cwd()):
        raise ValueError(
            f"nodes are sent the current folder: name {where} by a path from a folder above it"
        )
    return True


def _say(text: str) -> None:
    typer.echo(text, err=True)
