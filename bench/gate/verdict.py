"""What a gate says of one subject."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from vidcost.bench.exit_status import DONE, FOUND_WRONG, NOT_JUDGED

Word = Literal["REGRESSED", "IMPROVED", "EQUIVALENT", "INCONCLUSIVE", "INVALID"]
Metric = Literal["latency", "memory"]

CLEAN, REGRESSED, INVALID = DONE, FOUND_WRONG, NOT_JUDGED
"""Exit statuses of a gate."""


class Verdict(BaseModel):
    """The verdict on one subject.

    ``ratio`` is head over base with its 95% interval ``low`` to ``high``; ``margin`` the share by
    which head may be slower here, ``noise`` the standard error of the ratio's logarithm. ``pairs``
    are those it rests on, ``p`` is adjusted for all that were confirmed. ``base`` and ``head`` are
    seconds or bytes. ``why`` is a sentence for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    metric: Metric
    word: Word
    why: str = ""
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    noise: float | None = None
    pairs: int = 0
    p: float | None = None
    base: float | None = None
    head: float | None = None


def exit_status(verdicts: list[Verdict], *, complete: bool = True) -> int:
    """1 if anything regressed, else 3 if anything is invalid or incomplete, else 0."""
    words = {verdict.word for verdict in verdicts}
    if "REGRESSED" in words:
        return REGRESSED
    return CLEAN if complete and verdicts and "INVALID" not in words else INVALID
