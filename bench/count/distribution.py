"""The packages that answer as witnesses: whether they are there, and are themselves."""

from __future__ import annotations

import importlib
import importlib.metadata
from functools import cache


class NotInstalled(ImportError):
    """There is no such witness here."""


class WrongDistribution(ImportError):
    """Another distribution answers to the witness's import name."""


@cache
def version(distribution: str) -> str:
    """The installed version of a distribution, or "not installed"."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def check_distribution(witness: str) -> None:
    """Refuse a witness that is not there, or not itself.

    Raises: NotInstalled, WrongDistribution.
    """
    try:
        importlib.import_module(witness)
    except ModuleNotFoundError as error:
        if error.name != witness:
            raise
        raise NotInstalled(f"{witness} is not installed: `pip install {witness}` adds it") from None
    # ultralytics-thop answers to thop's import name and counts otherwise
    owners = importlib.metadata.packages_distributions().get(witness, [])
    if owners != [witness]:
        raise WrongDistribution(
            f"module {witness} belongs to {', '.join(sorted(set(owners))) or 'no distribution'}, "
            f"not to {witness} alone: `pip uninstall` the other, then "
            f"`pip install --force-reinstall {witness}`"
        )
