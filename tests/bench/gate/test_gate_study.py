"""The study of the gate, on simulated and planted trials: what is counted, bounded, written."""

import math
import re
import statistics

import gate_study
import gate_trials
import pytest
from gate_study import document, simulation
from gate_trials import (
    FAIL_RULES,
    SAME,
    Noise,
    Rate,
    Trial,
    alarms_of,
    pytest_benchmark,
    read,
    simulated,
    write,
)

from vidcost.bench.gate import interleave
from vidcost.bench.gate.judge import Pair, logs_of, pairs_of
from vidcost.bench.gate.record import Rule, hides
from vidcost.bench.timing.cell import Cell

from .planted import FAKE, MACHINE

CALM = Noise("calm", 0.01)
CELLS = (Cell(row="a", classes=7), Cell(row="b", classes=7))


def trial(factor, number=0, **known):
    """A planted trial of two cells, whose pairs all agree."""
    pairs = tuple(Pair(1.0, factor, math.log(factor) + n / 1e4) for n in range(14))
    return Trial(
        factor=factor,
        number=number,
        started=f"2026-11-2{number}",
        took_s=1800,
        vidcost="0",
        commit="c0ffee",
        machine=MACHINE,
        rule=Rule(),
        visit_s=0.4,
        cells=CELLS,
        screen=(pairs[:8],) * 2,
        confirm=((*pairs, *pairs[:1]),) * 2,
        **{"alarms": dict.fromkeys(FAIL_RULES, (1,))} | known,
    )


def rates(noise, factor, rule=None, **plan):
    runs = simulated(noise, factor, rule=rule or Rule(), **plan)
    return alarms_of(dict(enumerate(runs)))


def test_the_level_at_the_margin_is_studied_per_run_of_many_rows():
    """Equal code hides a wrong level; at the margin it is seen."""
    plan = {"rows": 10, "runs": 40}
    rows, runs = rates(CALM, 1.03, **plan)
    assert (400, 40) == (rows.of, runs.of)
    assert runs.hits <= 3
    wrong = Rule(confirm_level=0.5)
    assert 0 == rates(CALM, SAME, wrong, **plan)[1].hits
    assert rates(CALM, 1.03, wrong, **plan)[1].hits >= 5


def test_power_buys_what_forty_pairs_do_not_find():
    noisy, plan = Noise("noisy", 0.035), {"rows": 1, "runs": 60}
    few = list(simulated(noisy, 1.05, rule=Rule(), **plan))
    assert 40 == max(verdict.pairs for run in few for verdict in run)
    # what is not found fails all the same
    assert sum(v.word != "REGRESSED" and not hides(v, Rule()) for run in few for v in run) <= 4
    bought, _ = rates(noisy, 1.05, Rule(most_pairs=400), **plan)
    assert alarms_of(dict(enumerate(few)))[0].hits < 57 <= bought.hits
    assert 0.86 < bought.bounds[0] < bought.fraction


def test_bounds_of_a_rate():
    # (1 - p)^300 = 0.05 and (1 - p)^7 = 0.05, by hand
    assert (0, pytest.approx(0.0099361, rel=1e-4)) == Rate(0, 300).bounds
    assert pytest.approx(1 - 0.348164, rel=1e-4) == Rate(7, 7).bounds[0]
    assert (None, (0.0, 1.0)) == (Rate(0, 0).fraction, Rate(0, 0).bounds)


def test_the_simulated_document_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(gate_study, "noises", lambda _: [CALM])
    gate_study.main(f"--simulate --runs 2 --results {tmp_path}".split())
    text = (tmp_path / "gate" / "README.md").read_text()
    assert text.startswith("<!-- written by: python tools/gate_study.py --simulate -->")
    assert text == simulation(tmp_path / "gate", 2)


def test_trials_are_read_as_they_were_written(tmp_path):
    path, trials = tmp_path / "study.jsonl", [trial(1.0), trial(1.2)]
    assert [] == read(path)
    write(path, trials)
    assert trials == read(path)
    assert ["REGRESSED"] * 2 == [verdict.word for verdict in read(path)[1].verdicts()]
    lines = path.read_text().splitlines()
    path.write_text(f"{lines[0]}\n{lines[1][:-9]}\n")
    with pytest.raises(ValueError, match="line 2 is damaged"):
        read(path)


def test_the_document_of_measured_trials():
    text = document([trial(1.0), trial(1.0, 1, alarms=dict.fromkeys(FAIL_RULES, ())), trial(1.2)])
    ours, theirs = text.split("## pytest-benchmark")
    assert re.search(r"\| +0% \| +0 of 4 +\|", ours)
    assert re.search(r"\| +20% \| +2 of 2 +\|", ours)
    assert re.search(r"\| mean:10% +\| +0% \| +1 of 4 +\|", theirs)
    with pytest.raises(ValueError, match=r"differ in visits: 0.4 and 7.0"):
        document([trial(1.0), trial(1.2).model_copy(update={"visit_s": 7.0})])


def test_a_study_of_tests_names_its_command_and_has_no_pytest_benchmark():
    of_tests = trial(1.2, alarms={}).model_copy(update={"cells": tuple(gate_study.TESTS[:2])})
    text = document([of_tests])
    assert text.startswith("<!-- written by: python tools/gate_study.py --tests -->")
    assert "pytest-benchmark" not in text


@pytest.mark.slow
def test_a_test_of_the_study_is_delayed_on_one_side_alone(tmp_path):
    sides, variables, command = gate_trials._sides_of_tests(tmp_path, 0.5)
    assert sides[0].version.code == sides[1].version.code
    cells = [each.model_copy(update={"code": "1"}) for each in gate_study.TESTS[1:2]]
    run = interleave.Campaign(
        interleave.new_run((sides[0].version, sides[1].version), cells, visit_s=0.1),
        variables,
        stages=("memory", "screen"),
        command=command,
    )
    run.run = run.run.model_copy(update={"rule": Rule(screen_pairs=6)})
    (pairs,) = pairs_of(run.finish(), "screen")
    # a busy machine adds to the delay
    assert 1.3 < math.exp(statistics.median(logs_of(pairs))) < 4
    assert 0.001 < statistics.median(pair.base_s for pair in pairs) < 0.05


@pytest.mark.slow
def test_pytest_benchmark_is_run_as_its_users_do():
    cells = [Cell(block="nl", shape=(48, 2, 4, 4)), Cell(block="cgnl", shape=(48, 2, 4, 4))]
    assert (0, 1) == pytest_benchmark(cells, 4.0)["min:5%"]


@pytest.mark.slow
def test_a_study_is_measured_and_continued(git, sides, monkeypatch, tmp_path):
    rows = ("mfnet", "mfnet-nl")
    slow = {row: {"ns": 10_000_000} for row in rows}
    sides(slow, slow)
    monkeypatch.setattr("gate_trials.DELAYED", FAKE)
    monkeypatch.setattr(gate_study, "study_cells", lambda *_: [Cell(row=row) for row in rows])
    monkeypatch.setattr("gate_trials.pytest_benchmark", lambda *_: dict.fromkeys(FAIL_RULES, ()))
    monkeypatch.setattr(gate_study, "FACTORS", (1.1,))

    def measure(trials):
        words = f"--trials {trials} --per-factor 2 --results {tmp_path / 'results'}"
        gate_study.main(words.split())
        (folder,) = (tmp_path / "results/gate").iterdir()
        assert (folder / "README.md").is_file()
        return [(trial.factor, trial.number) for trial in read(folder / "study.jsonl")]

    assert [(1.0, 0), (1.03, 0), (1.1, 0)] == measure(1)
    assert [(1.0, 0), (1.03, 0), (1.1, 0), (1.0, 1), (1.03, 1)] == measure(2)
