"""Published tables: what a source prints of networks that packages build, from sources/NAME.toml.

A line of ``rows`` is a network, the clip that its accuracies are of, the clip that its costs are of
where that is another, parameters and FLOPs as printed, and every row of the source that prints
them: ``dataset|table|label|views|top1``.
"""

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from atlas.networks import Size
from vidcost.bench.errors import first_of
from vidcost.papers.figures import Figure


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
    quantities by the name of a convention of its own.
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
                    figure(text, unit) if text else None
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


_UNITS = {"": 1, "B": 10**9, "T": 10**12}
"""Units of published tables that papers' figures lack."""


def figure(text: str, bare: str) -> Figure:
    """A printed figure; ``bare`` is the unit of one without.  Raises: ValueError if it is none."""
    unit = text[-1:] if text[-1:].isalpha() else bare
    known = unit if unit not in _UNITS else "M"
    read = Figure.parse(f"{text.removesuffix(unit)}{known}")
    return replace(read, printed=text, unit=_UNITS.get(unit, read.unit))


def files() -> dict[str, Path]:
    """The files of all sources by name, in alphabetical order."""
    found = Path(__file__).with_name("sources").glob("*.toml")
    return dict(sorted((file.stem, file) for file in found))


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
