"""Two sets of stored records side by side: medians of processes, and the rule that judges them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from vidcost.bench.gate.processes import Kind
from vidcost.bench.gate.record import Rule, Share

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SideSamples(_Frozen):
    """What one side has of a subject: medians and peaks of its processes, and why others failed."""

    medians_s: tuple[Seconds, ...] = ()
    peaks_bytes: tuple[NonNegativeInt, ...] = ()
    failures: tuple[str, ...] = ()


class SubjectSamples(_Frozen):
    """A subject on both sides; a side that lacks it is empty."""

    subject: str
    base: SideSamples
    head: SideSamples


class SampleComparison(_Frozen):
    """Records of ``head`` beside those of ``base``, from which every verdict is computed again.

    ``base`` and ``head`` are the paths as given, ``machines`` what their records ran on.
    ``noise``: the standard deviation of the logarithm of process medians, where an A/A study told
    it. ``allow``: fields of a machine that may differ. ``notes`` are sentences for people.
    """

    file: Literal["vidcost gate samples"] = "vidcost gate samples"
    vidcost: str
    base: str
    head: str
    kind: Kind
    rule: Rule
    noise: Share | None = None
    allow: tuple[str, ...] = ()
    machines: tuple[dict[str, str], ...] = ()
    subjects: tuple[SubjectSamples, ...]
    notes: tuple[str, ...] = ()
