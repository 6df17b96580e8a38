"""What a study says of the gate, and its figure, on planted comparisons."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import pytest

from vidcost.bench.gate.record import Rule, Run, Version, Visit
from vidcost.bench.gate.study_figures import OURS, RULES, Comparison
from vidcost.bench.gate.trial import Trial
from vidcost.bench.gate.usual_rules import USUAL_RULES
from vidcost.bench.gate.verdict import Verdict
from vidcost.bench.report.gate.study import power_table as found_table
from vidcost.bench.report.gate.study import rules_table, same_table
from vidcost.bench.report.gate.study_document import goals, study_markdown, write_study
from vidcost.bench.report.gate.study_plot import power_figure, power_table, write_power
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine

CELL = Cell(row="mfnet-pnl", classes=7)
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


def said(factor, word, times=1, *, usual=(), trial=0, memory="EQUIVALENT"):
    """``times`` comparisons with ``word``, alarms by ``usual`` rules."""
    latency = Verdict(subject="mfnet-pnl", metric="latency", word=word, ratio=factor, pairs=13)
    alarms = {OURS: None if word == "INVALID" else word == "REGRESSED"}
    alarms |= {rule.name: rule.name in usual for rule in USUAL_RULES}
    remembered = Verdict(subject="mfnet-pnl", metric="memory", word=memory)
    return [
        Comparison(trial + n // 20, factor, CELL, latency, remembered, alarms) for n in range(times)
    ]


def trial(number=0, *, machine=MACHINE, load=None, cell=CELL, **known):
    version = Version(ref="main", commit="c0ffee" * 7, code="d", machine=machine)
    visits = [
        Visit(
            stage="screen",
            pair=pair,
            side=side,
            second=False,
            cell=0,
            samples_ns=tuple(10_000_000 + 100_000 * (k + pair) for k in range(30)),
        )
        for pair in range(Rule().screen_pairs)
        for side in ("base", "head")
    ]
    run = Run(
        vidcost="0.1.0",
        started=f"2026-11-2{number}",
        base=version,
        head=version,
        cells=(cell,),
        visits=tuple(visits),
        complete=True,
        **known,
    )
    return Trial(kind="A/A", factor=1, number=number, load=load, run=run)


def cells_of(table, line):
    return {column.key: table.lines[line].get(column.key) for column in table.columns}


def test_goals_that_are_met():
    false, found, usual = goals([*said(1.0, "EQUIVALENT", 300), *said(1.05, "REGRESSED", 60)])
    assert (
        "**Met: false alarms below 1%.** 0 of 300 comparisons of the same code raised one "
        "(0.00%); at 95% confidence the rate is at most 0.99%. Called improved, wrongly too: 0. "
        "Comparisons of one trial share processes and an hour: 0 of 15 trials had any false alarm, "
        "a rate of at most 18.1%."
    ) == false
    assert (
        "**Met: at least 95% of slow-downs of 5% found.** 60 of 60 were (100.0%); "
        "at 95% confidence the rate is at least 95.1%."
    ) == found
    assert usual.endswith("none reached both goals.")


def test_goals_that_are_missed():
    same = [*said(1.0, "EQUIVALENT", 290), *said(1.0, "REGRESSED", 7), *said(1.0, "IMPROVED", 3)]
    slow = [*said(1.05, "REGRESSED", 18), *said(1.05, "EQUIVALENT"), *said(1.05, "INVALID")]
    false, found, _ = goals([*same, *slow])
    assert false.startswith("**Missed: false alarms below 1%.** 7 of 300 comparisons")
    assert "Called improved, wrongly too: 3." in false
    # what is invalid was not found: 18 of 19 would be nearer
    assert found.startswith("**Missed: at least 95% of slow-downs of 5% found.** 18 of 20 were (90")


def test_goals_that_too_few_comparisons_cannot_show():
    same, slow = said(1.0, "EQUIVALENT", 298), said(1.05, "REGRESSED", 20)
    false, found, _ = goals([*same, *slow])
    # 298 without an alarm allow 1.0002%
    assert false.startswith("**Not shown: false alarms below 1%.** 0 of 298")
    assert found.startswith("**Met: ")
    assert found.endswith("the rate that was seen meets the goal, its bound does not prove it.")
    nothing = [*said(1.0, "INVALID", 5), *said(1.2, "REGRESSED", 5)]
    assert [
        "**Not shown: false alarms below 1%.** No A/A comparison was judged.",
        "**Not shown: at least 95% of slow-downs of 5% found.** None was injected.",
        "Of the usual rules nothing is known: A/A trials or delays are missing.",
    ] == goals(nothing)


def test_a_usual_rule_that_is_as_good_is_named():
    slow = said(1.05, "REGRESSED", 20, usual=("flat 7%", "t-test 0.05"))
    *_, usual = goals(
        [*said(1.0, "EQUIVALENT", 99), *said(1.0, "EQUIVALENT", usual=("t-test 0.05",)), *slow]
    )
    assert usual.endswith("reached both goals: flat 7%.")


def test_a_table_of_the_same_code():
    table = same_table(
        [
            *said(1.0, "EQUIVALENT", 20),
            *said(1.0, "REGRESSED", 2, trial=7),
            *said(1.0, "INVALID", 3, trial=8, memory="REGRESSED"),
            *said(1.0, "INCONCLUSIVE", 5, trial=9, memory="INVALID"),
        ]
    )
    row, trials, memory = (cells_of(table, line) for line in range(3))
    assert (27, 2, 2 / 27) == (row["of"], row["hits"], row["share"])
    assert (0, 20, 5, 3) == tuple(
        row[word] for word in ("IMPROVED", "EQUIVALENT", "INCONCLUSIVE", "INVALID")
    )
    # of four trials the third is invalid throughout
    assert (3, 1) == (trials["of"], trials["hits"])
    assert (25, 3) == (memory["of"], memory["hits"])


def test_a_table_of_what_was_found():
    table = found_table(
        [*said(1.2, "REGRESSED", 7), *said(1.02, "EQUIVALENT", 4), *said(1.02, "INVALID")]
    )
    assert [0.02, 0.2] == pytest.approx([line["slower"] for line in table.lines])
    assert (5, 0, 4, 1) == tuple(
        table.lines[0][key] for key in ("of", "hits", "EQUIVALENT", "INVALID")
    )
    assert (7, 7, 13) == tuple(table.lines[1][key] for key in ("of", "hits", "pairs"))
    # 0.05^(1/7)
    assert pytest.approx(0.6518, abs=1e-4) == table.lines[1]["at_least"]
    assert "|        20% |              20.0% |" in table.markdown()


def test_a_table_of_all_rules():
    table = rules_table(
        [
            *said(1.0, "EQUIVALENT", 30),
            *said(1.0, "EQUIVALENT", 10, usual=("U-test 0.002",), trial=5),
            *said(1.05, "REGRESSED", 3),
            *said(1.05, "EQUIVALENT", usual=("U-test 0.002", "mean:10%")),
        ]
    )
    assert list(RULES) == [line["rule"] for line in table.lines]
    by_rule = {line["rule"]: line for line in table.lines}
    assert ("0 of 40", "0 of 3", 0.75) == tuple(
        by_rule[OURS][k] for k in ("false", "trials", "1.05")
    )
    assert ("10 of 40", "1 of 3", 0.25) == tuple(
        by_rule["U-test 0.002"][key] for key in ("false", "trials", "1.05")
    )
    assert 0.25 == by_rule["mean:10%"]["1.05"]


def test_the_document_begins_with_the_machine_and_its_noise():
    document = study_markdown([trial(0, load=0.2), trial(1, load=1.4)])
    title, machine, noise, *_ = (line for line in document.splitlines() if line)
    assert "# The gate on trial" == title
    assert machine.startswith(
        "Machine: Abacus 9, 3 cores, 5 GiB, torch 2.99.0, Python 3.99, wood; passes on 1 thread. "
        "The load average before a trial was 0.2 to 1.4, its median 0.8. "
        "Code: vidcost 0.1.0 at c0ffeec0ffee. 2 trials of 1 row from 2026-11-20 to 2026-11-21,"
    )
    # base and head were planted alike
    assert "differ by a standard deviation of 0.0% (median over rows; 0.0% to 0.0%)" in noise
    assert "0 of 2 comparisons of the same code raised one" in document
    assert "](power.svg)" in document
    assert "`vidcost gate study`" in document
    assert "on 8 pairs of processes" in document


def test_a_study_is_written_with_the_command_that_measures_it_again(tmp_path):
    cell = Cell(row="mfnet-pnl", classes=7, device="cuda", threads=3)
    written, alarms = write_study([trial(cell=cell)], tmp_path)
    assert ["README.md", "power.svg", "power.png", "power.csv"] == [p.name for p in written]
    assert alarms.csv() == written[3].read_text()
    document = written[0].read_text()
    command = "vidcost gate study --device cuda --threads 3"
    assert document.startswith(f"<!-- written by: {command} -->\n\n# The gate on trial\n")
    assert f"Repeat with `{command}`" in document
    assert "memory, a row" not in document


def test_what_is_not_recorded_is_not_made_up():
    document = study_markdown([trial()])
    assert "What else it had to do is not recorded." in document
    assert "**Not shown: at least 95% of slow-downs of 5% found.** None was injected." in document


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"machine": MACHINE.model_copy(update={"cores": 5})}, "cores: 3 and 5"),
        ({"rule": Rule(margin=0.07)}, "rule: .*margin=0.03.* and .*margin=0.07"),
        ({"visit_s": 7.0}, r"plan: \(1.0, 10\) and \(7.0, 10\)"),
    ],
)
def test_trials_of_different_kinds_are_refused(others, message):
    with pytest.raises(ValueError, match=message):
        study_markdown([trial(), trial(1, **others)])


def test_no_trials(tmp_path):
    with pytest.raises(ValueError, match="there are no trials yet: run `vidcost gate study`"):
        study_markdown([])
    with pytest.raises(ValueError, match="there are no trials yet: run `vidcost gate study`"):
        write_study([], tmp_path)
    assert [] == list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="no trial says what it ran on"):
        study_markdown([trial(machine=None)])


@pytest.fixture(scope="module")
def planted():
    return [
        *said(1.0, "EQUIVALENT", 20),
        *said(1.0, "EQUIVALENT", 20, usual=("t-test 0.05",), trial=1),
        *said(1.05, "REGRESSED", 20, usual=("t-test 0.05",), trial=2),
        *said(1.2, "REGRESSED", 20, usual=[rule.name for rule in USUAL_RULES], trial=3),
    ]


def test_the_figures_data(planted):
    table = power_table(planted)
    assert len(RULES) * 3 == len(table.lines)
    lines = {
        (x["rule"], x["slowdown_percent"]): x for x in csv.DictReader(io.StringIO(table.csv()))
    }
    same = lines["t-test 0.05", "0.0"]
    assert ("40", "20", "0.5") == (same["comparisons"], same["alarms"], same["rate"])
    # 20 of 40: 0.338 to 0.662, from a table of exact intervals
    assert pytest.approx((0.338, 0.662), abs=1e-3) == (float(same["low"]), float(same["high"]))
    assert "0" == lines["flat 7%", "5.0"]["alarms"]


def test_the_figure_has_a_panel_for_each_rule_and_the_gate_in_every_one(planted):
    figure = power_figure(planted)
    assert (
        "● vidcost gate: 0.0% false alarms, 100.0% of 5% slow-downs found" == figure.get_suptitle()
    )
    panels = {panel.get_title(loc="left"): panel for panel in figure.axes if panel.axison}
    assert [f"■ {rule.name}" for rule in USUAL_RULES] == list(panels)
    for panel in panels.values():
        assert ["A/A", "5%", "20%"] == [text.get_text() for text in panel.get_xticklabels()]
    ours, other = (
        line for line in panels["■ t-test 0.05"].lines if line.get_marker() in {"o", "s"}
    )
    assert ([0, 1, 1], [0.5, 1, 1]) == (list(ours.get_ydata()), list(other.get_ydata()))


def test_the_same_data_give_the_same_files(planted, tmp_path):
    first, second = (write_power(planted, tmp_path / folder) for folder in "ab")
    assert ["power.svg", "power.png", "power.csv"] == [path.name for path in first]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[1].read_bytes().startswith(b"\x89PNG")
    assert b"<dc:date>" not in first[0].read_bytes()


def test_drawing_leaves_no_trace(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "import vidcost.bench.report.gate.study_plot as plot\n"
        "assert 'matplotlib' not in sys.modules\n"
        "import matplotlib; salt = matplotlib.rcParams['svg.hashsalt']\n"
        "plot.write_power([], Path(sys.argv[1]))\n"
        "assert salt == matplotlib.rcParams['svg.hashsalt']\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    # without comparisons it is empty, but a figure
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_a_folder_that_cannot_be_written(planted, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot write"):
        write_power(planted, tmp_path / "file")
