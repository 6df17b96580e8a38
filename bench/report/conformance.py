"""Tables of the conformance suite: which counter is right on which operator."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from vidcost.bench.count.conformance import Figure, Statement
from vidcost.bench.count.operators import OPERATORS, Operator
from vidcost.bench.report.table import Column, Table, integer

_WITH_PRODUCTS = [operator for operator in OPERATORS if operator.macs]
_WITHOUT_PRODUCTS = [operator for operator in OPERATORS if not operator.macs]


def conformance_tables(statements: Sequence[Statement]) -> tuple[Table, ...]:
    """Who is right how often, then each operator: forward, backward, and without products."""
    return (
        summary_table(statements),
        product_table(statements, "forward"),
        product_table(statements, "backward"),
        convention_table(statements),
    )


def conformance_markdown(statements: Sequence[Statement]) -> str:
    """The tables as one document."""
    tables = "\n".join(table.markdown() for table in conformance_tables(statements))
    return f"# Conformance: which counter is right on which operator\n\n{tables}"


def summary_table(statements: Sequence[Statement]) -> Table:
    """How many operators each counter gets right."""
    forward = {o.name: o.macs for o in _WITH_PRODUCTS}
    backward = {o.name: o.backward for o in _WITH_PRODUCTS if o.backward is not None}
    return Table(
        title="Operators counted as worked out by hand",
        columns=[
            Column(name, name.capitalize())
            for name in ("counter", "version", "forward", "backward")
        ],
        lines=[
            {
                "counter": each.counter,
                "version": each.version,
                "forward": _right(each, each.forward, forward),
                "backward": _right(each, each.backward, backward),
            }
            for each in statements
        ],
        legend=(
            "Each operator stands inside a network of its own, in evaluation mode; the backward "
            "pass of ours is one of training. ours counts on the meta device. Packages run as they "
            "are installed, with gradients enabled, and attention in parts under ptflops; "
            "thop-2020 is the thop of May 2020, re-implemented. torch is FlopCounterMode, "
            "its FLOPs halved, on real tensors (CPU) and on shapes (meta). An en dash: counts no "
            "backward pass.",
            *(
                f"{each.counter} could not be asked: {each.error}"
                for each in statements
                if each.error
            ),
        ),
    )


def product_table(statements: Sequence[Statement], phase: Literal["forward", "backward"]) -> Table:
    """The operators that have MACs: the true ones, and each counter's figure.

    The backward pass has the gradients of all parameters and inputs, and only the counters that
    count it.
    """
    forward = phase == "forward"
    operators = [o for o in _WITH_PRODUCTS if forward or o.has_gradient]
    answers = {s.counter: said for s in statements if (said := getattr(s, phase))}
    equal, footnotes = set(), {}
    lines = []
    for index, operator in enumerate(operators):
        macs = operator.macs if forward else 2 * operator.macs
        readings = operator.readings if forward else operator.backward_readings
        line: dict[str, object] = {"operator": operator.name, "true": macs}
        for counter, said in answers.items():
            figure = line[counter] = said[operator.name]
            if figure == macs:
                equal.add((index, counter))
            elif isinstance(figure, int):
                footnotes[index, counter] = _explained(figure, macs, readings)
        lines.append(line)
    title, legend = "Backward pass, gradients of all parameters and inputs", ""
    if forward:
        title, legend = (
            "Forward pass",
            (
                " On CPU torch runs scaled_dot_product_attention as one fused operator, and in "
                "evaluation mode under no_grad all of MultiheadAttention."
            ),
        )
    return Table(
        title=title,
        columns=(
            Column("operator", "Operator"),
            Column("true", "MACs", integer),
            *(Column(counter, counter, _figure_or_status) for counter in answers),
        ),
        lines=lines,
        equal=frozenset(equal),
        footnotes=footnotes,
        legend=(f"✓ is the integer worked out by hand, in the column MACs.{legend}",),
    )


def convention_table(statements: Sequence[Statement]) -> Table:
    """The operators without MACs: what each counter counts for an element."""
    return Table(
        title="What is added for operators without products",
        columns=(
            Column("operator", "Operator"),
            *(Column(each.counter, each.counter) for each in statements),
        ),
        lines=[
            {"operator": operator.name}
            | {each.counter: _per_element(operator, each.forward) for each in statements}
            for operator in _WITHOUT_PRODUCTS
        ],
        legend=(
            "By our convention these are no MACs; other conventions count operations for them, "
            "which is no error. Shown is what a counter's figure comes to by element: of the input "
            "(in), of the output (out), or of either where both have as many.",
        ),
    )


def data_table(statements: Sequence[Statement]) -> Table:
    """For json and csv: a line per operator; a counter without a figure has a status."""
    lines = []
    for operator in OPERATORS:
        line: dict[str, object] = {
            "operator": operator.name,
            "inputs": " + ".join("x".join(map(str, shape)) for shape in operator.shapes),
            "forward": operator.macs,
            "backward": operator.backward,
        }
        for each in statements:
            for phase, answers in (("forward", each.forward), ("backward", each.backward)):
                if answers:
                    said = answers.get(operator.name)
                    key = f"{each.counter.lower().replace(' ', '_')}_{phase}"
                    line[key] = None if isinstance(said, str) else said
                    line[f"{key}_status"] = said if isinstance(said, str) else None
        lines.append(line)
    return Table("Conformance", [Column(key, key) for key in lines[0]], lines)


def _right(statement: Statement, said: Mapping[str, Figure], true: Mapping[str, int]) -> str | None:
    if statement.error:
        return "not asked"
    if not said:
        return None
    return f"{sum(said[name] == macs for name, macs in true.items())} of {len(true)}"


def _figure_or_status(value: int | str) -> str:
    return value if isinstance(value, str) else integer(value)


def _explained(figure: int, macs: int, readings: Mapping[str, int]) -> str:
    """What a figure comes to that is not the MACs."""
    if figure == 0:
        return "not seen"
    meant = (words for words, reading in readings.items() if figure == reading)
    return next(meant, f"{figure / macs:.3f} times the MACs")


def _per_element(operator: Operator, answers: Mapping[str, Figure]) -> str:
    """The figure by element, for an operator without MACs."""
    figure = answers[operator.name]
    if isinstance(figure, str):
        return figure
    for words, reading in operator.readings.items():
        if figure == reading:
            return words
    if figure == 0:
        return "0"
    with torch.device("meta"):
        network, inputs = operator.network(), operator.inputs()
        into, out = inputs[0].numel(), network(*inputs).numel()
    sides = [(into, "")] if into == out else [(into, " in"), (out, " out")]
    # of the side of which it is fewer times the elements
    for elements, side in sorted(sides, reverse=True):
        if figure % elements == 0:
            return f"{figure // elements} per element{side}"
    return "1 per element in, 1 out" if figure == into + out else integer(figure)
