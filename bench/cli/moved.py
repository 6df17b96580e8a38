"""Commands of earlier versions, and what to use now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MOVED: Mapping[str, str] = {
    "gate study": "`python tools/gate_study.py` in a checkout measures the gate's error rates",
    "fast": "`vidcost time --blocks all --impl reference,optimized` compares the implementations",
    "time --share": "`vidcost time --contribution` times what blocks add to their networks",
    "history": "`git log -p results/counts.jsonl` shows the history of the committed counts",
    "ledger": "`vidcost explain` explains what other counters print",
    "show": "`vidcost count ROW --depth 2` shows the modules of a row",
    "block": "`vidcost count BLOCK --shape CxTxHxW` counts blocks alone",
    "count --witnesses": "`vidcost count --references` asks other counters too",
    "audit --search": "`vidcost audit --recipe 'ROW AXIS=CHOICE'` counts a row otherwise",
    "export": "`vidcost query SQL --parquet FILE` writes an answer as Parquet",
}
"""By the words of a command, and an option of it if only that went: what to use instead."""


def check_moved(arguments: Sequence[str]) -> None:
    """Raise ValueError that names the replacement if ``arguments`` call a command that moved."""
    for old, now in MOVED.items():
        words = old.split()
        command = [word for word in words if not word.startswith("-")]
        given = [argument.partition("=")[0] for argument in arguments[len(command) :]]
        if [*arguments[: len(command)]] == command and set(words) <= {*command, *given}:
            raise ValueError(f"`vidcost {old}` is gone: {now}")
