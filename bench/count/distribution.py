"""The packages that answer as reference counters: whether they are there, and are themselves."""

from __future__ import annotations

import importlib
import importlib.metadata
from functools import cache


class NotInstalled(ImportError):
    """There is no such reference counter here."""


class WrongDistribution(ImportError):
    """Another distribution answers to the reference counter's import name."""


@cache
def version(distribution: str) -> str:
    """The installed version of a distribution, or "not installed"."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def check_distribution(name: str) -> None:
    """Refuse a reference counter that is not there, or not itself.

    Raises: NotInstalled, WrongDistribution.
    """
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise NotInstalled(f"{name} is not installed: `pip install {name}` adds it") from None
    # ultralytics-thop answers to thop's import name and counts otherwise
    owners = importlib.metadata.packages_distributions().get(name, [])
    if owners != [name]:
        raise WrongDistribution(
            f"module {name} belongs to {', '.join(sorted(set(owners))) or 'no distribution'}, "
            f"not to {name} alone: `pip uninstall` the other, then "
            f"`pip install --force-reinstall {name}`"
        )
