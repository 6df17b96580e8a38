"""Tables of the conformance suite: which counter is right on which operator."""

from collections.abc import Sequence

from conformance.operators import NETWORKS, OPERATORS, Operator
from conformance.statements import Statement
from vidcost.bench.report.table import Column, Table, integer, integer_or_words

_WITH_PRODUCTS = [operator for operator in OPERATORS if operator.macs]
_WITHOUT_PRODUCTS = [operator for operator in OPERATORS if not operator.macs]


def conformance_tables(statements: Sequence[Statement]) -> tuple[Table, ...]:
    """Who is right how often, then each operator, with products and without."""
    return (
        summary_table(statements),
        operator_table(
            *(statements, _WITH_PRODUCTS, "Operators with products"),
            legend="✓ is the integer worked out by hand, in the column MACs.",
        ),
        operator_table(
            *(statements, NETWORKS, "Whole networks"),
            legend="VideoMAE and MFNet on a clip of 16x224x224, the LSTM on 16 steps of 512. "
            "VideoMAE is written as in transformers, without its head.",
        ),
        operator_table(
            *(statements, _WITHOUT_PRODUCTS, "What is added for operators without products"),
            legend="By our convention these are no MACs; other conventions count operations for "
            "them, which is no error.",
        ),
    )


def summary_table(statements: Sequence[Statement]) -> Table:
    """How many operators with products each counter gets right."""

    def right(statement: Statement) -> str:
        if statement.error:
            return "not asked"
        found = sum(statement.figures[o.name] == o.macs for o in _WITH_PRODUCTS)
        return f"{found} of {len(_WITH_PRODUCTS)}"

    return Table(
        title="Operators counted as worked out by hand",
        columns=[Column(name, name.capitalize()) for name in ("counter", "version", "right")],
        lines=[{"counter": s.counter, "version": s.version, "right": right(s)} for s in statements],
        legend=(
            "Each operator stands inside a network of its own, in evaluation mode. ours counts on "
            "the meta device. Others run as they are installed, without gradients, and "
            "attention in parts under ptflops-aten and torch; thop-2020 is the thop of May 2020, "
            "re-implemented; torch is FlopCounterMode, its FLOPs halved. ptflops gives what layers "
            "count as the mean over a batch, which is 2 for most operators.",
            *(f"{s.counter} could not be asked: {s.error}" for s in statements if s.error),
        ),
    )


def operator_table(
    statements: Sequence[Statement], operators: Sequence[Operator], title: str, *, legend: str
) -> Table:
    """The true MACs of operators and each counter's figure; footnotes say why others differ.

    Nobody is right or wrong on operators without products.
    """
    equal, footnotes = set(), {}
    lines = []
    for index, operator in enumerate(operators):
        macs = operator.macs
        inputs = " + ".join("x".join(map(str, shape)) for shape in operator.shapes)
        line: dict[str, object] = {"operator": operator.name, "inputs": inputs, "macs": macs}
        for each in statements:
            figure = line[each.counter] = each.figures[operator.name]
            if macs and figure == macs:
                equal.add((index, each.counter))
            elif isinstance(figure, int) and figure != macs:
                times = f"{figure / macs:.3f} times the MACs" if macs else "not explained"
                footnotes[index, each.counter] = each.terms.get(operator.name) or times
        lines.append(line)
    return Table(
        title=title,
        columns=(
            Column("operator", "Operator"),
            Column("macs", "MACs", integer),
            *(Column(each.counter, each.counter, integer_or_words) for each in statements),
        ),
        lines=lines,
        equal=frozenset(equal),
        footnotes=footnotes,
        legend=(legend,),
    )
