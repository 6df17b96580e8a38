"""Studies the gate itself: false alarms, the level at the margin, slow-downs found.

    python tools/gate_study.py --simulate    # minutes: writes gate/README.md in the results folder
    python tools/gate_study.py               # measures on this machine, which must be quiet
    python tools/gate_study.py --tests       # the same of tests that use time_gate, 1 to 50 ms

A measured study adds trials to gate/<device>/study.jsonl, or tests.jsonl; the same command
continues it. It says beforehand how many hours are left. README.md, or tests.md, beside it is
computed from the trials.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gate_trials import SAME, Noise, Rate, Trial, alarms_of, measured, read, simulated, write

from vidcost.bench import files
from vidcost.bench.gate.record import Rule, Verdict, hides
from vidcost.bench.report.table import Column, Table
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.machine import check_device, machine_of
from vidcost.bench.timing.store import slug

COMMAND = "python tools/gate_study.py"

AT_MARGIN = 1 + Rule().margin
FACTORS = (1.02, 1.03, 1.05, 1.10, 1.20)
"""The injected slow-downs."""

BLOCKS = ("nl", "cgnl", "pnl:n=2", "pnl:n=4")
SHAPES = ((384, 2, 8, 8), (192, 8, 8, 8))
ROWS = ("mfnet", "r50-ucf101")

HOURS = {SAME: 0.2, AT_MARGIN: 0.5}
"""Of a trial of ten cells on one core; of other factors as at the margin."""

TESTS = [
    Cell(test=f"tests/test_passes.py::test_pass[{ms}]", code="passes") for ms in (1, 5, 20, 50)
]

HOURS_OF_TESTS = {SAME: 0.03, AT_MARGIN: 0.1}
"""Of a trial of four tests."""

FOUND_GOAL, FOUND_BOUND = 0.95, 0.90
"""Of slow-downs of 5%: the rate, and its lower bound."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the missing trials, or simulate, and write the document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--simulate", action="store_true", help="planted pairs, nothing is timed")
    parser.add_argument("--tests", action="store_true", help="tests that use time_gate, on a CPU")
    parser.add_argument("--runs", type=int, default=300, help="simulated runs of each kind")
    parser.add_argument("--trials", type=int, default=60, help="of equal code, and at the margin")
    parser.add_argument("--per-factor", type=int, default=60, help="cells of each slow-down")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process")
    parser.add_argument("--visit", type=float, default=0.4, help="seconds of a pair at a cell")
    parser.add_argument("--results", type=Path, default=Path("results"))
    asked = parser.parse_args(arguments)
    if asked.simulate:
        path = asked.results / "gate" / "README.md"
        files.write(path, simulation(asked.results / "gate", asked.runs))
    else:
        check_device(asked.device)
        folder = asked.results / "gate" / slug(machine_of(asked.device).device)
        cells = TESTS if asked.tests else study_cells(asked.device, asked.threads)
        stored = folder / ("tests.jsonl" if asked.tests else "study.jsonl")
        trials = read(stored)
        left = list(missing(trials, cells, asked.trials, asked.per_factor))
        each = HOURS_OF_TESTS if asked.tests else HOURS
        hours = sum(each.get(factor, each[AT_MARGIN]) for factor, _ in left)
        print(f"{len(left)} trials are to be measured, about {hours:.0f} hours", file=sys.stderr)
        for number, trial in enumerate(left, start=1):
            trials.append(measured(cells, *trial, visit_s=asked.visit))
            write(stored, trials)
            print(f"trial {number} of {len(left)} is measured", file=sys.stderr)
        path = folder / ("tests.md" if asked.tests else "README.md")
        files.write(path, document(trials))
    print(f"Written: {path}")


# measuring


def study_cells(device: str, threads: int) -> list[Cell]:
    """Blocks alone at small shapes and networks on small clips: milliseconds each on one core."""
    alone = [
        Cell(block=spec, shape=shape, device=device, threads=threads)
        for shape in SHAPES
        for spec in BLOCKS
    ]
    return alone + [
        Cell(row=row, frames=8, size=32, device=device, threads=threads) for row in ROWS
    ]


def missing(
    trials: Sequence[Trial], cells: Sequence[Cell], runs: int, per_factor: int
) -> Iterator[tuple[float, int]]:
    """Factors and numbers of the trials to measure: few of each kind first.

    Raises: ValueError if ``trials`` are of other cells.
    """
    if any(trial.cells != tuple(cells) for trial in trials):
        raise ValueError("the study holds other cells: name another folder with --results")
    known = {(trial.factor, trial.number) for trial in trials}
    wanted = dict.fromkeys(FACTORS, -(-per_factor // len(cells)))
    wanted |= {SAME: runs, AT_MARGIN: max(runs, wanted.get(AT_MARGIN, 0))}
    planned = [(factor, n) for n in range(max(wanted.values())) for factor in sorted(wanted)]
    return (each for each in planned if each not in known and each[1] < wanted[each[0]])


# tables


def _percent(value: float) -> str:
    return f"{value:.1%}"


RATE = (
    Column("factor", "Slower by", lambda factor: f"{factor - 1:.0%}"),
    Column("of", "Alarms"),
    Column("rate", "Rate", _percent),
    Column("at_least", "At least", _percent),
    Column("at_most", "At most", _percent),
)
RUNS = (
    Column("runs", "Runs with any"),
    Column("run_rate", "Rate", _percent),
    Column("run_at_most", "At most", _percent),
)
REST = (
    Column("green", "Green all the same", _percent),
    Column("pairs", "Pairs, median", "{:g}".format),
)
LEGEND = (
    "Alarm: REGRESSED. At least, at most: exact one-sided 95% bounds (Clopper and Pearson). Green "
    "all the same: neither REGRESSED nor a failure, because INCONCLUSIVE excludes a slow-down of "
    f"{Rule().find:.0%}, or EQUIVALENT. Pairs: those that a verdict rests on."
)


def line(factor: float, runs: Sequence[Sequence[Verdict]], rule: Rule) -> dict[str, Any]:
    """The figures of the verdicts of some runs, in all of which head is slower by ``factor``."""
    rate, by_run = alarms_of(dict(enumerate(runs)))
    every = [verdict for run in runs for verdict in run]
    green = sum(v.word in ("EQUIVALENT", "INCONCLUSIVE") and not hides(v, rule) for v in every)
    return {
        "factor": factor,
        **_rate("", rate),
        "runs": str(by_run),
        **_rate("run_", by_run),
        "green": green / len(every),
        "pairs": statistics.median(verdict.pairs for verdict in every),
    }


def _rate(prefix: str, rate: Rate) -> dict[str, Any]:
    at_least, at_most = rate.bounds
    return {
        f"{prefix}of": str(rate),
        f"{prefix}rate": rate.fraction,
        f"{prefix}at_least": at_least,
        f"{prefix}at_most": at_most,
    }


# the simulation


def noises(folder: Path) -> list[Noise]:
    """Normal ones, one with disturbed pairs, and those that were measured, from noise.json."""
    normal = [Noise(f"normal, SD {100 * each:g}%", each) for each in (0.01, 0.02, 0.033, 0.05)]
    disturbed = Noise("SD 1%, one pair in 14 off by 20%", 0.01, disturbed=1 / 14)
    path = folder / "noise.json"
    if not path.is_file():
        return [*normal, disturbed]
    found = json.loads(path.read_text(encoding="utf-8"))
    pools = tuple(tuple(each) for each in found["pairs"].values())
    return [*normal, disturbed, Noise(f"measured, {found['device']}", pools=pools)]


def simulation(folder: Path, runs: int, *, rows: int = 20) -> str:
    """The document of simulated runs.

    ``runs`` of ``rows`` rows at the level, a tenth for power; as many rows in runs of one.
    """
    every, rule, bought = noises(folder), Rule(), Rule(most_pairs=400)
    level = [
        {"noise": noise.name} | line(factor, list(found), rule)
        for noise in every
        for factor in (SAME, AT_MARGIN)
        for found in [simulated(noise, factor, rows=rows, runs=runs, rule=rule)]
    ]
    power = []
    for noise in every:
        for many in (1, rows):
            number = max(1, runs // 10) * (rows if many == 1 else 1)
            for factor in FACTORS:
                found = list(simulated(noise, factor, rows=many, runs=number, rule=rule))
                power.append({"noise": noise.name, "rows": many} | line(factor, found, rule))
    cost = []
    for noise in every:
        found = list(simulated(noise, 1.05, rows=1, runs=runs, rule=bought))
        cost.append({"noise": noise.name} | line(1.05, found, bought))
    noise = Column("noise", "Noise of pairs")
    met = [
        each["noise"]
        for each in cost
        if each["rate"] >= FOUND_GOAL and each["at_least"] >= FOUND_BOUND
    ]
    return "\n".join(
        [
            f"<!-- written by: {COMMAND} --simulate -->\n",
            "# The gate's level and power, simulated\n",
            "Pairs of processes are planted: log ratios of known centre with the noise named. They "
            "go through the gate's own plan, tests and words. Nothing is timed. The measured "
            "noise is that of interleaved pairs of equal code, row by row, in noise.json.\n",
            "## Level\n",
            f"Runs of {rows} rows. At the margin of {rule.margin:.0%} every alarm is false; a run "
            f"may have any with a probability of at most {rule.confirm_level:.0%}.\n",
            Table("Level, by run", (noise, *RATE, *RUNS), level, legend=[LEGEND]).markdown(),
            "## Power\n",
            "All rows of a run are slower, so that they share the level. A slow-down up to the "
            f"margin is not to be found. At most {rule.most_pairs} pairs confirm a row.\n",
            Table(
                "Slow-downs found",
                (noise, Column("rows", "Rows", str), *RATE, *REST),
                power,
                legend=[LEGEND],
            ).markdown(),
            "## What 5% cost\n",
            f"`--power {rule.power:g}` takes as many pairs as a power of {rule.power:.0%} at 5% "
            f"needs. Found {FOUND_GOAL:.0%} of the time, with a lower bound of {FOUND_BOUND:.0%}: "
            f"{'; '.join(met) or 'with none of these noises'}.\n",
            Table("One row, with --power", (noise, *RATE, *REST), cost, legend=[LEGEND]).markdown(),
        ]
    )


# the measured study


def document(trials: Sequence[Trial]) -> str:
    """The document of measured trials.

    Raises: ValueError if there are none, or they differ in machine, rule or plan.
    """
    if not trials:
        raise ValueError(f"there are no trials yet: run `{COMMAND}`")
    first = trials[0]
    for trial in trials:
        for name, was, is_ in (
            ("machine", first.machine.kind, trial.machine.kind),
            ("rule", first.rule, trial.rule),
            ("visits", first.visit_s, trial.visit_s),
        ):
            if was != is_:
                raise ValueError(f"the trials differ in {name}: {was} and {is_}; keep two folders")
    by_factor = {
        f: [t for t in trials if t.factor == f] for f in sorted({t.factor for t in trials})
    }
    ours = [
        line(factor, [trial.verdicts() for trial in found], first.rule)
        for factor, found in by_factor.items()
    ]
    theirs = [
        {"rule": rule, "factor": factor} | _usual(rule, found)
        for rule in first.alarms
        for factor, found in by_factor.items()
    ]
    usual = [
        "## pytest-benchmark on the same code\n",
        "Each trial also runs pytest-benchmark as its users do, all of base, then all of head "
        "with `--benchmark-compare`. An alarm is a failure of its own "
        "`--benchmark-compare-fail`.\n",
        Table(
            "pytest-benchmark", (Column("rule", "Rule"), *RATE, *RUNS), theirs, legend=[LEGEND]
        ).markdown(),
    ]
    device = "" if first.cells[0].device == "cpu" else f" --device {first.cells[0].device}"
    device += " --tests" if first.cells[0].test else ""
    machine, days = first.machine, sorted(trial.started for trial in trials)
    commits = ", ".join(dict.fromkeys(trial.commit[:12] for trial in trials))
    spread = [statistics.pstdev(p.log_ratio for p in pairs) for t in trials for pairs in t.screen]
    return "\n".join(
        [
            f"<!-- written by: {COMMAND}{device} -->\n",
            "# A study of the gate\n",
            f"Machine: {machine.device}, {machine.cores} cores, torch {machine.torch}, Python "
            f"{machine.python}, {machine.platform}. vidcost {first.vidcost} at {commits}. "
            f"{len(trials)} trials of {len(first.cells)} rows from {days[0]} to {days[-1]}, "
            f"{sum(trial.took_s for trial in trials) / 3600:.1f} hours. Standard deviation of the "
            f"log ratios of pairs in a screen: median {statistics.median(spread):.1%}.\n",
            "Base and head are equal code. Every pass of head is delayed by a fraction of its own "
            "time, so the right answer is known. All rows of a trial are slower at once.\n",
            Table("The gate", (*RATE, *RUNS, *REST), ours, legend=[LEGEND]).markdown(),
            *(usual if first.alarms else []),
        ]
    )


def _usual(rule: str, trials: Sequence[Trial]) -> Mapping[str, Any]:
    alarms = [len(trial.alarms[rule]) for trial in trials]
    cells = sum(len(trial.cells) for trial in trials)
    by_run = Rate(sum(map(bool, alarms)), len(trials))
    return _rate("", Rate(sum(alarms), cells)) | {"runs": str(by_run)} | _rate("run_", by_run)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"gate_study: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; finished trials are kept: give the same command to continue")
