"""Options that several commands share as one value, among them those of the timing axes."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_type_hints

import typer

from vidcost.bench.timing.cell import AXES, choices, default

Command = Callable[..., None]


def with_parts(**makers: Callable[..., Any]) -> Callable[[Command], Command]:
    """Give a command the options of ``makers`` in place of its parameters of their names.

    A parameter then is what its maker returns for its options.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            parts = {
                name: maker(**{each.name: given.pop(each.name) for each in _parameters(maker)})
                for name, maker in makers.items()
            }
            command(**given, **parts)

        parameters: list[inspect.Parameter] = []
        for each in _parameters(command):
            maker = makers.get(each.name)
            parameters += [each] if maker is None else _parameters(maker)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def with_axes(*names: str, several: bool = False) -> Callable[[Command], Command]:
    """Give a command an option for each axis of ``names`` in place of its parameter ``axes``.

    ``axes`` then is a dict of their values by name; with ``several`` of lists of values, which are
    separated by commas on the command line, without those that are not given.
    """

    def axes(**chosen: Any) -> dict[str, Any]:
        if several:
            return {name: value.split(",") for name, value in chosen.items() if value}
        return chosen

    options = [_option(each, several=several) for each in names]
    axes.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return with_parts(axes=axes)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    return [
        each.replace(annotation=hints.get(name, each.annotation), kind=each.KEYWORD_ONLY)
        for name, each in inspect.signature(function).parameters.items()
    ]


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
