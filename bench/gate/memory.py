"""The verdict on memory."""

from __future__ import annotations

from vidcost.bench.gate.record import Rule
from vidcost.bench.gate.verdict import Verdict, Word


def memory_verdict(subject: str, base: int, head: int, rule: Rule) -> Verdict:
    """Of what a pass allocates, which does not vary as its time does; bytes."""
    allowed = max(rule.memory_margin * base, rule.memory_bytes)
    word: Word
    if head - base > allowed:
        word, why = "REGRESSED", f"{head - base:+,} bytes, {allowed:,.0f} are allowed"
    elif base - head > allowed:
        word, why = "IMPROVED", f"{head - base:+,} bytes"
    else:
        word, why = "EQUIVALENT", f"{head - base:+,} bytes" if head != base else "the same"
    return Verdict(
        subject=subject,
        metric="memory",
        word=word,
        why=why,
        ratio=head / base if base else None,
        margin=allowed / base if base else None,
        pairs=1,
        base=base,
        head=head,
    )
