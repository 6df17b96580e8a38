"""The figures that a paper prints, and what it means that ours equals one."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from importlib.resources.abc import Traversable
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

_PRINTED = re.compile(r"(?P<bound>>?)(?P<digits>\d+(?:\.\d+)?)(?P<unit>[MG])")
_UNITS = {"M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class Figure:
    """A printed parameter or FLOPs figure: ``7.843M``, ``11.176G``, ``>107.9G``."""

    printed: str
    digits: Decimal
    unit: int
    is_bound: bool

    @classmethod
    def parse(cls, printed: str) -> Figure:
        """Read a printed figure.  Raises: ValueError if it is none."""
        # a TOML file can hold anything
        match = _PRINTED.fullmatch(printed) if isinstance(printed, str) else None
        if match is None:
            raise ValueError(f"{printed!r} is no figure like 7.843M, 11.176G or >107.9G")
        return cls(printed, Decimal(match["digits"]), _UNITS[match["unit"]], bool(match["bound"]))

    @property
    def value(self) -> float:
        """The figure as a number."""
        return float(self.digits * self.unit)

    @property
    def step(self) -> float:
        """One in its last printed digit."""
        return float(Decimal(1).scaleb(int(self.digits.as_tuple().exponent)) * self.unit)

    def equals(self, value: int) -> bool:
        """Whether ``value``, rounded to the printed precision, is the figure.

        A bound is met by every greater value. A tie may have been rounded either way.
        """
        scaled = Decimal(value) / self.unit
        if self.is_bound:
            return scaled > self.digits
        return self.digits in {
            scaled.quantize(self.digits, rounding=rounding)
            for rounding in (ROUND_HALF_UP, ROUND_HALF_DOWN)
        }


Printed = Annotated[Figure, BeforeValidator(Figure.parse)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Note(_Frozen):
    """How ours differs from a printed figure that no count of ours equals."""

    params: str = ""
    flops: str = ""


class PrintedRow(_Frozen):
    """A row of one of the paper's tables, as printed; None where the paper prints nothing."""

    table: Literal[1, 2, 3, 4, 5, 6]
    label: str
    row: str
    group: str = ""
    top1: str
    top5: str | None = None
    params: Printed | None = None
    flops: Printed | None = None
    note: Note = Note()


class Claim(_Frozen):
    """A cost claim of the prose: where it stands, what is printed, of which rows."""

    where: str
    printed: str
    says: str
    rows: tuple[str, ...]


class Growth(_Frozen):
    """Where blocks' costs are drawn as N grows: the map (C, T, H, W) that is marked."""

    shape: tuple[int, int, int, int]
    where: str


class Paper(_Frozen):
    """All printed figures of the paper.

    ``datasets`` are the tables whose accuracies are of one dataset; ``growth`` is drawn if given.
    """

    paper: str
    titles: dict[int, str]
    figures: tuple[PrintedRow, ...]
    claims: tuple[Claim, ...]
    datasets: dict[str, tuple[int, ...]] = {}
    growth: Growth | None = None

    def table(self, number: int) -> tuple[PrintedRow, ...]:
        """The rows of one table, as printed.  Raises: ValueError if there is no such table."""
        rows = tuple(row for row in self.figures if row.table == number)
        if not rows:
            raise ValueError(f"no table {number}: the paper has Tables 1 to 6")
        return rows


def load(path: Traversable) -> Paper:
    """Read a file of printed figures.

    Raises: ValueError, in one line, if it cannot be read or is damaged.
    """
    try:
        return Paper.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} is damaged: {where}: {first['msg']}") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
