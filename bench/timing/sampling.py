"""Takes samples: the warm-up, chunks of samples, and when there are enough."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from vidcost.bench.timing.messages import Chunk, Limits, Reply
from vidcost.bench.timing.record import PARTS, Protocol
from vidcost.bench.timing.statistics import median_interval, ratios, summary

Samples = Mapping[str, Sequence[float]]
Take = Callable[[int], Samples]
"""Takes so many samples, one after the other; seconds by part."""

WINDOW_SAMPLES = 3
WINDOW_S = 0.05
"""A window of the warm-up has at least so many samples and lasts at least so long."""
AGREE = 0.02
"""Two windows agree if the medians of every side differ by less than this fraction."""
MOST_IN_A_CHUNK = 2000
ENOUGH_BATCHES = 40
"""Before there are so many uncorrelated batches, a narrow interval is no reason to stop.

Of samples that drift there never are.
"""
GROWTH = 1.5
"""How many times as many samples there are each time the end is considered.

To stop as soon as an interval happens to be narrow makes intervals too narrow: the end is
considered only a few times.
"""


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep Python's garbage collector out of the samples."""
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@_without_collection()
def sample(
    take: Take,
    limits: Limits,
    exchange: Callable[[Chunk], Reply],
    *,
    now: Callable[[], float] = time.monotonic,
    resolution_s: float = 0.0,
    after_s: Callable[[float], float] = lambda pass_s: 0.0,
) -> tuple[Samples, Protocol]:
    """Warm up, then take chunks until they are precise and steady enough or time is up.

    ``exchange`` says of each chunk whether it is kept, void, or the last. ``now`` is a clock in
    seconds, ``resolution_s`` the smallest difference it shows: no interval needs to be narrower.
    ``after_s`` is what follows the sampling takes, where a pass of every side takes so long.
    Without a clean chunk in all the time, there are no samples.
    """
    samples: Samples = {}

    def first(pass_s: float) -> None:
        if limits.ends_at is not None:
            needs_s = pass_s + after_s(pass_s)
            exchange(Chunk(samples=0, median_s=pass_s, sampling_s=0, needs_s=needs_s))

    warmup_samples, settled, each_s = _warm_up(take, limits, now, first)
    ends_at = math.inf if limits.ends_at is None else limits.ends_at
    started, sampling_s, void_samples = now(), 0.0, 0
    considered_at = limits.min_samples
    if limits.turn_samples is not None:
        samples = _interleaved(take, limits.turn_samples, exchange, now)
        sampling_s = now() - started
    while limits.turn_samples is None:
        size = max(1, min(MOST_IN_A_CHUNK, math.ceil(limits.chunk_s / each_s)))
        taken = take(size)
        sampling_s = now() - started
        tentative = {part: [*samples.get(part, ()), *values] for part, values in taken.items()}
        main = next(iter(tentative.values()))
        reply = exchange(
            Chunk(
                samples=len(main),
                median_s=statistics.median(main),
                precision=precision_of(tentative, resolution_s),
                sampling_s=sampling_s,
            )
        )
        if reply == "void":
            void_samples += size
        else:
            samples = tentative
        if reply == "stop" or sampling_s >= limits.sampling_s:
            break
        next_s = size * each_s + after_s(each_s)
        if reply != "void" and sampling_s >= limits.least_s and now() + next_s > ends_at:
            break
        kept = len(next(iter(samples.values()), ()))
        if kept >= considered_at:
            if _is_enough(samples, limits.precision, resolution_s):
                break
            considered_at = math.ceil(GROWTH * kept)
    return samples, Protocol(
        warmup_samples=warmup_samples,
        settled=settled,
        precision=precision_of(samples, resolution_s),
        sampling_s=sampling_s,
        void_samples=void_samples,
        seed=limits.seed,
    )


def _is_enough(samples: Samples, precision: float, resolution_s: float) -> bool:
    for watched in _watched(samples):
        found = median_interval(watched)
        if found is None or found.batches < min(ENOUGH_BATCHES, len(watched)):
            return False
        median_s = statistics.median(watched)
        if (found.high - found.low) / 2 > max(precision * median_s, resolution_s):
            return False
    return True


def _interleaved(
    take: Take, count: int, exchange: Callable[[Chunk], Reply], now: Callable[[], float]
) -> Samples:
    """Take ``count`` samples whenever it is this process's turn, and nothing in between."""
    samples: dict[str, list[float]] = {}
    started, last_s = now(), 0.0
    while True:
        taken = len(next(iter(samples.values()), ()))
        ready = Chunk(samples=taken, median_s=last_s, sampling_s=now() - started)
        if exchange(ready) == "stop":
            return samples
        for part, values in take(count).items():
            samples.setdefault(part, []).extend(values)
            last_s = values[-1]


def precision_of(
    samples: Samples, resolution_s: float = 0.0, processes: Sequence[int] = ()
) -> float | None:
    """Half the width of the median's interval over the median; None below six samples.

    Of pairs, that of the sides' ratio, the widest of several. No clock is more precise than its
    resolution. ``processes`` are as in :func:`summary`.
    """
    widest = 0.0
    for watched in _watched(samples) if samples else [[0.0]]:
        of = summary(watched, processes)
        if of.low is None or of.high is None or of.median <= 0:
            return None
        widest = max(widest, max((of.high - of.low) / 2, resolution_s) / of.median)
    return widest


def _watched(samples: Samples) -> list[Sequence[float]]:
    """The values whose medians must be precise, in seconds."""
    if "latency" in samples:
        return [samples["latency"]]
    reference = samples["reference"]
    # the ratio of a pair, as time of the target while the reference takes its median
    usual_s = statistics.median(reference)
    targets = (values for part, values in samples.items() if part != "reference")
    return [[usual_s * ratio for ratio in ratios(values, reference)] for values in targets]


def _warm_up(
    take: Take, limits: Limits, now: Callable[[], float], first: Callable[[float], None]
) -> tuple[int, bool, float]:
    """Take windows until two in a row agree: how many samples, whether they agreed, s of each.

    ``first`` is told how long the first pass took.
    """
    started, warmup_samples = now(), 0
    before: list[float] | None = None
    # one pass of a slow network may take all the time there is
    size = 1
    while True:
        window_started = now()
        taken = take(size)
        each_s = max((now() - window_started) / size, 1e-9)
        medians = [statistics.median(taken[part]) for part in taken if part not in PARTS]
        if warmup_samples == 0:
            first(each_s)
            if size * sum(medians) < limits.warmup_s:
                # a first pass loads kernels and sets libraries up: that is no warming up
                started = now()
        warmup_samples += size
        # windows of unlike lengths are not compared, nor such as are over in no time
        wanted = max(WINDOW_SAMPLES, min(MOST_IN_A_CHUNK, math.ceil(WINDOW_S / each_s)))
        longer = wanted > 2 * size
        settled = not longer and before is not None and _agree(medians, before)
        if settled or now() - started >= limits.warmup_s:
            return warmup_samples, settled, each_s
        size, before = (wanted, None) if longer else (size, medians)


def _agree(medians: Sequence[float], before: Sequence[float]) -> bool:
    return all(abs(a - b) <= AGREE * b for a, b in zip(medians, before, strict=True))
