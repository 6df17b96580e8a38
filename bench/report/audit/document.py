"""The audit as a document: the findings first, then every figure and every claim."""

from __future__ import annotations

from collections.abc import Sequence

from vidcost.bench.audit.verdicts import Judged
from vidcost.bench.report.audit.claims import judge_claims
from vidcost.bench.report.audit.findings import findings
from vidcost.bench.report.audit.fits import Finding
from vidcost.bench.report.audit.tables import claim_table, figure_table, verdict_counts
from vidcost.papers.figures import Paper


def audit_markdown(paper: Paper, judged: Sequence[Judged]) -> str:
    """The whole document."""
    return "\n".join(
        [
            _head(paper, judged),
            "## What changes a conclusion\n",
            *(
                _section(number, each)
                for number, each in enumerate(findings(paper, tuple(judged)), start=1)
            ),
            "## Figures\n",
            figure_table(judged).markdown(),
            "## Claims\n",
            claim_table(judge_claims(paper)).markdown(),
        ]
    )


def _head(paper: Paper, judged: Sequence[Judged]) -> str:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdict_counts(judged).items())
    return (
        f"# Audit\n\nEvery parameter and FLOPs figure that {paper.paper} prints in Tables 3, 5 and "
        "6, and every cost claim of its text, held against the networks as they are described, "
        f"built and counted here. Of {len(judged)} figures: {counts}. Every number of ours is "
        "counted when this file is written. A difference does not say who is right: the paper "
        "leaves settings open, and a recipe that gives a printed figure shows only that it could "
        "have come about so.\n"
    )


def _section(number: int, finding: Finding) -> str:
    shown = " · ".join(f"`{command}`" for command in finding.commands)
    return (
        f"### {number}. {finding.title}\n\n{finding.equal}\n\n{finding.differs}\n\n"
        f"Shown by {shown}\n"
    )
