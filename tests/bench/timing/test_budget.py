"""Sharing out time, on a planted clock."""

import math

import pytest

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.record import Protocol, Timing
from vidcost.bench.timing.sweep import Budget

A, B, C = (Cell(row=name) for name in ("a", "b", "c"))
LIMITS = Limits(sampling_s=60, warmup_s=10, energy_s=5, chunk_s=0.5, precision=0.01)


class Clock:
    now = 500.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def timing(cell, precision, sampling_s, status="ok"):
    protocol = Protocol(warmup_samples=3, settled=True, precision=precision, sampling_s=sampling_s)
    return Timing(key="", cell=cell, status=status, protocol=protocol)


@pytest.mark.parametrize("seconds", [10_000, math.inf])
def test_ample_time_leaves_the_limits_as_they_are(clock, seconds):
    assert LIMITS == Budget(seconds, LIMITS, clock=clock).first(7)


def test_each_cell_gets_half_of_its_part_first(clock):
    budget = Budget(280, LIMITS, clock=clock)
    first = budget.first(7)
    # 20 s each: a quarter for warming up at most, 5 s for the energy
    assert (15.0, 5.0, 5.0) == (first.sampling_s, first.energy_s, first.warmup_s)
    assert (0.01, 30) == (first.precision, first.min_samples)


def test_start_up_is_subtracted_and_unused_time_is_passed_on(clock):
    budget = Budget(280, LIMITS, clock=clock)
    clock.now += 10
    budget.add(A, timing(A, 0.02, 6.0), took_s=10.0)
    # of 270 s for 6 cells each may use 22.5 s: 5 of them energy, 4 of them start-up
    assert 13.5 == budget.first(6).sampling_s


def test_a_short_share_has_no_time_for_energy(clock):
    budget = Budget(126, LIMITS, clock=clock)
    assert (9.0, 0.0) == (budget.first(7).sampling_s, budget.first(7).energy_s)
    # the least sampling time
    assert 0.5 == Budget(0.7, LIMITS, clock=clock).first(7).sampling_s
    clock.now += 126
    assert budget.first(1) is None
    budget.add(A, timing(A, 0.5, 1.0), took_s=1.0)
    assert budget.worst() is None


def test_the_least_precise_is_measured_again_four_times_as_long(clock):
    budget = Budget(10_000, LIMITS, clock=clock)
    budget.add(A, timing(A, 0.03, 7.0), took_s=9.0)
    budget.add(B, timing(B, 0.05, 11.0), took_s=13.0)
    budget.add(C, timing(C, 0.01, 13.0), took_s=15.0)
    cell, again = budget.worst()
    assert (B, 44.0) == (cell, again.sampling_s)
    assert LIMITS == again.model_copy(update={"sampling_s": 60})
    budget.add(B, timing(B, 0.02, 44.0), took_s=46.0)
    assert A == budget.worst()[0]
    budget.add(A, timing(A, 0.009, 28.0), took_s=30.0)
    assert (B, 176.0) == (B, budget.worst()[1].sampling_s)
    budget.add(B, timing(B, 0.01, 176.0), took_s=178.0)
    assert budget.worst() is None


def test_a_cell_that_time_does_not_help_is_left_alone(clock):
    budget = Budget(10_000, LIMITS, clock=clock)
    for cell, precision in ((A, 0.05), (B, 0.04), (C, 0.03)):
        budget.add(cell, timing(cell, precision, 7.0), took_s=9.0)
    budget.add(A, timing(A, 0.05, 28.0), took_s=30.0)
    assert B == budget.worst()[0]
    budget.add(B, timing(B, None, 0.0, status="crashed"), took_s=3.0)
    assert C == budget.worst()[0]


def test_a_cell_that_does_not_fit_gives_way_to_one_that_does(clock):
    budget = Budget(100, LIMITS, clock=clock)
    budget.add(A, timing(A, 0.05, 60.0), took_s=63.0)
    budget.add(B, timing(B, 0.04, 2.0), took_s=5.0)
    clock.now += 68
    # 32 s are left: 3 to start, 5 for the energy, 24 to sample
    assert (B, 8.0) == (budget.worst()[0], budget.worst()[1].sampling_s)
    clock.now += 20
    assert (B, 4.0) == (budget.worst()[0], budget.worst()[1].sampling_s)
    clock.now += 2
    assert budget.worst() is None
