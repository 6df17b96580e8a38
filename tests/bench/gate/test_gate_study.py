"""The study of the gate: what is simulated, counted, bounded, measured, written."""

import json

import gate_study
import pytest
from gate_study import SAME, Noise, Rate, alarms_of, simulated, simulation

from vidcost.bench.gate.record import Rule, hides
from vidcost.bench.timing.cell import Cell

CALM = Noise("calm", 0.01)


def rates(noise, factor, rule=None, **plan):
    return alarms_of(list(simulated(noise, factor, rule=rule or Rule(), **plan)))


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
    assert alarms_of(few)[0].hits < 57 <= bought.hits
    assert 0.86 < bought.bounds[0] < bought.hits / bought.of


def test_bounds_of_a_rate():
    # (1 - p)^300 = 0.05 and (1 - p)^7 = 0.05, by hand
    assert (0, pytest.approx(0.0099361, rel=1e-4)) == Rate(0, 300).bounds
    assert pytest.approx(1 - 0.348164, rel=1e-4) == Rate(7, 7).bounds[0]


def test_the_document_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(gate_study, "noises", lambda _: [CALM])
    gate_study.main(f"--simulate --runs 2 --results {tmp_path}".split())
    text = (tmp_path / "gate" / "README.md").read_text()
    assert text.startswith("<!-- written by: python tools/gate_study.py --simulate -->")
    assert text == simulation(tmp_path / "gate", 2)


def test_the_noise_of_equal_code_is_measured(git, sides, monkeypatch, tmp_path):
    rows = ("mfnet", "mfnet-nl")
    plans = {row: {"ns": 10_000_000} for row in rows}
    sides(plans, plans)
    monkeypatch.setattr(gate_study, "study_cells", lambda *_: [Cell(row=row) for row in rows])
    gate_study.main(f"--measure --pairs 6 --results {tmp_path}".split())
    found = json.loads((tmp_path / "gate/noise.json").read_text())["pairs"]
    assert {"mfnet": 6, "mfnet-nl": 6} == {row: len(logs) for row, logs in found.items()}
    assert all(0 < abs(log) < 0.05 for logs in found.values() for log in logs)
    *_, measured = gate_study.noises(tmp_path / "gate")
    assert tuple(map(tuple, found.values())) == measured.pools
