"""Studies the gate itself: false alarms, the level at the margin, slow-downs found.

    python tools/gate_study.py --simulate    # minutes: writes gate/README.md in the results folder
    python tools/gate_study.py --measure     # hours on a quiet machine: writes gate/noise.json

A measurement is of pairs of equal code. The simulation draws from them, and from normal noise.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vidcost.bench import files
from vidcost.bench.gate import interleave
from vidcost.bench.gate.judge import Pairs, is_settled, judge_pairs, pairs_of, planned
from vidcost.bench.gate.record import Rule, Run, Verdict, hides
from vidcost.bench.gate.statistics import CONFIDENCE
from vidcost.bench.gate.versions import prepare
from vidcost.bench.report.table import Column, Table
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.machine import check_device

SAME = 1.0
"""The factor of equal code."""

AT_MARGIN = 1 + Rule().margin
FACTORS = (1.02, 1.03, 1.05, 1.10, 1.20)
"""The planted slow-downs."""

BLOCKS = ("nl", "cgnl", "pnl:n=2", "pnl:n=3", "pnl:n=4")
SHAPES = ((384, 2, 8, 8), (96, 4, 14, 14), (192, 8, 8, 8))
ROWS = ("mfnet", "mfnet-nl", "r50-ucf101", "r50-nl-ucf101", "r50-cgnl-ucf101")

FOUND_GOAL, FOUND_BOUND = 0.95, 0.90
"""Of slow-downs of 5%: the rate, and its lower bound."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the noise of pairs, or simulate and write the document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--simulate", action="store_true", help="planted pairs, nothing is timed")
    what.add_argument("--measure", action="store_true", help="the noise of pairs of equal code")
    parser.add_argument("--runs", type=int, default=300, help="simulated runs of each kind")
    parser.add_argument("--pairs", type=int, default=120, help="measured pairs of each row")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process")
    parser.add_argument("--results", type=Path, default=Path("results"))
    asked = parser.parse_args(arguments)
    folder = asked.results / "gate"
    if asked.simulate:
        files.write(folder / "README.md", simulation(folder, asked.runs))
    else:
        check_device(asked.device)
        measure(folder / "noise.json", study_cells(asked.device, asked.threads), asked.pairs)
    print(f"Written: {folder / ('README.md' if asked.simulate else 'noise.json')}")


# measuring


def study_cells(device: str, threads: int) -> list[Cell]:
    """Blocks alone at small shapes and networks on small clips: milliseconds each on one core."""
    common = {"device": device, "threads": threads}
    alone = [Cell(block=spec, shape=shape, **common) for shape in SHAPES for spec in BLOCKS]
    return alone + [Cell(row=row, frames=8, size=32, **common) for row in ROWS]


def measure(path: Path, cells: Sequence[Cell], pairs: int) -> None:
    """Write log ratios of pairs of the working tree and itself, again after every pair.

    Raises: ValueError if there is no git repository.
    """

    def save(run: Run) -> None:
        logs = [[round(log, 5) for log in each.log_ratios] for each in pairs_of(run, "screen")]
        found = {
            "measured": "pairs of processes of equal code, interleaved; log(head / base)",
            "device": run.machine.device,
            "cores": cells[0].threads,
            "torch": run.machine.torch,
            "platform": run.machine.platform,
            "from": run.started,
            "pairs": dict(zip((cell.target for cell in cells), logs, strict=True)),
        }
        files.write(path, json.dumps(found) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(Path(), None, None, Path(folder))
        run = interleave.new_run(prepared, cells, rule=Rule(screen_pairs=pairs))
        variables = {"base": prepared[0].variables, "head": prepared[1].variables}
        interleave.Campaign(run, variables, save=save, stages=("screen",)).finish()


# simulation


@dataclass(frozen=True)
class Noise:
    """What the log ratios of pairs of equal code are drawn from.

    ``pools`` are log ratios by row, each with a random sign as the order in a pair is random;
    without them they are normal, with ``deviation``. Of ``disturbed`` pairs one side takes 1.2
    times as long.
    """

    name: str
    deviation: float = 0.0
    disturbed: float = 0.0
    pools: tuple[tuple[float, ...], ...] = ()

    def draw(self, random: np.random.Generator, row: int, count: int) -> NDArray[np.float64]:
        """The log ratios of ``count`` pairs of a row."""
        sign = random.choice((-1.0, 1.0), count)
        if self.pools:
            return random.choice(self.pools[row % len(self.pools)], count) * sign
        off = math.log(1.2) * sign * (random.random(count) < self.disturbed)
        return random.normal(0, self.deviation, count) + off


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


def simulated(
    noise: Noise, factor: float, *, rows: int, runs: int, rule: Rule, seed: int = 0
) -> Iterator[list[Verdict]]:
    """The verdicts of ``runs`` runs of ``rows`` rows, in all of which head is slower."""
    random = np.random.default_rng([seed, round(1000 * factor), rows])

    # runs of one row go through all pools too
    def pairs(row: int, count: int) -> Pairs:
        logs = tuple((noise.draw(random, row, count) + math.log(factor)).tolist())
        return Pairs(base=(1.0,) * count, head=(factor,) * count, log_ratios=logs)

    for run in range(runs):
        screened = [pairs(run + row, rule.screen_pairs) for row in range(rows)]
        confirmed = [Pairs()] * rows
        for row, plan in planned(screened, rule).items():
            every = pairs(run + row, plan.pairs)
            count = min(plan)
            while not is_settled(every.log_ratios[:count], plan, rule):
                # the gate looks after every pair
                count += max(1, plan.pairs // 40)
            confirmed[row] = Pairs(*(each[:count] for each in every))
        yield judge_pairs([f"row {row}" for row in range(rows)], screened, confirmed, rule)


class Rate(NamedTuple):
    """``hits`` in ``of``."""

    hits: int
    of: int

    @property
    def bounds(self) -> tuple[float, float]:
        """Exact one-sided 95% bounds by Clopper and Pearson (1934): at least, and at most."""
        test = stats.binomtest(self.hits, self.of)
        found = test.proportion_ci(2 * CONFIDENCE - 1, method="exact")
        return float(found.low), float(found.high)


def alarms_of(runs: Sequence[Sequence[Verdict]]) -> tuple[Rate, Rate]:
    """How many verdicts call head slower, and how many of the runs have any that does."""
    slower = [[verdict.word == "REGRESSED" for verdict in run] for run in runs]
    every = [each for run in slower for each in run]
    return Rate(sum(every), len(every)), Rate(sum(map(any, slower)), len(slower))


# the document


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


def line(
    noise: Noise, factor: float, *, rows: int, runs: int, rule: Rule | None = None
) -> dict[str, Any]:
    """The figures of simulated runs, in all of which head is slower by ``factor``."""
    rule = rule or Rule()
    found = list(simulated(noise, factor, rows=rows, runs=runs, rule=rule))
    each, by_run = alarms_of(found)
    every = [verdict for run in found for verdict in run]
    green = sum(v.word in ("EQUIVALENT", "INCONCLUSIVE") and not hides(v, rule) for v in every)
    return {
        "noise": noise.name,
        "rows": rows,
        "factor": factor,
        "of": f"{each.hits:,} of {each.of:,}",
        "rate": each.hits / each.of,
        "at_least": each.bounds[0],
        "at_most": each.bounds[1],
        "runs": f"{by_run.hits:,} of {by_run.of:,}",
        "run_rate": by_run.hits / by_run.of,
        "run_at_most": by_run.bounds[1],
        "green": green / len(every),
        "pairs": statistics.median(verdict.pairs for verdict in every),
    }


def simulation(folder: Path, runs: int, *, rows: int = 20) -> str:
    """The document of simulated runs.

    ``runs`` of ``rows`` rows at the level, a tenth for power; as many rows in runs of one.
    """
    every, rule, some = noises(folder), Rule(), max(1, runs // 10)
    level = [
        line(noise, factor, rows=rows, runs=runs) for noise in every for factor in (SAME, AT_MARGIN)
    ]
    power = [
        line(noise, factor, rows=many, runs=some * rows // many)
        for noise in every
        for many in (1, rows)
        for factor in FACTORS
    ]
    cost = [line(noise, 1.05, rows=1, runs=runs, rule=Rule(most_pairs=400)) for noise in every]
    noise = Column("noise", "Noise of pairs")
    met = [
        each["noise"]
        for each in cost
        if each["rate"] >= FOUND_GOAL and each["at_least"] >= FOUND_BOUND
    ]
    return "\n".join(
        [
            "<!-- written by: python tools/gate_study.py --simulate -->\n",
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


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"gate_study: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped: pairs that were measured are kept")
