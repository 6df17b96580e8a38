"""The table ``[tool.vidcost]`` of a repository's pyproject.toml, and the bounds of its tests."""

import fnmatch
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, NonNegativeInt, ValidationError

from vidcost.bench.gate.record import Bounds

FIGURES = ("params", "macs", "conv", "linear", "matmul")
"""Figures of the whole network that are held by default; in training also the backward pass's."""

FIND_ABOVE_MARGIN = 0.02


def _fraction(value: object) -> object:
    """8% is 0.08."""
    is_percent = isinstance(value, str) and value.endswith("%")
    return float(str(value)[:-1]) / 100 if is_percent else value


Percent = Annotated[float, BeforeValidator(_fraction), Field(gt=0, lt=1)]


class Wanted(BaseModel, frozen=True, extra="forbid"):
    """``margin`` and ``find`` as ``"8%"`` or 0.08; None leaves it to others."""

    margin: Percent | None = None
    find: Percent | None = None


class Override(Wanted, frozen=True, extra="forbid"):
    """Those of the tests whose id is, or matches, the pattern ``test``."""

    test: str


class TimeSettings(Wanted, frozen=True, extra="forbid"):
    """Of all timings; ``install``: each version is built and installed before it is timed."""

    install: bool = False
    override: tuple[Override, ...] = ()


class Settings(BaseModel, frozen=True, extra="forbid"):
    """``figures`` of the whole network are held, and modules down to ``depth`` levels.

    ``baselines`` is the folder beside the tests.
    """

    figures: tuple[str, ...] = FIGURES
    depth: Annotated[NonNegativeInt, Field(strict=True)] = 1
    baselines: Annotated[str, Field(min_length=1)] = "__counts__"
    time: TimeSettings = TimeSettings()


def settings(folder: Path) -> Settings:
    """The settings of the repository in ``folder``.

    Raises: ValueError, in a line, if they are not as :class:`Settings` says.
    """
    path = folder / "pyproject.toml"
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("vidcost", {})
        return Settings.model_validate(given)
    except FileNotFoundError:
        return Settings()
    except ValidationError as error:
        raise ValueError(f"{path}: [tool.vidcost] {in_a_line(error)}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None


def in_a_line(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def bounds(what: str, *layers: Wanted) -> Bounds:
    """The margin and find of the last of ``layers`` that names them.

    Raises: ValueError, beginning with ``what``, if ``find`` does not lie above the margin.
    """
    known: dict[str, float] = {}
    for layer in layers:
        known |= layer.model_dump(include={"margin", "find"}, exclude_none=True)
    margin = known.get("margin", Bounds().margin)
    find = known.get("find", round(margin + FIND_ABOVE_MARGIN, 6))
    if not margin < find < 1:
        raise ValueError(f"{what}find {find:g} must lie between the margin {margin:g} and 1")
    return Bounds(margin=margin, find=find)


def own_bounds(
    time: TimeSettings, options: Wanted, marks: Mapping[str, Mapping[str, Any]]
) -> dict[str, Bounds]:
    """The bounds of tests that have their own: from a mark, over overrides, over all the rest.

    ``marks`` are the arguments of the marker ``vidcost`` by test id. A later override goes over an
    earlier one.
    Raises: ValueError with the test if its bounds make no sense.
    """
    found = {}
    for test, given in marks.items():
        own: list[Wanted] = [
            each for each in time.override if test == each.test or fnmatch.fnmatch(test, each.test)
        ]
        try:
            own += [Wanted.model_validate(given)] * bool(given)
        except ValidationError as error:
            raise ValueError(f"{test}: @pytest.mark.vidcost: {in_a_line(error)}") from None
        if own:
            found[test] = bounds(f"{test}: ", time, options, *own)
    return found
