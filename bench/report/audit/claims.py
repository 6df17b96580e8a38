"""The paper's cost claims in prose, each held against its own figures and against the count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from vidcost.bench.audit.recipe_search import target_of
from vidcost.bench.audit.recipes import Figures, Recipe, figures
from vidcost.bench.audit.verdicts import Kind, values
from vidcost.bench.formulas.claims import HOLDS, HOLDS_NOT, NEGLIGIBLE, verdicts
from vidcost.bench.report.table import billions, millions
from vidcost.papers.catalog import select
from vidcost.papers.figures import Claim, Figure, Paper, PrintedRow


@dataclass(frozen=True)
class ClaimVerdict:
    """What is left of a claim: by the paper's own figures or forms, and by the count.

    ``command`` shows the counts.
    """

    claim: Claim
    by_paper: str
    by_count: str
    because: str
    command: str


_Said = tuple[str, str, str]
"""By the paper, by the count, because."""


def judge_claims(paper: Paper) -> tuple[ClaimVerdict, ...]:
    """A verdict on every claim of the paper, in its order.

    Raises: KeyError if a claim has no verdict.
    """
    of_formulas = {
        (each.where, each.printed): (each.under_printed, each.under_derived, each.because)
        for each in verdicts()
    }
    judged = []
    for claim in paper.claims:
        key = claim.where, claim.printed
        if key in of_formulas:
            said, command = of_formulas[key], "vidcost formulas --format md"
        else:
            said = _COSTS[key](claim, paper)
            command = f"vidcost count {' '.join(claim.rows)}"
        judged.append(ClaimVerdict(claim, *said, command))
    return tuple(judged)


def ours(row: str) -> Figures:
    """What is counted for ``row`` as described."""
    return figures(Recipe(select([row])[0]))


def printed(paper: Paper, table: int, row: str) -> PrintedRow:
    """The entry of ``row`` in ``table``."""
    (entry,) = (each for each in paper.table(table) if each.row == row)
    return entry


def printed_gap(left: Figure | None, right: Figure | None) -> Decimal:
    """The difference of two printed figures of one unit."""
    assert left is not None
    assert right is not None
    assert left.unit == right.unit
    return left.digits - right.digits


def within_rounding(claim: Figure, left: Figure | None, right: Figure | None) -> bool:
    """Whether numbers that round to ``left`` and ``right`` can differ by about ``claim``."""
    gap = printed_gap(left, right)
    steps = [each.step / each.unit for each in (claim, left, right) if each]
    return abs(float(gap - claim.digits)) <= sum(steps) / 2 + 1e-9


def share(part: float, whole: float) -> str:
    """A share as a percentage with its sign."""
    return f"{part / whole:+.1%}"


def _holds(is_so: bool) -> str:
    return HOLDS if is_so else HOLDS_NOT


def _listed(words: list[str]) -> str:
    return " and ".join((", ".join(words[:-1]), words[-1]) if len(words) > 1 else words)


def _gap(kind: Kind, table: int) -> Callable[[Claim, Paper], _Said]:
    """A claim "PNL has this much less than NL"."""

    def judge(claim: Claim, paper: Paper) -> _Said:
        said = Figure.parse(claim.printed)
        pnl, nl = claim.rows
        left, right = (getattr(printed(paper, table, row), kind) for row in (nl, pnl))
        gap = f"{printed_gap(left, right)}{claim.printed[-1]}"
        fits = within_rounding(said, left, right)
        counted = {
            name: value - dict(values(kind, ours(pnl)))[name]
            for name, value in values(kind, ours(nl))
        }
        written = millions if kind == "params" else billions
        met = [name for name, value in counted.items() if said.equals(value)]
        gaps = ", ".join(
            written(value) if kind == "params" else f"{written(value)} {name}"
            for name, value in counted.items()
        )
        because = (
            f"Table {table} prints {left.printed} and {right.printed}, which differ by {gap}. "
            f"Counted: {gaps}."
        )
        sharpest = getattr(target_of(select([pnl])[0], paper), kind)
        mixed = [
            name
            for name, value in values(kind, ours(nl))
            if said.equals(round(value - sharpest.value))
        ]
        exact = printed_gap(left, right) == said.digits
        if mixed and not exact:
            seen_by = "" if kind == "params" else f" ({_listed(mixed)})"
            because += (
                f" NL as counted{seen_by} less PNL as printed, {sharpest.printed}, is "
                f"{claim.printed}."
            )
        by_count = HOLDS_NOT
        if met:
            by_count = HOLDS if kind == "params" else f"holds in {_listed(met)} only"
        by_paper = HOLDS if exact else f"holds within rounding ({gap})" if fits else HOLDS_NOT
        return by_paper, by_count, because

    return judge


def _params_of_attention(claim: Claim, paper: Paper) -> _Said:
    attention, concat = claim.rows
    left, right = (printed(paper, 3, row).params for row in claim.rows)
    said = Figure.parse(claim.printed)
    counted = ours(attention).params - ours(concat).params
    return (
        _holds(within_rounding(said, left, right)),
        _holds(said.equals(counted)),
        f"Table 3's {left.printed} and {right.printed} differ by {printed_gap(left, right)}M, and "
        f"{counted:,} are counted: a tenth of what the sentence says. The percentage in the same "
        "sentence fits the smaller number, so this looks like a slip of the pen."
        if left and right and 9 < said.value / counted < 11
        else f"Counted: {counted:,}.",
    )


def _share_of_attention(claim: Claim, paper: Paper) -> _Said:
    attention, concat = claim.rows
    limit = float(claim.printed.removeprefix("less than ").removesuffix("%")) / 100
    left, right = (printed(paper, 3, row).params for row in claim.rows)
    assert right is not None
    by_paper = float(printed_gap(left, right) / right.digits)
    counted = ours(attention).params / ours(concat).params - 1
    return (
        _holds(by_paper < limit),
        _holds(counted < limit),
        f"{by_paper:.3%} by Table 3, {counted:.3%} counted.",
    )


def _negligible_f_comb(claim: Claim, paper: Paper) -> _Said:
    attention, concat = claim.rows
    left, right = (printed(paper, 3, row).flops for row in claim.rows)
    assert right is not None
    by_paper = float(printed_gap(left, right) / right.digits)
    counted = ours(attention).flops["macs"] / ours(concat).flops["macs"] - 1
    return (
        _holds(by_paper < NEGLIGIBLE),
        _holds(counted < NEGLIGIBLE),
        f"{by_paper:.3%} of the network's FLOPs by Table 3, {counted:.3%} of its MACs counted. "
        f"Negligible: below {float(NEGLIGIBLE):.0%}, as the paper gives no figure.",
    )


def _accuracy(claim: Claim, paper: Paper) -> _Said:
    best, baseline = (_percent(printed(paper, 5, row).top1) for row in claim.rows)
    said = _percent(claim.printed)
    over = [
        entry.label
        for entry in paper.table(5)
        if entry.row != claim.rows[0] and best - _percent(entry.top1) == said
    ]
    return (
        _holds(best - baseline == said),
        "not a cost",
        f"Over the baseline it is {best - baseline}%; {said}% is over {_listed(over)}."
        if over
        else f"Over the baseline it is {best - baseline}%.",
    )


def _percent(text: str) -> Decimal:
    return Decimal(text.removesuffix("%"))


def _both_lower(claim: Claim, paper: Paper) -> _Said:
    by_paper, by_count, because = _less_than_nl(claim, paper)
    fewer = [ours(row).params for row in claim.rows]
    return (
        by_paper,
        f"parameters: {_holds(fewer[0] < fewer[1])}; FLOPs: {by_count}",
        f"Parameters counted: {millions(fewer[0])} against {millions(fewer[1])}. {because}",
    )


def _less_than_nl(claim: Claim, paper: Paper) -> _Said:
    *pnls, nl = claim.rows
    nl_printed = printed(paper, 5, nl).flops
    below, sentences = [], []
    by_paper = True
    for pnl in pnls:
        flops = printed(paper, 5, pnl).flops
        by_paper = by_paper and printed_gap(nl_printed, flops) > 0
        less = [name for name, value in values("flops", ours(pnl)) if value < ours(nl).flops[name]]
        more = [name for name in ours(nl).flops if name not in less]
        verdict = f"holds in {_listed(less)}, not in {_listed(more)}" if less and more else ""
        below.append((pnl, verdict or _holds(bool(less))))
        sentences.append(
            f"{pnl}: "
            + ", ".join(
                f"{billions(value)} against {billions(ours(nl).flops[name])} {name}"
                for name, value in ours(pnl).flops.items()
            )
        )
    by_count = below[0][1] if len(below) == 1 else "; ".join(f"{a}: {b}" for a, b in below)
    return _holds(by_paper), by_count, ". ".join(sentences) + "."


def _increase_by_nl(claim: Claim, paper: Paper) -> _Said:
    pairs = [(5, claim.rows[0], claim.rows[1]), (6, claim.rows[2], claim.rows[3])]
    by_paper, by_count = [], []
    for table, block, plain in pairs:
        more, less = (printed(paper, table, row).flops for row in (block, plain))
        assert less is not None
        by_paper.append(f"{share(float(printed_gap(more, less)), float(less.digits))} ({block})")
        with_block, without = ours(block).flops["macs"], ours(plain).flops["macs"]
        by_count.append(f"{share(with_block - without, without)} MACs ({block})")
    return (
        ", ".join(by_paper),
        ", ".join(by_count),
        "The paper gives no figure to check; these are the increases over the network without it.",
    )


def _limited_increase(claim: Claim, paper: Paper) -> _Said:
    *pnls, plain = claim.rows
    base = printed(paper, 5, plain)
    by_paper, by_count = [], []
    for pnl in pnls:
        entry = printed(paper, 5, pnl)
        assert base.flops is not None
        more = share(float(printed_gap(entry.flops, base.flops)), float(base.flops.digits))
        by_paper.append(f"{more} FLOPs ({pnl})")
        counted = ours(pnl).flops["macs"] - ours(plain).flops["macs"]
        by_count.append(f"{share(counted, ours(plain).flops['macs'])} MACs ({pnl})")
    return (
        ", ".join(by_paper),
        ", ".join(by_count),
        "The paper gives no figure to check. What the printed FLOPs leave out, the products of two "
        "activations, is most of what is added.",
    )


def _fewer_classes(claim: Claim, paper: Paper) -> _Said:
    sentences, lower, enough = [], True, True
    for small, large in zip(claim.rows[::2], claim.rows[1::2], strict=True):
        fewer, more = printed(paper, 6, small), printed(paper, 5, large)
        params, flops = (
            printed_gap(getattr(more, kind), getattr(fewer, kind)) for kind in ("params", "flops")
        )
        lower = lower and params > 0 and flops > 0
        of_classes = ours(large).params - ours(small).params
        macs = ours(large).flops["macs"] - ours(small).flops["macs"]
        enough = enough and of_classes >= float(params) * 1e6 and macs >= float(flops) * 1e9
        sentences.append(
            f"{small} is printed {params}M and {flops}G below {large}; the classes make "
            f"{of_classes:,} parameters and {macs:,} MACs"
        )
    return (
        _holds(lower),
        f"lower, but the classes {'' if enough else 'do not '}account for it",
        (". ".join(sentences) + "."),
    )


_COSTS: dict[tuple[str, str], Callable[[Claim, Paper], _Said]] = {
    ("Abstract", "decreased computation cost"): _less_than_nl,
    ("Abstract", "significant increase"): _increase_by_nl,
    ("Section 1", "less computation cost"): _less_than_nl,
    ("Section 4.2.3", "0.09M"): _params_of_attention,
    ("Section 4.2.3", "less than 0.12%"): _share_of_attention,
    ("Section 4.2.3", "negligible computation cost"): _negligible_f_comb,
    ("Section 4.3", "limited increase"): _limited_increase,
    ("Section 4.3", "0.22M"): _gap("params", 5),
    ("Section 4.3", "0.42G"): _gap("flops", 5),
    ("Section 4.3", "3.35%"): _accuracy,
    ("Section 4.3", "both lower"): _both_lower,
    ("Section 4.3", "1.92M"): _gap("params", 6),
    ("Section 4.3", "5.41G"): _gap("flops", 6),
    ("Table 6, caption", "lower"): _fewer_classes,
    ("Section 5", "significantly less computation cost"): _less_than_nl,
}
