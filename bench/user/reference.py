"""References to a user's objects, such as ``my_file.py:name``, and errors of their code."""

import hashlib
import importlib.util
import operator
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_WORD = r"[^\W\d]\w*"
_DOTTED = rf"{_WORD}(?:\.{_WORD})*"
_REFERENCE = re.compile(rf"([^:]+\.py|{_DOTTED}):({_DOTTED})")


class UserCodeError(Exception):
    """A user's code raised an error or exited; the message is one line that says where."""


@contextmanager
def of_user_code(*others: type[Exception]) -> Iterator[None]:
    """Turn every exception in the block, ``SystemExit`` too, into a :class:`UserCodeError`.

    Except ``others``, and Ctrl-C and a lack of memory, which is no fault of the code.
    """
    let_by: tuple[type[BaseException], ...] = (UserCodeError, KeyboardInterrupt, MemoryError)
    try:
        yield
    except (*let_by, *others):
        raise
    except BaseException as error:
        raise UserCodeError(last_line(error)) from error


def last_line(error: BaseException) -> str:
    """The error in a line, with its innermost place in a file of the user's."""
    lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
    if isinstance(error, SyntaxError):
        # its own lines show the place first
        return f"{lines[-1]} ({error.filename}, line {error.lineno})"
    if isinstance(error, SystemExit):
        lines = [f"sys.exit({error.code!r})"]
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if not frame.filename.startswith(_not_theirs())]
    place = f" ({outside[-1].filename}, line {outside[-1].lineno})" if outside else ""
    return f"{' '.join(lines)[:500]}{place}"


@cache
def _not_theirs() -> tuple[str, ...]:
    """Beginnings of the paths of installed packages and our own; ``<`` is code without a file."""
    # found, not imported: the models bring torch
    specs = map(importlib.util.find_spec, ("vidcost.bench", "vidcost.models"))
    ours = [folder for spec in specs if spec for folder in spec.submodule_search_locations or ()]
    return sys.prefix, sys.base_prefix, *ours, "<"


def is_reference(text: str) -> bool:
    """Whether ``text`` has the form of a reference. Its object need not exist."""
    return _REFERENCE.fullmatch(text) is not None


def load(reference: str) -> Any:
    """The object that ``reference`` names. Runs the user's module.

    Modules are found as usual, then in the current folder; imports of a file in its folder too.
    Raises: ValueError if there is no such file, module or name; UserCodeError if the module raises.
    """
    where, name = _parts(reference)
    module = _from_file(Path(where)) if where.endswith(".py") else _from_module(where)
    try:
        return operator.attrgetter(name)(module)
    except AttributeError:
        raise ValueError(f"{where} has no {name!r}") from None


def digest(reference: str) -> str:
    """A digest of the code behind ``reference``: of its file, or of its whole package.

    Nothing is run. Code that is imported from elsewhere is not part of it.
    Raises: ValueError if there is no such file or module.
    """
    where, _ = _parts(reference)
    if where.endswith(".py"):
        files = [_existing(Path(where))]
    else:
        spec = _find(where.partition(".")[0])
        folders = map(Path, spec.submodule_search_locations or ())
        files = sorted(path for folder in folders for path in folder.rglob("*.py"))
        if not files and spec.has_location:
            files = [Path(str(spec.origin))]
    content = hashlib.sha256()
    for path in files:
        content.update(path.name.encode() + b"\0" + path.read_bytes())
    return content.hexdigest()


def _parts(reference: str) -> tuple[str, str]:
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise ValueError(
            f"{reference!r} is no reference such as my_net.py:make_model or my_pkg.my_module:Name"
        )
    return found[1], found[2]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"no file {path}: name one by its path from the current folder")
    return path


def _from_file(path: Path) -> ModuleType:
    resolved = _existing(path).resolve()
    # a name of its own, or it would stand in for an installed module of the same name
    name = f"vidcost_user_{hashlib.sha256(str(resolved).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    assert spec is not None, resolved
    module = importlib.util.module_from_spec(spec)
    _search(resolved.parent)
    # before it runs: dataclasses and pickle look it up there
    sys.modules[name] = module
    try:
        with of_user_code():
            # compiled again: cached bytecode is checked by second and size only
            exec(compile(resolved.read_bytes(), str(resolved), "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_module(name: str) -> ModuleType:
    _find(name.partition(".")[0])
    with of_user_code():
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name
            # a module that the user's code lacks is an error of that code
            if missing is None or not f"{name}.".startswith(f"{missing}."):
                raise
    raise ValueError(f"no module {name!r}: {missing!r} is not there")


def _find(top: str) -> ModuleSpec:
    _search(Path.cwd())
    spec = importlib.util.find_spec(top)
    if spec is None:
        raise ValueError(f"no module {top!r}: install it, or run from the folder it is in")
    return spec


def _search(folder: Path) -> None:
    """Search it last, so that no file there stands in for an installed module."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
