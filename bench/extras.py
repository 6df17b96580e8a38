"""Optional dependencies: an extra that is missing becomes one line that says how to install it."""

from collections.abc import Mapping
from importlib.util import find_spec

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "report": ("altair", "vl_convert", "jinja2", "sympy", "pandas"),
    "query": ("duckdb", "pandas"),
    "reference": ("fvcore", "thop"),
    "ray": ("ray",),
    "junit": ("junitparser",),
}
"""The modules that each extra installs."""


def require(extra: str) -> None:
    """Check that ``extra`` is installed, without importing it: call this before the import.

    Raises: ValueError that names the missing packages and the extra.
    """
    missing = [module for module in EXTRAS[extra] if find_spec(module) is None]
    if missing:
        raise ValueError(
            f"this needs {' and '.join(missing)}: `pip install 'vidcost[{extra}]'` installs "
            f"{'it' if len(missing) == 1 else 'them'}"
        )
