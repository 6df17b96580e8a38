"""Figures of a study on planted trials: what is counted, what is bounded, what the noise is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from vidcost.bench.gate.judge import to_confirm
from vidcost.bench.gate.record import Rule, Run, Version, Visit
from vidcost.bench.gate.study_figures import (
    OURS,
    SAME,
    Rate,
    alarm_rate,
    compare,
    factors,
    measured_s,
    median_of,
    memory_alarm_rate,
    noise,
    trial_alarm_rate,
    words,
)
from vidcost.bench.gate.trial import Trial, append, read
from vidcost.bench.timing.cell import Cell

CELLS = (Cell(row="a", classes=7), Cell(row="b", classes=7), Cell(row="c", classes=7))


class Planter:
    """Plants trials: a process runs 0.4% faster or slower, its samples follow their neighbours."""

    def __init__(self, seed=0, *, process=0.004, sample=0.01, neighbours=0.8, samples=60):
        self.random = np.random.default_rng(seed)
        self.process, self.sample = process, sample
        self.neighbours, self.samples = neighbours, samples

    def samples_ns(self, factor):
        fresh = self.random.normal(0, self.sample, self.samples)
        walk = lfilter([math.sqrt(1 - self.neighbours**2)], [1, -self.neighbours], fresh)
        log = math.log(1e7 * factor) + self.random.normal(0, self.process) + walk
        return tuple(int(ns) for ns in np.exp(log))

    def visits(self, stage, cell, pairs, factor):
        for pair in range(pairs):
            for side, times in (("base", 1.0), ("head", factor)):
                yield Visit(
                    stage=stage,
                    pair=pair,
                    side=side,
                    second=side == "head",
                    cell=cell,
                    samples_ns=self.samples_ns(times),
                )

    def trial(self, factor, number, cells=CELLS):
        version = Version(ref="main", commit="c0ffee", code="d")
        visits = [v for c in range(len(cells)) for v in self.visits("screen", c, 6, factor)]
        run = Run(
            vidcost="0",
            started="1",
            base=version,
            head=version,
            cells=cells,
            rule=Rule(screen_pairs=6, confirm_pairs=12),
            complete=True,
            visits=tuple(visits),
        )
        for cell, pairs in to_confirm(run).items():
            visits += self.visits("confirm", cell, pairs, factor)
        kind = "A/A" if factor == SAME else "delay"
        run = run.model_copy(update={"visits": tuple(visits)})
        return Trial(kind=kind, factor=factor, number=number, run=run)


def without(trial, **known):
    """``trial``, whose visits of ``known`` crashed."""
    crash = {"status": "crashed", "error": "boom", "samples_ns": ()}
    visits = tuple(
        visit.model_copy(update=crash)
        if all(getattr(visit, field) == value for field, value in known.items())
        else visit
        for visit in trial.run.visits
    )
    return trial.model_copy(update={"run": trial.run.model_copy(update={"visits": visits})})


@pytest.fixture(scope="module")
def trials():
    planter = Planter()
    return [
        planter.trial(factor, number) for factor in (SAME, 1.02, 1.05, 1.2) for number in range(4)
    ]


@pytest.fixture(scope="module")
def comparisons(trials):
    return compare(trials)


def test_bounds_of_a_rate():
    # (1 - p)^300 = 0.05 and (1 - p)^7 = 0.05, by hand
    assert pytest.approx(0.0099361, rel=1e-4) == Rate(0, 300).at_most
    assert pytest.approx(0.348164, rel=1e-4) == Rate(0, 7).at_most
    assert pytest.approx(1 - 0.348164, rel=1e-4) == Rate(7, 7).at_least
    # p^20 = 0.025: two-sided, all of it on the side that is open
    assert (pytest.approx(0.831566, rel=1e-4), 1.0) == Rate(20, 20).interval
    assert (0.0, 1.0) == (Rate(0, 300).at_least, Rate(20, 20).at_most)
    # 19 of 20 proves no rate of 0.95
    assert Rate(19, 20).share == 0.95 > Rate(19, 20).at_least


def test_of_nothing_nothing_is_known():
    nothing = Rate(0, 0)
    assert (None, 0.0, 1.0, (0.0, 1.0)) == (
        nothing.share,
        nothing.at_least,
        nothing.at_most,
        nothing.interval,
    )


def test_correlated_samples_alarm_the_usual_tests_and_not_the_gate(comparisons):
    assert Rate(0, 12) == alarm_rate(comparisons, OURS, SAME)
    assert Rate(0, 4) == trial_alarm_rate(comparisons, OURS)
    # one side in two is called slower by chance: about 6 alarms if most pairs differ
    for rule in ("t-test 0.05", "U-test 0.05"):
        assert alarm_rate(comparisons, rule, SAME).hits > 2
        assert trial_alarm_rate(comparisons, rule).hits > 1
    assert Rate(0, 12) == alarm_rate(comparisons, "mean:10%", SAME)


def test_slow_downs_are_counted_as_found(comparisons):
    assert [1.02, 1.05, 1.2] == factors(comparisons)
    assert Rate(12, 12) == alarm_rate(comparisons, OURS, 1.2)
    assert Rate(12, 12) == alarm_rate(comparisons, "mean:10%", 1.2)
    assert alarm_rate(comparisons, OURS, 1.05).share > 0.8
    # which a flat threshold above it cannot
    assert alarm_rate(comparisons, "flat 7%", 1.05).share < 0.2
    # and within the margin of 3% nothing is to be found
    assert alarm_rate(comparisons, OURS, 1.02).share < 0.1
    assert 12 == words(comparisons, 1.05).total()
    assert pytest.approx(1.05, abs=0.005) == median_of(comparisons, 1.05, lambda v: v.ratio)
    assert 12 <= median_of(comparisons, 1.2, lambda v: v.pairs) <= 40


def test_the_gate_alone_can_be_what_is_wrong(trials):
    # head of an A/A trial is slower after all: the study must say that the gate raised alarms
    slow = Planter(1).trial(1.2, 0)
    found = compare([*trials[:3], slow.model_copy(update={"kind": "A/A", "factor": 1.0})])
    assert Rate(3, 12) == alarm_rate(found, OURS, SAME)
    assert Rate(1, 4) == trial_alarm_rate(found, OURS)


def test_what_could_not_be_judged_is_neither_dropped_nor_a_success(trials):
    same, slow = Planter(2).trial(SAME, 0), Planter(3).trial(1.2, 0)
    lost = {"stage": "screen", "side": "head", "cell": 1}
    found = compare([without(same, **lost), without(slow, **lost)])
    # in A/A it would make the rate look better, with a delay it must make it worse
    assert Rate(0, 2) == alarm_rate(found, OURS, SAME)
    assert Rate(2, 3) == alarm_rate(found, OURS, 1.2)
    assert (1, 1) == (words(found, SAME)["INVALID"], words(found, 1.2)["INVALID"])
    assert Rate(2, 3) == alarm_rate(found, "mean:10%", 1.2)
    assert [None] * 2 == [each.alarms["mean:10%"] for each in found if each.cell.row == "b"]


def test_the_usual_rules_see_a_process_of_head_that_did_not_take_turns_with_that_of_base():
    slow = Planter(4, process=0, sample=1e-4).trial(1.0, 0)
    visits = tuple(
        v.model_copy(update={"samples_ns": tuple(2 * ns for ns in v.samples_ns)})
        if (v.stage, v.pair, v.side, v.cell) == ("screen", 1, "head", 0)
        else v
        for v in slow.run.visits
    )
    slow = slow.model_copy(update={"run": slow.run.model_copy(update={"visits": visits})})
    # base of the first pair, head of the second
    assert [True, False, False] == [each.alarms["mean:10%"] for each in compare([slow])]
    second = compare([without(slow, stage="screen", pair=0, side="base")])
    assert [False] * 3 == [each.alarms["mean:10%"] for each in second]


def test_memory_that_was_not_measured_is_not_judged(comparisons):
    assert Rate(0, 0) == memory_alarm_rate(comparisons)


def test_the_noise_is_what_was_planted():
    planter = Planter(5, process=0.01, sample=0.02, neighbours=0.0, samples=400)
    cell = CELLS[:1]
    found = noise(
        [planter.trial(SAME, number, cell) for number in range(40)] + [planter.trial(1.2, 0, cell)]
    )
    (row,) = found
    # 40 trials, 6 pairs, 2 sides; those with a delay are not noise
    assert (480, 400.0) == (row.processes, row.samples)
    # median of 400 independent samples: 0.02 * sqrt(pi / 800) = 0.00125, beside 0.01
    assert pytest.approx(0.00125, rel=0.05) == row.medians_if_independent
    assert pytest.approx(0.01, rel=0.1) == row.medians
    assert pytest.approx(0.01 * math.sqrt(2), rel=0.1) == row.pair_ratios
    assert pytest.approx(0.0, abs=0.02) == row.neighbours
    assert pytest.approx(0.01, rel=0.01) == row.seconds


def test_neighbours_that_correlate_are_seen():
    (row,) = noise([Planter(6, samples=400).trial(SAME, 0, CELLS[:1])])
    # rank correlation of a Gaussian walk of 0.8: 6/pi asin(0.4) = 0.786
    assert pytest.approx(0.786, abs=0.05) == row.neighbours


def test_a_row_that_drifts_between_trials_is_not_noisier_for_it():
    planter = Planter(7, process=0.001, sample=0.001)
    slow = planter.trial(SAME, 1, CELLS[:1])
    visits = tuple(
        v.model_copy(update={"samples_ns": tuple(3 * ns for ns in v.samples_ns)})
        for v in slow.run.visits
    )
    slow = slow.model_copy(update={"run": slow.run.model_copy(update={"visits": visits})})
    (row,) = noise([planter.trial(SAME, 0, CELLS[:1]), slow])
    assert row.medians < 0.003


def test_too_few_samples_say_nothing_of_neighbours():
    (row,) = noise([Planter(8, samples=5).trial(SAME, 0, CELLS[:1])])
    assert row.neighbours is None
    (coarse,) = noise([Planter(8, samples=30, sample=0.0).trial(SAME, 0, CELLS[:1])])
    assert (None, 0.0) == (coarse.neighbours, coarse.medians_if_independent)


def test_measured_seconds():
    trial = Planter(9, process=0, sample=0, samples=5).trial(SAME, 0, CELLS[:1])
    # 6 pairs, 2 sides, 5 samples of 10 ms; a nanosecond may be lost in each
    assert pytest.approx(0.6, abs=1e-7) == measured_s([trial])


def test_what_is_read_is_what_was_appended(tmp_path):
    path = tmp_path / "gate" / "study.jsonl"
    assert [] == read(path)
    planter = Planter(10, samples=5)
    written = [planter.trial(SAME, 0), planter.trial(1.05, 0), planter.trial(1.05, 1)]
    for trial in written:
        append(path, trial)
    assert written == read(path)
    first = path.read_bytes().splitlines()[0]
    assert first.startswith(b'{"file":"vidcost gate study","command":"vidcost gate study",')


@pytest.mark.parametrize("lines", [0, 1, 2])
def test_a_last_line_cut_anywhere_is_left_out_and_then_replaced(tmp_path, lines):
    path = tmp_path / "study.jsonl"
    planter = Planter(11, samples=5)
    trials = [planter.trial(SAME, number, CELLS[:1]) for number in range(3)]
    for trial in trials[:2]:
        append(path, trial)
    whole = path.read_bytes().splitlines(keepends=True)
    last = whole[lines]
    for end in (1, 20, len(last) // 2, len(last) - 2):
        path.write_bytes(b"".join(whole[:lines]) + last[:end])
        kept = trials[: max(lines - 1, 0)]
        with pytest.warns(UserWarning, match="the last line is cut short and was left out"):
            assert kept == read(path)
        append(path, trials[2])
        assert [*kept, trials[2]] == read(path)


def test_a_line_that_lacks_only_its_newline_is_kept(tmp_path):
    path = tmp_path / "study.jsonl"
    planter = Planter(12, samples=5)
    trials = [planter.trial(SAME, number, CELLS[:1]) for number in range(2)]
    append(path, trials[0])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert trials[:1] == read(path)
    append(path, trials[1])
    assert trials == read(path)


@pytest.mark.parametrize("other", [b"hello", b'{"file":"vidcost timings"}\n', b"\n", b"[]\n{}"])
def test_another_kind_of_file_is_refused_and_left_as_it_was(tmp_path, other):
    path = tmp_path / "study.jsonl"
    path.write_bytes(other)
    with pytest.raises(ValueError, match="is no file of a study: name another file"):
        read(path)
    with pytest.raises(ValueError, match="is no file of a study: name another file"):
        append(path, Planter(13, samples=5).trial(SAME, 0, CELLS[:1]))
    assert other == path.read_bytes()


def test_a_damaged_line_and_a_trial_twice_are_refused_by_line(tmp_path):
    path = tmp_path / "study.jsonl"
    planter = Planter(14, samples=5)
    for number in range(2):
        append(path, planter.trial(SAME, number, CELLS[:1]))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:-9] + b"\n" + lines[2])
    with pytest.raises(ValueError, match="line 2 is damaged"):
        read(path)
    path.write_bytes(b"".join([*lines, lines[1]]))
    with pytest.raises(ValueError, match="line 4 is trial 0 of A/A x1 again"):
        read(path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot write"):
        append(tmp_path / "file" / "study.jsonl", Planter(15, samples=5).trial(SAME, 0, CELLS[:1]))


@pytest.mark.parametrize(("kind", "factor"), [("A/A", 1.05), ("delay", 1.0), ("delay", 0.9)])
def test_a_trial_that_contradicts_itself(kind, factor):
    run = Planter(16, samples=5).trial(SAME, 0, CELLS[:1]).run
    with pytest.raises(ValueError, match="factor"):
        Trial(kind=kind, factor=factor, number=0, run=run)
