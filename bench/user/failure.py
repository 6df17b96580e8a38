"""What a user's code did instead of its work."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec


class UserCodeError(Exception):
    """A user's code raised or left; the message is one line that says where."""


@contextmanager
def of_user_code() -> Iterator[None]:
    """Turns whatever leaves the block, ``SystemExit`` too, into a :class:`UserCodeError`.

    Not Ctrl-C, and not a lack of memory, which is no fault of the code.
    """
    try:
        yield
    except (UserCodeError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        raise UserCodeError(last_line(error)) from error


def last_line(error: BaseException) -> str:
    """The last line of the traceback, with the place it came from.

    The place is the innermost one in a file that is neither installed nor ours, if any.
    """
    said = "".join(traceback.format_exception_only(error)).strip().splitlines()
    if isinstance(error, SyntaxError):
        # its own lines show the place first
        return f"{said[-1]} ({error.filename}, line {error.lineno})"
    if isinstance(error, SystemExit):
        said = [f"sys.exit({error.code!r})"]
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if not frame.filename.startswith(_not_theirs())]
    place = f" ({outside[-1].filename}, line {outside[-1].lineno})" if outside else ""
    # the message may have lines of its own: the last line would be its end alone
    return f"{' '.join(said)[:500]}{place}"


@cache
def _not_theirs() -> tuple[str, ...]:
    """Where installed packages and our own code are; code without a file begins with ``<``."""
    # found, not imported: the models bring torch
    specs = map(find_spec, ("vidcost.bench", "vidcost.models"))
    ours = [folder for spec in specs if spec for folder in spec.submodule_search_locations or ()]
    return sys.prefix, sys.base_prefix, *ours, "<"
