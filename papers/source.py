"""Published tables: what a model zoo or paper prints of networks, from NAME/source.toml.

A line of ``rows`` is a network, the clip that its accuracies are of, the clip that its costs are of
where that is another, parameters and FLOPs as printed, and every row of the source that prints
them: ``dataset|table|label|views|top1``.
"""

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vidcost import papers
from vidcost.bench.errors import first_of
from vidcost.papers.figures import Figure

Size = tuple[int, int, int]
"""Frames, height, width."""


@dataclass(frozen=True)
class Print:
    """A row as printed; ``at`` is the clip of its costs, ``views`` the test protocol's words."""

    source: str
    table: str
    dataset: str
    classes: int
    label: str
    network: str
    clip: Size
    at: Size
    views: str
    top1: float | None
    params: Figure | None
    flops: Figure | None

    @property
    def view_count(self) -> int | None:
        """Crops times clips of a video; None where the source does not say."""
        return math.prod(map(int, re.findall(r"\d+", self.views))) if self.views else None


class Source(BaseModel):
    """A source: ``states`` is what it says of its own figures, ``counted`` how we chose clips.

    ``units`` are those of bare figures, ``classes`` those of datasets, ``conventions`` weights of
    quantities by the name of a convention of its own. ``name`` is its folder's.
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
    rows: tuple[tuple[str, ...], ...]

    def prints(self) -> Iterator[Print]:
        """Its rows.  Raises: ValueError that names the row."""
        for network, clip, at, params, flops, *rows in self.rows:
            try:
                figures = [
                    Figure.parse(text, bare=unit) if text else None
                    for text, unit in zip((params, flops), self.units, strict=True)
                ]
                sizes = _size(clip), _size(at or clip)
                for row in rows:
                    dataset, table, label, views, top1 = row.split("|")
                    yield Print(
                        self.name,
                        table,
                        dataset,
                        self.classes[dataset],
                        label,
                        network,
                        *sizes,
                        views,
                        float(top1) if top1 else None,
                        *figures,
                    )
            except (ValueError, KeyError) as error:
                raise ValueError(f"source {self.name}, {network} at {clip}: {error}") from None


def files() -> dict[str, Path]:
    """The files of all sources by name, in alphabetical order."""
    found = (file for root in papers.__path__ for file in Path(root).glob("*/source.toml"))
    return dict(sorted((file.parent.name, file) for file in found))


@cache
def source(name: str) -> Source:
    """Read a source.  Raises: ValueError, in one line, if there is none or it is damaged."""
    if (path := files().get(name)) is None:
        raise ValueError(f"no source {name!r}: there are {', '.join(files())}")
    try:
        file = tomllib.loads(path.read_text(encoding="utf-8"))
        return Source.model_validate({**file, "name": name})
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {first_of(error)}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _size(text: str) -> Size:
    frames, height, width = map(int, text.split("x"))
    return frames, height, width
