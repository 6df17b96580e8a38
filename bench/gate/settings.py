"""The table ``[tool.vidcost]`` of a repository's pyproject.toml."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from vidcost.bench.gate.record import Bounds, Percent
from vidcost.papers.figures import first_of

FIGURES = ("params", "macs", "conv", "linear", "matmul")
"""Figures of the whole network that are held by default; in training also the backward pass's."""


class TimeSettings(BaseModel, frozen=True, extra="forbid"):
    """Of all timings, and of tests that ``override`` names.

    ``install``: each version is built and installed before it is timed.
    """

    margin: Percent | None = None
    find: Percent | None = None
    install: bool = False
    override: tuple[Bounds, ...] = ()


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
        raise ValueError(f"{path}: [tool.vidcost] {first_of(error)}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
