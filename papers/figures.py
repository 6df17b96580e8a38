"""The figures that a paper prints, and when a count of ours equals one."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from vidcost.bench.errors import first_of

_PRINTED = re.compile(r"(?P<bound>>?)(?P<digits>\d+(?:\.\d+)?)(?P<unit>[MGBT]?)")
UNITS = {"": 1, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Figure:
    """A printed parameter or FLOPs figure: ``7.843M``, ``11.176G``, ``>107.9G``."""

    printed: str
    digits: Decimal
    unit: int
    is_bound: bool

    @classmethod
    def parse(cls, printed: str, *, bare: str | None = None) -> Figure:
        """Read a printed figure; ``bare`` is the unit of one without, which else is none.

        Raises: ValueError if it is no figure.
        """
        # a TOML file can hold anything
        match = _PRINTED.fullmatch(printed) if isinstance(printed, str) else None
        unit = match and (match["unit"] or bare)
        if match is None or unit is None:
            raise ValueError(f"{printed!r} is no figure like 7.843M, 11.176G or >107.9G")
        return cls(printed, Decimal(match["digits"]), UNITS[unit], bool(match["bound"]))

    @property
    def value(self) -> float:
        """The figure as a number."""
        return float(self.digits * self.unit)

    def difference(self, value: float) -> float:
        """How far ``value`` is from the figure, relative to it, with its sign."""
        return value / self.value - 1

    def minus(self, other: Figure) -> Decimal:
        """The difference of two printed figures, in their unit."""
        assert self.unit == other.unit, (self, other)
        return self.digits - other.digits

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


def _table_id(value: object) -> object:
    """A number where it is written as one: arguments are text."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


TableId = Annotated[int | str, BeforeValidator(_table_id)]
Kind = Literal["params", "flops"]
Field = Literal["label", "row", "top1", "top5", "params", "flops"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Texts(_Frozen):
    """A text for each of the two figures of a row."""

    params: str = ""
    flops: str = ""


class Fitted(_Frozen):
    """A recipe that gives the figures ``of`` a row: the row and settings; one of ``tried``."""

    spec: str
    of: tuple[Kind, ...]
    tried: int


class PrintedRow(_Frozen):
    """A row of one of the paper's tables, as printed; None where the paper prints nothing.

    ``note`` says how our count differs from a figure that it does not meet.
    """

    table: TableId
    dataset: str = ""
    label: str
    row: str
    top1: str | None = None
    top5: str | None = None
    params: Printed | None = None
    flops: Printed | None = None
    note: Texts = Texts()
    recipe: Fitted | None = None

    def figures(self) -> Iterator[tuple[Kind, Figure, str, Fitted | None]]:
        """The figures that are printed: kind, figure, note, recipe."""
        for kind in get_args(Kind):
            if (figure := getattr(self, kind)) is not None:
                recipe = self.recipe if self.recipe and kind in self.recipe.of else None
                yield kind, figure, getattr(self.note, kind), recipe


class _Table(_Frozen):
    """A table of the file: a text for each column, "" where nothing is printed; notes by row.

    ``dataset`` is that of its accuracies; the atlas has the rows of tables that name one.
    """

    id: TableId
    title: str
    dataset: str = ""
    columns: tuple[Field, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: dict[str, Texts] = {}
    recipes: dict[str, Fitted] = {}

    def read(self) -> Iterator[PrintedRow]:
        """Its rows.  Raises: ValueError that names the row."""
        notes, recipes = dict(self.notes), dict(self.recipes)
        for cells in self.rows:
            if len(cells) != len(self.columns):
                raise ValueError(f"table {self.id} has {len(self.columns)} columns, not {cells}")
            printed = {key: cell for key, cell in zip(self.columns, cells, strict=True) if cell}
            row = printed.get("row", "")
            note, recipe = notes.pop(row, Texts()), recipes.pop(row, None)
            own = {"table": self.id, "dataset": self.dataset, "note": note, "recipe": recipe}
            try:
                yield PrintedRow.model_validate(own | printed)
            except ValidationError as error:
                raise ValueError(f"table {self.id}, {cells[0]}: {first_of(error)}") from None
            for kind in {*get_args(Kind)} - {*printed}:
                if getattr(note, kind) or (recipe and kind in recipe.of):
                    raise ValueError(f"{row} has a note or recipe, and no printed {kind}")
        if left := [*notes, *recipes]:
            raise ValueError(f"table {self.id} has notes or recipes, and no row, of {left[0]}")


class Claim(NamedTuple):
    """A cost claim of the text; the function ``check`` of the paper's claims.py judges it."""

    where: str
    printed: str
    check: str
    rows: tuple[str, ...]
    says: str


class _Tables(BaseModel):
    tables: tuple[_Table, ...]


class Paper(_Frozen):
    """All that a paper prints. ``name`` is its folder's.

    ``families`` are globs of row names by the word for a family of networks, ``datasets`` the
    tables whose accuracies a plot may hold together, by its title.
    """

    name: str
    paper: str
    titles: dict[TableId, str]
    figures: tuple[PrintedRow, ...]
    claims: tuple[Claim, ...] = ()
    families: dict[str, tuple[str, ...]] = {}
    datasets: dict[str, tuple[TableId, ...]] = {}

    def table(self, table: TableId) -> tuple[PrintedRow, ...]:
        """The rows of one table, as printed.  Raises: ValueError if there is no such table."""
        rows = tuple(row for row in self.figures if row.table == _table_id(table))
        if not rows:
            known = ", ".join(map(str, self.titles))
            raise ValueError(f"no table {table} in {self.name}: choose from {known}")
        return rows

    def entry(self, table: TableId, row: str) -> PrintedRow:
        """The entry of ``row`` in ``table``.  Raises: ValueError if there is none."""
        for entry in self.table(table):
            if entry.row == row:
                return entry
        raise ValueError(f"Table {table} of {self.name} has no row {row}")

    def finest(self, row: str, kind: Kind) -> Figure | None:
        """The figure that is printed of ``row`` with most digits, in any table; no bounds."""
        entries = (getattr(entry, kind) for entry in self.figures if entry.row == row)
        exact = [figure for figure in entries if figure is not None and not figure.is_bound]
        return max(exact, key=lambda each: len(each.digits.as_tuple().digits), default=None)

    @property
    def cost_tables(self) -> tuple[int | str, ...]:
        """The tables that print parameters or FLOPs."""
        return tuple(dict.fromkeys(row.table for row in self.figures if row.params or row.flops))

    def tables_of(self, row: str) -> tuple[int | str, ...]:
        """The tables that a row stands in."""
        return tuple(dict.fromkeys(each.table for each in self.figures if each.row == row))

    def family(self, row: str) -> str:
        """The family of networks that a row belongs to."""
        for family, patterns in self.families.items():
            if any(fnmatch.fnmatchcase(row, pattern) for pattern in patterns):
                return family
        return "other networks"


def load(path: Path) -> Paper:
    """Read a paper's figures.toml; the folder names the paper.

    Raises: ValueError, in one line, if it cannot be read or is damaged.
    """
    try:
        file = tomllib.loads(path.read_text(encoding="utf-8"))
        tables = _Tables.model_validate(file).tables
        titles = {table.id: table.title for table in tables}
        figures = tuple(row for table in tables for row in table.read())
        rest = {key: value for key, value in file.items() if key != "tables"}
        return Paper(name=path.parent.name, titles=titles, figures=figures, **rest)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {first_of(error)}") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
