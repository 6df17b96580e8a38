import re

import pytest

from vidcost.bench.report.audit import claims as audit_claims
from vidcost.bench.report.audit.claims import judge_claims, printed_gap, within_rounding
from vidcost.papers import catalog
from vidcost.papers.figures import Figure


@pytest.fixture(scope="module")
def judged():
    return {(each.claim.where, each.claim.printed): each for each in judge_claims(catalog.paper())}


def test_every_claim_is_judged_once(judged):
    assert [(each.where, each.printed) for each in catalog.paper().claims] == list(judged)
    assert all(e.by_paper and e.by_count and e.because and e.command for e in judged.values())


@pytest.mark.parametrize(
    ("where", "printed", "by_paper", "by_count"),
    [
        ("Section 4.2.3", "0.09M", "does not hold", "does not hold"),
        ("Section 4.2.3", "less than 0.12%", "holds", "holds"),
        ("Section 4.2.3", "negligible computation cost", "holds", "holds"),
        ("Section 4.3", "0.22M", "holds within rounding (0.23M)", "does not hold"),
        ("Section 4.3", "0.42G", "does not hold", "holds in thop and thop-2020 only"),
        ("Section 4.3", "1.92M", "holds", "does not hold"),
        ("Section 4.3", "5.41G", "holds", "does not hold"),
        ("Section 4.3", "3.35%", "does not hold", "not a cost"),
        (
            "Section 4.3",
            "both lower",
            "holds",
            "parameters: holds; FLOPs: holds in thop and thop-2020, not in macs and fvcore",
        ),
        (
            "Abstract",
            "decreased computation cost",
            "holds",
            "holds in thop and thop-2020, not in macs and fvcore",
        ),
        ("Equation 4", "2C^3N", "holds", "does not hold"),
        ("Section 3.3", "lower computation cost", "holds", "holds"),
        ("Table 6, caption", "lower", "holds", "lower, but the classes do not account for it"),
    ],
)
def test_verdicts(judged, where, printed, by_paper, by_count):
    verdict = judged[where, printed]
    assert (by_paper, by_count) == (verdict.by_paper, verdict.by_count)


@pytest.mark.parametrize(
    ("where", "printed", "words"),
    [
        # Q and K of 96 x 48
        ("Section 4.2.3", "0.09M", "7.92M and 7.911M differ by 0.009M, and 9,216 are counted"),
        ("Section 4.3", "0.22M", "NL as counted less PNL as printed, 7.92M, is 0.22M"),
        ("Section 4.3", "0.42G", "11.66G and 11.22G, which differ by 0.44G"),
        ("Section 4.3", "0.42G", "NL as counted (thop-2020) less PNL as printed, 11.218G, is"),
        ("Section 4.3", "3.35%", "Over the baseline it is 4.74%; 3.35% is over MFNet-NL"),
        ("Section 4.3", "5.41G", "18.72G and 13.31G, which differ by 5.41G"),
        # 99 classes of 2048 weights and a bias
        ("Table 6, caption", "lower", "1.28M and 0.95G below r50-nl; the classes make 202,851"),
        ("Abstract", "decreased computation cost", "16.033G against 12.452G macs"),
    ],
)
def test_the_numbers_of_a_verdict(judged, where, printed, words):
    assert words in judged[where, printed].because


def test_increases_without_a_figure_to_check_are_given(judged):
    found = judged["Section 4.3", "limited increase"]
    assert "+1.9% FLOPs (mfnet-pnl-x5)" in found.by_paper
    assert "+45.2% MACs (mfnet-pnl-x5)" in found.by_count


def test_each_verdict_has_a_command(judged):
    names = {row for claim in catalog.paper().claims for row in claim.rows}
    for verdict in judged.values():
        assert re.fullmatch("vidcost (formulas --format md|count .*)", verdict.command)
        if "count" in verdict.command:
            assert set(verdict.command.split()[2:]) <= names


def changed(**figures):
    """The paper with other figures printed for a row, as row=(parameters, FLOPs)."""
    paper = catalog.paper()
    return paper.model_copy(
        update={
            "figures": tuple(
                entry.model_copy(
                    update={
                        kind: Figure.parse(printed)
                        for kind, printed in zip(
                            ("params", "flops"),
                            figures[entry.row.replace("-", "_")],
                            strict=True,
                        )
                    }
                )
                if entry.row.replace("-", "_") in figures and entry.params
                else entry
                for entry in paper.figures
            )
        }
    )


def test_a_paper_that_printed_other_figures_is_judged_otherwise():
    paper = changed(
        mfnet_nl=("8.14M", "11.64G"),
        mfnet_pnl=("7.92M", "11.22G"),
        mfnet_pnl_x5=("9.12M", "12.38G"),
    )
    judged = {(each.claim.where, each.claim.printed): each for each in judge_claims(paper)}
    assert "holds" == judged["Section 4.3", "0.42G"].by_paper
    assert "holds" == judged["Section 4.3", "0.22M"].by_paper
    assert "does not hold" == judged["Abstract", "decreased computation cost"].by_paper


def test_a_network_that_costs_less_everywhere_is_judged_otherwise(monkeypatch):
    real = audit_claims.ours
    monkeypatch.setattr(
        audit_claims, "ours", lambda row: real("mfnet" if row == "mfnet-pnl-x5" else row)
    )
    judged = {
        (each.claim.where, each.claim.printed): each for each in judge_claims(catalog.paper())
    }
    assert "holds" == judged["Abstract", "decreased computation cost"].by_count


def test_a_claim_without_a_verdict_is_refused():
    paper = catalog.paper()
    claim = paper.claims[0].model_copy(update={"printed": "another claim"})
    with pytest.raises(KeyError, match="another claim"):
        judge_claims(paper.model_copy(update={"claims": (claim,)}))


@pytest.mark.parametrize(
    ("claim", "left", "right", "fits"),
    [
        ("0.23M", "8.15M", "7.92M", True),
        # 8.146 and 7.924 round so, and differ by 0.222
        ("0.22M", "8.15M", "7.92M", True),
        ("0.21M", "8.15M", "7.92M", False),
        ("0.42G", "11.66G", "11.22G", False),
        ("0.09M", "7.92M", "7.911M", False),
        ("0.01M", "7.92M", "7.911M", True),
    ],
)
def test_what_rounding_allows(claim, left, right, fits):
    claim, left, right = map(Figure.parse, (claim, left, right))
    assert fits == within_rounding(claim, left, right)


def test_a_gap_is_exact():
    assert "0.009" == str(printed_gap(Figure.parse("7.92M"), Figure.parse("7.911M")))
