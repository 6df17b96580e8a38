"""Where a command has cells timed: on this machine, or on a Ray cluster."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vidcost.bench.cli.output import complain
from vidcost.bench.inspection.counted import predict
from vidcost.bench.isolation import LIMIT_S, Isolated
from vidcost.bench.progress import progress
from vidcost.bench.timing import machine, on_ray, sweep
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.parent import Predicted
from vidcost.bench.timing.store import store_of
from vidcost.bench.user.reference import is_reference


@dataclass(frozen=True)
class Place:
    """The options --engine, --address, --gpu and --device together.

    Raises: ValueError if they contradict each other, or ``budget``, or there is no such device.
    """

    engine: Literal["here", "ray"]
    address: str | None
    gpu: str | None
    device: str
    budget: str | None = None

    def __post_init__(self) -> None:
        if self.engine == "here":
            if self.address or self.gpu:
                raise ValueError("--address and --gpu are for a Ray cluster: give --engine ray too")
            machine.check_device(self.device)
        elif self.device not in ("cpu", "cuda"):
            raise ValueError(f"no device {self.device!r} on a cluster: give --device cuda or cpu")
        elif self.gpu and self.device != "cuda":
            raise ValueError("--gpu chooses among GPUs: give --device cuda too")
        elif self.budget is not None:
            raise ValueError(
                "--budget divides the time of one machine: leave it out with --engine ray, stop "
                "the command at any time, and give it again to continue"
            )

    @contextlib.contextmanager
    def joined(self, words: Sequence[str] = ()) -> Iterator[int]:
        """Within the block cells can be timed there; yields the threads of a cell.

        If one of ``words`` names a user's code, the nodes get the current folder.
        Raises: ValueError if no such cluster answers.
        """
        if self.engine == "here":
            yield machine.default_threads(self.device)
            return
        is_code = (is_reference(":".join(word.split(":")[:2])) for word in words)
        folder = Path.cwd() if any(is_code) else None
        with on_ray.joined(self.address, folder=folder) as cores:
            yield cores if self.device == "cpu" else 1


def take(
    cells: Sequence[Cell],
    results: Path,
    *,
    place: Place | None = None,
    resume: bool = True,
    budget_s: float | None = None,
    start_up_s: float | None = None,
    began: float | None = None,
    predicted: Mapping[Cell, Predicted] = {},
    command: str = "vidcost time",
) -> sweep.Swept:
    """Time ``cells`` of one device with progress, and store them in the results folder.

    Here within the budget, or on the cluster of ``place``, which has been joined. ``start_up_s`` is
    the time a worker may take beside its sampling; None is the default. ``began`` is as for
    :func:`sweep.sweep`, ``predicted`` what has been counted already.
    Raises: ValueError, Interrupted as :func:`sweep.sweep` and :func:`on_ray.sweep_on_ray` do.
    """
    if not cells:
        return sweep.Swept()
    device = cells[0].device
    limit_s = min(start_up_s or LIMIT_S, LIMIT_S)
    with progress("timing", len(set(cells))) as show, Isolated() as process:
        common: dict[str, Any] = {
            "limits": sweep.limits_for(device, start_up_s=start_up_s),
            "resume": resume,
            "on_progress": show,
        }
        if place is not None and place.engine == "ray":
            common["predict"] = partial(predict, limit_s=limit_s)
            return on_ray.sweep_on_ray(cells, results, command=command, gpu=place.gpu, **common)
        count = partial(predict, limit_s=limit_s, call=process.call)
        store = store_of(results, machine.machine_of(device), command=command)
        return sweep.sweep(
            cells,
            store,
            predict=lambda cell: predicted.get(cell) or count(cell),
            budget_s=budget_s,
            warn=complain,
            began=began,
            **common,
        )
