"""When samples are good enough, on a fake clock: nothing here takes time."""

import itertools
import random

import pytest

from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.sampling import precision_of, sample

LIMITS = Limits(sampling_s=60, min_samples=30, precision=0.01, warmup_s=10, chunk_s=0.5)


class Device:
    """A clock, and passes that take what ``durations`` says, one after the other."""

    def __init__(self, durations, part="latency"):
        self.now = 0.0
        self.durations = iter(durations)
        self.part = part
        self.taken = []

    def take(self, count):
        self.taken.append(count)
        samples = list(itertools.islice(self.durations, count))
        assert count == len(samples), "the device was asked for more than the test planned"
        self.now += sum(samples)
        return {self.part: samples}

    def run(self, limits=LIMITS, replies=()):
        """Sample; the replies in turn, then always keep.  Returns samples, protocol, chunks."""
        chunks, planned = [], iter(replies)

        def exchange(chunk):
            chunks.append(chunk)
            return next(planned, "keep")

        return *sample(self.take, limits, exchange, now=lambda: self.now), chunks


def noisy(middle, spread, seed=0):
    rng = random.Random(seed)
    while True:
        yield middle * (1 + spread * rng.uniform(-1, 1))


def test_a_steady_device_is_done_as_soon_as_it_is_known_well_enough():
    device = Device(itertools.repeat(0.01))
    samples, protocol, chunks = device.run()
    # two windows of 5 at 0.05 s, after one pass to find that out
    assert (True, 1 + 5 + 5) == (protocol.settled, protocol.warmup_samples)
    # chunks of half a second
    assert [50] == device.taken[3:]
    assert 50 == len(samples["latency"]) == chunks[-1].samples
    assert 0.0 == protocol.precision
    assert pytest.approx(0.5) == protocol.sampling_s


def test_noisy_samples_are_taken_until_the_median_is_known():
    device = Device(noisy(0.01, 0.2))
    samples, _protocol, chunks = device.run()
    assert 1000 < len(samples["latency"]) < 6000
    assert chunks[0].precision > 0.01 >= chunks[-1].precision


def test_a_slow_start_is_not_sampled():
    """A clock that ramps up: 40 passes, each 10% faster, then steady."""
    ramp = [0.01 * (1 + 2 * 0.9**k) for k in range(200)]
    device = Device(itertools.chain(ramp, itertools.repeat(0.01)))
    samples, protocol, _ = device.run()
    assert protocol.settled
    assert protocol.warmup_samples >= 18
    assert max(samples["latency"]) < 0.011


def test_the_warm_up_watches_both_sides():
    """A reference that drifts has not settled, however steady the target is."""
    drifting = iter([0.01 * 2 * 0.9**k for k in range(60)])
    now = itertools.count(0.0, 0.1)

    def take(count):
        return {"target": [0.01] * count, "reference": [next(drifting, 0.01)] * count}

    limits = LIMITS.model_copy(update={"warmup_s": 1000})
    _samples, protocol = sample(take, limits, lambda _: "stop", now=lambda: next(now))
    assert protocol.settled
    assert protocol.warmup_samples >= 60 * 3


def test_a_device_that_never_settles_is_sampled_all_the_same_and_says_so():
    swinging = itertools.cycle([0.5] * 3 + [1.0] * 3)
    device = Device(swinging)
    samples, protocol, _ = device.run(Limits(sampling_s=5, warmup_s=6))
    assert not protocol.settled
    assert 5 <= protocol.sampling_s
    assert samples["latency"]


def test_drift_is_not_taken_for_precision():
    drifting = (0.01 * (1 + 0.001 * k) for k in itertools.count())
    _samples, protocol, _ = Device(drifting).run(Limits(sampling_s=30))
    assert 30 <= protocol.sampling_s


def test_void_chunks_are_taken_again():
    device = Device(itertools.repeat(0.01))
    samples, protocol, chunks = device.run(replies=["void", "void", "keep"])
    assert (3, 100) == (len(chunks), protocol.void_samples)
    assert 50 == len(samples["latency"])
    # a void chunk is not in what comes after
    assert [50, 50, 50] == [chunk.samples for chunk in chunks]


def test_a_device_that_is_throttled_all_the_time_has_no_samples():
    samples, protocol, _ = Device(itertools.repeat(0.1)).run(
        Limits(sampling_s=3), replies=itertools.repeat("void")
    )
    assert ({}, 30) == (samples, protocol.void_samples)
    assert pytest.approx(3.0) == protocol.sampling_s
    assert None is protocol.precision


def test_it_ends_in_time_for_what_follows():
    """Passes of 2 s and 5 s of memory: of 20 s, 4 are for warming up and 10 for sampling."""
    limits = Limits(sampling_s=20, warmup_s=1, least_s=2, ends_at=20.0)

    def run(*replies, **changes):
        device, said = Device(itertools.repeat(2.0)), []
        planned = iter(("keep", *replies))

        def exchange(chunk):
            said.append(chunk)
            return next(planned, "keep")

        given = limits.model_copy(update=changes)
        now = lambda: device.now  # noqa: E731
        samples, _ = sample(device.take, given, exchange, now=now, after_s=lambda each: 2.5 * each)
        return said[0], len(samples.get("latency", ())), device.now

    first, taken, ended = run()
    assert (0, 2.0, 7.0) == (first.samples, first.median_s, first.needs_s)
    assert (6, 14.0) == (taken, ended)
    # there is one sample at least, and it does not end on void ones
    assert (1, 4.0) == run(ends_at=1.0)[1:]
    assert (1, 12.0) == run(*["void"] * 4, ends_at=1.0)[1:]


def test_the_parent_can_stop_it():
    samples, _protocol, chunks = Device(noisy(0.01, 0.5)).run(replies=["keep", "stop"])
    assert 2 == len(chunks)
    assert chunks[-1].samples == len(samples["latency"])


def test_the_precision_of_a_pair_is_that_of_the_ratio():
    """Sides that wander together, by half, and are always as 2 to 1 but for one pair."""
    reference = (6.0, 9.0, 7.0, 8.0, 6.5, 8.5)
    target = [2 * each for each in reference[:5]] + [20.4]
    # of six, the interval is all of them: 2 to 2.4
    assert pytest.approx(0.1) == precision_of({"target": target, "reference": reference})
    assert precision_of({"latency": target}) > 0.2


def test_no_clock_is_more_precise_than_its_resolution():
    """Passes of 30 us on a clock that knows half a microsecond: no sample more helps."""
    ticks = (3e-5 + 5e-7 * (k % 2) for k in itertools.count())
    device = Device(ticks)
    samples, protocol = sample(
        device.take, LIMITS, lambda _: "keep", now=lambda: device.now, resolution_s=5e-7
    )
    assert 2000 == len(samples["latency"])
    assert pytest.approx(5e-7 / 3.025e-5) == protocol.precision
    assert 0.0 == precision_of({"latency": [3e-5] * 30})
    assert pytest.approx(1 / 60) == precision_of({"latency": [3e-5] * 30}, 5e-7)


def test_interleaved_a_turn_is_taken_when_it_is_told_and_nothing_in_between():
    device = Device(itertools.repeat(0.01))
    limits = LIMITS.model_copy(update={"turn_samples": 3})
    samples, protocol, chunks = device.run(limits, ["keep", "keep", "stop"])
    # it asks before each turn, and once before it ends
    assert [0, 3, 6] == [chunk.samples for chunk in chunks]
    assert [0.0, 0.01, 0.01] == [chunk.median_s for chunk in chunks]
    assert [3, 3] == device.taken[3:]
    assert 6 == len(samples["latency"])
    assert pytest.approx(0.06) == protocol.sampling_s
    assert protocol.settled
