"""The study of the gate, on planted trials: what is counted, what is bounded, what is written."""

from __future__ import annotations

import math
from pathlib import Path

import gate_study
import numpy as np
import pytest
from gate_study import document, goals
from gate_study_figures import (
    OURS,
    SAME,
    USUAL_RULES,
    Rate,
    alarm_rate,
    compare,
    factors,
    noise,
    read,
    reduced,
    trial_alarm_rate,
    write,
)
from scipy.signal import lfilter

from vidcost.bench.gate.judge import judge, to_confirm
from vidcost.bench.gate.record import SIDES, Rule, Run, Version, Visit
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine

STUDIES = sorted((Path(__file__).resolve().parents[3] / "results/gate").glob("*/study.jsonl"))

CELLS = (Cell(row="a", classes=7), Cell(row="b", classes=7), Cell(row="c", classes=7))
MACHINE = Machine(
    device="Abacus 9",
    cpu="Abacus 9",
    cores=3,
    memory_bytes=5 * 2**30,
    platform="wood",
    python="3.99",
    torch="2.99.0",
    vidcost="0.1.0",
)


class Planter:
    """Plants runs: each process is off by a constant, and its samples correlate."""

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
        return [
            Visit(
                stage=stage,
                pair=pair,
                side=side,
                second=side == "head",
                cell=cell,
                samples_ns=self.samples_ns(factor if side == "head" else 1.0),
            )
            for pair in range(pairs)
            for side in SIDES
        ]

    def run(self, factor, cells=CELLS, **known):
        version = Version(ref="main", commit="c0ffee", code="d", machine=MACHINE)
        visits = [v for c in range(len(cells)) for v in self.visits("screen", c, 6, factor)]
        run = Run(
            vidcost="0",
            started="2026-11-20",
            base=version,
            head=version,
            cells=cells,
            rule=Rule(screen_pairs=6, confirm_pairs=12),
            complete=True,
            visits=tuple(visits),
            **known,
        )
        for cell, pairs in to_confirm(run).items():
            visits += self.visits("confirm", cell, pairs, factor)
        return run.model_copy(update={"visits": tuple(visits)})

    def trial(self, factor, number=0, cells=CELLS, **known):
        return reduced(self.run(factor, cells, **known), factor=factor, number=number, load=0.5)


@pytest.fixture(scope="module")
def trials():
    planter = Planter()
    return [
        planter.trial(factor, number) for factor in (SAME, 1.02, 1.05, 1.2) for number in range(4)
    ]


@pytest.fixture(scope="module")
def comparisons(trials):
    return compare(trials)


# trials


def test_a_reduced_trial_has_the_verdicts_of_its_run():
    run = Planter(1).run(1.05)
    trial = reduced(run, factor=1.05, number=0, load=0.0)
    latency = [verdict for verdict in judge(run) if verdict.metric == "latency"]
    assert [v.model_copy(update={"target": ""}) for v in latency] == trial.verdicts()
    assert pytest.approx(sum(sum(v.samples_ns) for v in run.visits) / 1e9) == trial.samples_s


def test_trials_are_read_as_they_were_written(tmp_path, trials):
    path = tmp_path / "gate" / "study.jsonl"
    assert [] == read(path)
    write(path, trials)
    assert trials == read(path)
    lines = path.read_text().splitlines()
    path.write_text(f"{lines[0]}\n{lines[1][:-9]}\n")
    with pytest.raises(ValueError, match="line 2 is damaged"):
        read(path)
    path.write_text(f"{lines[0]}\n{lines[0]}\n")
    with pytest.raises(ValueError, match="holds a trial twice"):
        read(path)


# the usual rules


def test_tests_of_samples_by_hand():
    def alarms(base, head):
        return {name for name, (_, slower) in USUAL_RULES.items() if slower(base, head)}

    # exact two-sided p of complete separation: 2 / C(2n, n); n = 3: 0.1, 4: 0.029, 7: 0.00058
    for n, expected in ((3, set()), (4, {"U-test 0.05"}), (7, {"U-test 0.05", "U-test 0.002"})):
        base, head = tuple(range(1000, 1000 + n)), tuple(range(1010, 1010 + n))
        assert expected == alarms(base, head) & {"U-test 0.05", "U-test 0.002"}
    # t = 2, 8 degrees of freedom, two-sided p 0.0805; with 3: t = 3, 0.0171
    base = (101, 102, 103, 104, 105)
    assert "t-test 0.05" not in alarms(base, tuple(ns + 2 for ns in base))
    assert "t-test 0.05" in alarms(base, tuple(ns + 3 for ns in base))
    assert set() == alarms((200,) * 7, (100,) * 7)
    # a clock so coarse that nothing varies
    assert set(USUAL_RULES) == alarms((100,) * 7, (120,) * 7)
    # one sample a side is no test
    assert {"mean:10%", "min:5%", "flat 7%"} == alarms((100,), (120,))


# figures


def test_bounds_of_a_rate():
    # (1 - p)^300 = 0.05 and (1 - p)^7 = 0.05, by hand
    assert pytest.approx(0.0099361, rel=1e-4) == Rate(0, 300).at_most
    assert pytest.approx(1 - 0.348164, rel=1e-4) == Rate(7, 7).at_least
    # p^20 = 0.025: two-sided, all of it on the open side
    assert (pytest.approx(0.831566, rel=1e-4), 1.0) == Rate(20, 20).interval
    nothing = Rate(0, 0)
    assert (None, 0.0, 1.0) == (nothing.fraction, nothing.at_least, nothing.at_most)


def test_alarms_on_correlated_samples(comparisons):
    assert Rate(0, 12) == alarm_rate(comparisons, OURS, SAME)
    assert Rate(0, 4) == trial_alarm_rate(comparisons, OURS)
    for rule in ("t-test 0.05", "U-test 0.05"):
        assert alarm_rate(comparisons, rule, SAME).hits > 2
        assert trial_alarm_rate(comparisons, rule).hits > 1
    assert [1.02, 1.05, 1.2] == factors(comparisons)
    assert Rate(12, 12) == alarm_rate(comparisons, OURS, 1.2)
    assert alarm_rate(comparisons, OURS, 1.05).fraction > 0.8
    assert alarm_rate(comparisons, "flat 7%", 1.05).fraction < 0.2
    assert alarm_rate(comparisons, OURS, 1.02).fraction < 0.1


def test_false_alarms_of_the_gate_are_reported(trials):
    # an A/A trial in which head is slower after all
    wrong = reduced(Planter(1).run(1.2), factor=1.0, number=9, load=0)
    found = compare([*trials[:3], wrong])
    assert Rate(3, 12) == alarm_rate(found, OURS, SAME)
    assert Rate(1, 4) == trial_alarm_rate(found, OURS)
    assert goals(found)[0].startswith("**Missed: false alarms below 1%.** 3 of 12 comparisons")


def test_what_could_not_be_judged_is_missed_but_is_no_false_alarm():
    def without_head(run):
        visits = tuple(v for v in run.visits if (v.cell, v.side) != (1, "head"))
        return run.model_copy(update={"visits": visits})

    found = compare(
        reduced(without_head(Planter(2).run(factor)), factor=factor, number=0, load=0)
        for factor in (SAME, 1.2)
    )
    assert Rate(0, 2) == alarm_rate(found, OURS, SAME)
    assert Rate(2, 3) == alarm_rate(found, OURS, 1.2) == alarm_rate(found, "mean:10%", 1.2)


def test_the_noise_is_what_was_planted():
    planter = Planter(5, process=0.01, sample=0.02, neighbours=0.0, samples=400)
    found = [planter.trial(SAME, number, CELLS[:1]) for number in range(40)]
    (row,) = noise([*found, planter.trial(1.2, 0, CELLS[:1])])
    # median of 400 independent samples: 0.02 * sqrt(pi / 800) = 0.00125, beside 0.01
    assert pytest.approx(0.00125, rel=0.05) == row.medians_if_independent
    assert pytest.approx(0.01, rel=0.1) == row.medians
    assert pytest.approx(0.01 * math.sqrt(2), rel=0.1) == row.pair_ratios
    assert pytest.approx(0.0, abs=0.02) == row.neighbours
    assert (400, pytest.approx(0.01, rel=0.01)) == (row.samples, row.seconds)
    # rank correlation of a Gaussian walk of 0.8: 6/pi asin(0.4) = 0.786
    (row,) = noise([Planter(6, samples=400).trial(SAME, 0, CELLS[:1])])
    assert pytest.approx(0.786, abs=0.05) == row.neighbours


# the document


def test_goals_and_trials_that_do_not_go_together(trials, comparisons):
    false, found, usual = goals(comparisons)
    assert false.startswith("**Not shown: false alarms below 1%.** 0 of 12 comparisons")
    assert "its bound does not prove it" in found
    assert usual.endswith("by the observed rates, none reaches both goals.")
    with pytest.raises(ValueError, match="there are no trials yet"):
        document([])
    other = trials[1].model_copy(update={"visit_s": 7.0})
    with pytest.raises(ValueError, match=r"differ in visits: \(1.0, 10\) and \(7.0, 10\)"):
        document([trials[0], other])


def test_the_committed_study_is_what_its_trials_give():
    assert STUDIES
    for path in STUDIES:
        committed = (path.parent / "README.md").read_text(encoding="utf-8")
        assert committed == document(read(path)), f"stale: {gate_study.COMMAND} writes it"


@pytest.mark.slow
def test_a_study_is_measured_and_continued(git, sides, monkeypatch, tmp_path):
    rows = ("mfnet", "mfnet-nl")
    slow = {row: {"ns": 10_000_000} for row in rows}
    sides(slow, slow)
    monkeypatch.setattr(gate_study, "study_cells", lambda *_: [Cell(row=row) for row in rows])
    monkeypatch.setattr(gate_study, "FACTORS", (1.1,))

    def measure(comparisons):
        words = f"--comparisons {comparisons} --per-factor 2 --results {tmp_path / 'results'}"
        gate_study.main(words.split())
        (folder,) = (tmp_path / "results/gate").iterdir()
        assert (folder / "README.md").is_file()
        return [(trial.factor, trial.number) for trial in read(folder / "study.jsonl")]

    assert [(1.0, 0), (1.1, 0)] == measure(2)
    assert [(1.0, 0), (1.1, 0), (1.0, 1)] == measure(4)
