"""The options of the timing axes, derived from their table."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_type_hints

import typer

from vidcost.bench.timing.cell import AXES, choices, default

Command = Callable[..., None]


def with_axes(*names: str, several: bool = False) -> Callable[[Command], Command]:
    """Give a command an option for each axis of ``names`` in place of its parameter ``axes``.

    ``axes`` then is a dict of their values by name; with ``several`` of lists of values, which are
    separated by commas on the command line, without those that are not given.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            chosen = {name: given.pop(name) for name in names}
            if several:
                chosen = {name: value.split(",") for name, value in chosen.items() if value}
            command(**given, axes=chosen)

        hints = get_type_hints(command, include_extras=True)
        parameters: list[inspect.Parameter] = []
        for name, parameter in inspect.signature(command).parameters.items():
            if name == "axes":
                parameters += [_option(each, several=several) for each in names]
            else:
                typed = parameter.replace(annotation=hints[name], kind=parameter.KEYWORD_ONLY)
                parameters.append(typed)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _option(name: str, *, several: bool) -> inspect.Parameter:
    axis, values = AXES[name], choices(name)
    kind: Any = str if several or values else int
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        metavar=f"{axis.metavar or 'N'},..." if several else None,
        min=1 if kind is int else None,
        show_default=str(default(name)) if several and default(name) is not None else True,
        help=f"{axis.help or f'{axis.label} of a row, instead of its own.'} {_in_words(values)}",
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if several else default(name),
        annotation=Annotated[kind | None if several else kind, option],
    )


def _in_words(values: Sequence[str]) -> str:
    *first, last = values or [""]
    return f"{', '.join(first)} or {last}." if first else ""
