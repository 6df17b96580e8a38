"""When samples are good enough: the warm-up, the chunks, the end."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vidcost.bench.timing.messages import Chunk, Limits, Reply
from vidcost.bench.timing.record import Part, Protocol
from vidcost.bench.timing.statistics import precision

Samples = Mapping[Part, Sequence[float]]
Take = Callable[[int], Samples]
"""Takes so many samples, one after the other; seconds by part."""

WINDOW_SAMPLES = 3
WINDOW_S = 0.05
"""A window of the warm-up has at least so many samples and lasts at least so long."""
AGREE = 0.02
"""Two windows agree if their medians differ by less than this share."""
MOST_IN_A_CHUNK = 2000


@dataclass
class Sampled:
    """The samples that were kept, and how they came about."""

    samples: dict[Part, list[float]] = field(default_factory=dict)
    warmup_samples: int = 0
    settled: bool = False
    sampling_s: float = 0.0
    void_samples: int = 0

    def protocol(self, seed: int) -> Protocol:
        """For the record."""
        return Protocol(
            warmup_samples=self.warmup_samples,
            settled=self.settled,
            precision=worst_precision(self.samples),
            sampling_s=self.sampling_s,
            void_samples=self.void_samples,
            seed=seed,
        )


def sample(
    take: Take, limits: Limits, exchange: Callable[[Chunk], Reply], *, now: Callable[[], float]
) -> Sampled:
    """Warm up, then take chunks until they are precise and steady enough or time is up.

    ``exchange`` says of each chunk whether it is kept, void, or the last. ``now`` is a clock in
    seconds. Without a clean chunk in all the time, there are no samples.
    """
    result = Sampled()
    each_s = _warm_up(take, limits, result, now)
    started = now()
    while True:
        size = max(1, min(MOST_IN_A_CHUNK, math.ceil(limits.chunk_s / each_s)))
        taken = take(size)
        result.sampling_s = now() - started
        tentative = _joined(result.samples, taken)
        main = next(iter(tentative.values()))
        reply = exchange(
            Chunk(
                samples=len(main),
                median_s=statistics.median(main),
                precision=worst_precision(tentative),
                sampling_s=result.sampling_s,
            )
        )
        if reply == "void":
            result.void_samples += size
        else:
            result.samples = tentative
        if reply == "stop" or result.sampling_s >= limits.sampling_s:
            return result
        if result.samples:
            reached = worst_precision(result.samples)
            kept = len(next(iter(result.samples.values())))
            if (
                kept >= limits.min_samples
                and reached is not None
                and reached <= limits.precision
                and not drifts(result.samples, 2 * limits.precision)
            ):
                return result


def drifts(samples: Samples, tolerance: float) -> bool:
    """Whether the medians of the earlier and the later half differ by more than ``tolerance``."""
    values = next(iter(samples.values()))
    middle = len(values) // 2
    earlier, later = statistics.median(values[:middle]), statistics.median(values[middle:])
    return abs(later - earlier) > tolerance * earlier


def worst_precision(samples: Samples) -> float | None:
    """Of the whole, or of the less precise side of a share; parts of a step do not count."""
    whole = [values for part, values in samples.items() if part in ("latency", "with", "without")]
    reached = [precision(values) for values in whole]
    known = [value for value in reached if value is not None]
    return max(known) if known and len(known) == len(reached) else None


def _warm_up(take: Take, limits: Limits, result: Sampled, now: Callable[[], float]) -> float:
    """Take windows until two in a row agree; returns the seconds that one sample takes."""
    started = now()
    before: float | None = None
    size = WINDOW_SAMPLES
    while True:
        window_started = now()
        taken = take(size)
        each_s = max((now() - window_started) / size, 1e-9)
        result.warmup_samples += size
        middle = statistics.median(next(iter(taken.values())))
        if before is not None and abs(middle - before) <= AGREE * before:
            result.settled = True
            return each_s
        if now() - started >= limits.warmup_s:
            return each_s
        # windows of unlike lengths are not compared
        wanted = max(WINDOW_SAMPLES, min(MOST_IN_A_CHUNK, math.ceil(WINDOW_S / each_s)))
        if wanted > 2 * size:
            size, before = wanted, None
        else:
            before = middle


def _joined(kept: Samples, taken: Samples) -> dict[Part, list[float]]:
    return {part: [*kept.get(part, ()), *values] for part, values in taken.items()}
