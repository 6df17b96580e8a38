"""Values that a shell completes: rows, blocks, positions, papers, conditions.

typer drops those that do not begin with the word so far, so only lists separated by commas look at
it. Modules that import torch are imported when they are asked for.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module


def names(module: str, attribute: str, *others: str) -> Callable[[], list[str]]:
    """Completes the names in an attribute of a module, or in what it returns, and ``others``."""

    def complete() -> list[str]:
        found = getattr(import_module(f"vidcost.{module}"), attribute)
        return [*others, *(found() if callable(found) else found)]

    return complete


rows = names("papers.catalog", "every_row")
papers = names("papers.catalog", "folders")
blocks = names("models.registry", "BLOCKS")
blocks_or_all = names("models.registry", "BLOCKS", "all")
impls = names("models.blocks.impl", "IMPLS", "reference,optimized")


def positions() -> list[str]:
    """Positions at which some row has a block."""
    from vidcost.papers.catalog import rows_of

    taken = (row.build.keywords["blocks"] for row in rows_of() if isinstance(row.build, partial))
    return sorted({position for blocks in taken for position in blocks})


def tables() -> list[str]:
    """The default paper's tables."""
    from vidcost.papers import catalog

    return list(map(str, catalog.paper().titles))


def papers_and_tables() -> list[str]:
    """Names of papers, and the default paper's tables."""
    return [*papers(), *tables()]


def several_of(*values: str) -> Callable[[str], list[str]]:
    """Values separated by commas: each may follow those that stand there already."""

    def complete(incomplete: str) -> list[str]:
        before, comma, _ = incomplete.rpartition(",")
        return [before + comma + value for value in values if value not in before.split(",")]

    return complete
