"""What a shell completes beside commands and options: rows, blocks, devices, conditions.

typer drops what does not begin with the word so far, which is why none of these is given it unless
it holds several values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from vidcost.bench.timing.axes import FULL, STAGES

# what needs torch is imported by who asks for it: no other completion should wait for it


def rows() -> list[str]:
    """Names of rows."""
    from vidcost.papers.catalog import every_row

    return list(every_row())


def blocks() -> list[str]:
    """Names of blocks; their options follow a colon, at which bash begins a new word."""
    from vidcost.models.registry import BLOCKS

    return list(BLOCKS)


def impls() -> list[str]:
    """Implementations of blocks, and both."""
    from vidcost.models.blocks.impl import IMPLS

    return [*IMPLS, ",".join(IMPLS)]


def blocks_or_all() -> list[str]:
    """Names of blocks, and the word for all of them."""
    return ["all", *blocks()]


def positions() -> list[str]:
    """Positions at which some row has a block; in bash they, too, hold a colon."""
    from vidcost.papers.catalog import rows_of

    taken = (row.build.keywords["blocks"] for row in rows_of() if isinstance(row.build, partial))
    return sorted({position for blocks in taken for position in blocks})


def devices() -> list[str]:
    """Kinds of devices, whether there is one or not: to look would take seconds."""
    return ["cpu", "cuda"]


def papers() -> list[str]:
    """Names of papers."""
    from vidcost.papers.catalog import folders

    return list(folders())


def tables() -> list[str]:
    """The default paper's tables."""
    from vidcost.papers import catalog

    return list(map(str, catalog.paper().titles))


def papers_and_tables() -> list[str]:
    """Names of papers, and the default paper's tables."""
    return [*papers(), *tables()]


def several_of(*values: str) -> Callable[[str], list[str]]:
    """Values separated by commas: each may follow what stands there already."""

    def complete(incomplete: str) -> list[str]:
        before, comma, _ = incomplete.rpartition(",")
        return [before + comma + value for value in values if value not in before.split(",")]

    return complete


campaigns = several_of(FULL, *STAGES)
