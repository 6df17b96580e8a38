"""Published tables: what a source prints of networks that packages build, from its published.toml.

A row stands for a network, the clip that its accuracy is of, and the figures as printed. ``at`` is
the clip that its costs are of, where that is another.
"""

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vidcost import papers
from vidcost.papers.figures import Figure
from vidcost.papers.networks import Size

FILE = "published.toml"


@dataclass(frozen=True)
class Print:
    """A row as printed; "" or None where nothing is. ``views`` are the test protocol's words."""

    source: str
    table: str
    dataset: str
    classes: int
    label: str
    network: str
    clip: Size
    at: Size
    views: str = ""
    top1: str = ""
    params: Figure | None = None
    flops: Figure | None = None

    @property
    def view_count(self) -> int | None:
        """Crops times clips of a video; None where the source does not say."""
        numbers = [int(each) for each in re.findall(r"\d+", self.views)]
        return math.prod(numbers) if numbers else None


class Source(BaseModel):
    """A source: ``states`` is what it says of its own figures, ``counted`` how we chose clips.

    ``conventions`` are conventions of its own: weights of quantities by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str
    read: str
    states: str
    counted: str = ""
    left_out: str = ""
    units: tuple[str, str] = ("M", "G")
    classes: dict[str, int]
    conventions: dict[str, dict[str, int]] = {}
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def prints(self) -> Iterator[Print]:
        """Its rows.  Raises: ValueError that names the row."""
        for cells in self.rows:
            try:
                yield self._print(dict(zip(self.columns, cells, strict=True)))
            except (ValueError, KeyError, TypeError) as error:
                where = f"papers/{self.name}/{FILE}, {' '.join(cells[:3])}"
                raise ValueError(f"{where}: {error}") from None

    def _print(self, cells: dict[str, str]) -> Print:
        clip = _size(cells["clip"])
        params, flops = (
            Figure.parse(cells[kind], bare=unit) if cells.get(kind) else None
            for kind, unit in zip(("params", "flops"), self.units, strict=True)
        )
        return Print(
            source=self.name,
            table=cells["table"],
            dataset=cells["dataset"],
            classes=self.classes[cells["dataset"]],
            label=cells["label"],
            network=cells["network"],
            clip=clip,
            at=_size(cells["at"]) if cells.get("at") else clip,
            views=cells.get("views", ""),
            top1=cells.get("top1", ""),
            params=params,
            flops=flops,
        )


def folders() -> dict[str, Path]:
    """The folders of all sources by name, in alphabetical order."""
    files = (file for root in papers.__path__ for file in Path(root).glob(f"*/{FILE}"))
    return dict(sorted((file.parent.name, file.parent) for file in files))


@cache
def source(name: str) -> Source:
    """Read a source.  Raises: ValueError, in one line, if there is none or it is damaged."""
    found = folders()
    if name not in found:
        raise ValueError(f"no source {name!r}: there are {', '.join(found)}")
    path = found[name] / FILE
    try:
        file: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return Source.model_validate({**file, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} is damaged: {where}: {first['msg']}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _size(text: str) -> Size:
    frames, height, width = map(int, text.split("x"))
    return frames, height, width
