"""Tables of the conformance suite: which counter is right on which operator."""

from collections.abc import Mapping, Sequence
from typing import Literal

from vidcost.bench.count.conformance import Figure, Statement, why
from vidcost.bench.count.operators import OPERATORS, Operator
from vidcost.bench.report.table import Column, Table, integer

_WITH_PRODUCTS = [operator for operator in OPERATORS if operator.macs]
_WITHOUT_PRODUCTS = [operator for operator in OPERATORS if not operator.macs]
_PRODUCTS = (
    "✓ is the integer worked out by hand, in the column MACs. On CPU torch runs "
    "scaled_dot_product_attention as one fused operator, and in evaluation mode under no_grad all "
    "of MultiheadAttention. It counts a weight's gradient as if there were no groups."
)
_NO_PRODUCTS = (
    "By our convention these are no MACs; other conventions count operations for them, which is no "
    "error."
)


def conformance_tables(statements: Sequence[Statement]) -> tuple[Table, ...]:
    """Who is right how often, then each operator: forward, backward, and without products."""
    return (
        summary_table(statements),
        operator_table(statements, "forward", _WITH_PRODUCTS),
        operator_table(statements, "backward", _WITH_PRODUCTS),
        operator_table(statements, "forward", _WITHOUT_PRODUCTS),
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


def operator_table(
    statements: Sequence[Statement],
    phase: Literal["forward", "backward"],
    operators: Sequence[Operator],
) -> Table:
    """The true MACs of operators and each counter's figure; footnotes say why others differ.

    The backward pass has the gradients of all parameters and inputs, and only the counters that
    count it. Nobody is right or wrong on operators without products.
    """
    forward = phase == "forward"
    operators = [o for o in operators if forward or o.has_gradient]
    answers = {s.counter: said for s in statements if (said := getattr(s, phase))}
    equal, footnotes = set(), {}
    lines = []
    for index, operator in enumerate(operators):
        macs = operator.macs if forward else 2 * operator.macs
        line: dict[str, object] = {"operator": operator.name, "true": macs}
        for counter, said in answers.items():
            figure = line[counter] = said[operator.name]
            if figure == macs:
                equal.add((index, counter))
            elif isinstance(figure, int):
                reason = why(counter, operator, figure) if forward else ""
                times = f"{figure / macs:.3f} times the MACs" if macs else "not explained"
                footnotes[index, counter] = reason or (times if figure else "not seen")
        lines.append(line)
    has_products = any(operator.macs for operator in operators)
    title = "Forward pass" if forward else "Backward pass, gradients of all parameters and inputs"
    return Table(
        title=title if has_products else "What is added for operators without products",
        columns=(
            Column("operator", "Operator"),
            Column("true", "MACs", integer),
            *(Column(counter, counter, _figure_or_status) for counter in answers),
        ),
        lines=lines,
        equal=frozenset(equal if has_products else ()),
        footnotes=footnotes,
        legend=(_PRODUCTS if has_products else _NO_PRODUCTS,),
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
