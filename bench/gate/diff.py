"""The counts of a row or network, by the code here or at a git ref, to be compared with another."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vidcost.bench.gate.baseline import Entry, entry_of
from vidcost.bench.gate.settings import Settings
from vidcost.bench.gate.versions import git, lay
from vidcost.bench.inspection.counted import counted_here
from vidcost.bench.timing.cell import checked_cell
from vidcost.bench.timing.plan import network_fields, row_fields
from vidcost.bench.user.reference import is_reference
from vidcost.papers.catalog import select


def entry_at(
    network: str, inputs: Sequence[str], depth: int, ref: str | None, folder: Path
) -> Entry:
    """Parameters and MACs of ``network`` and its modules; a git ``ref`` is laid out in ``folder``.

    Isolate it: it runs a user's code, and changes where modules are found.
    Raises: ValueError if there is no such network or ref, or it cannot be counted.
    """
    if ref is not None:
        if not is_reference(network) or Path(network).is_absolute():
            raise ValueError(f"{network}: at a ref name a file in the folder here: my_net.py:make")
        here = Path.cwd()
        top = Path(git(here, "rev-parse", "--show-toplevel"))
        lay(top, ref, folder)
        os.chdir(folder / here.relative_to(top))
        # before what is installed of it
        sys.path[:0] = map(str, (Path.cwd(), folder, folder / "src"))
    rows = () if is_reference(network) else select([network])
    if len(rows) > 1:
        raise ValueError(f"{network} names {len(rows)} rows: name one")
    fields = row_fields(rows[0]) if rows else network_fields(network, inputs)
    found = counted_here(checked_cell(fields))
    if found.count is None:
        raise ValueError(f"{network}: {found.error}")
    return entry_of(found.count, Settings(figures=("params", "macs"), depth=depth))
