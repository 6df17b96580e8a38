"""Measures the gate itself on this machine: false alarms on equal code, slow-downs found.

    python tools/gate_study.py --comparisons 300

Trials are added to gate/<device>/study.jsonl in the results folder; the same command continues a
study. README.md beside it is computed from the trials.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from gate_study_figures import (
    OURS,
    RULES,
    SAME,
    USUAL_RULES,
    Comparison,
    Noise,
    Rate,
    Trial,
    alarm_rate,
    compare,
    factors,
    noise,
    read,
    reduced,
    trial_alarm_rate,
    write,
)

from vidcost.bench import files
from vidcost.bench.gate import interleave
from vidcost.bench.gate.record import Rule
from vidcost.bench.gate.versions import cache_folder, prepare
from vidcost.bench.report.table import Column, Table, integer
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import machine_of
from vidcost.bench.timing.machine import check_device
from vidcost.bench.timing.record import Machine
from vidcost.bench.timing.stored import slug

COMMAND = "python tools/gate_study.py"

FACTORS = (1.02, 1.03, 1.05, 1.10, 1.20)
"""The injected slow-downs."""

BLOCKS = ("nl", "cgnl", "pnl:n=2", "pnl:n=3", "pnl:n=4")
SHAPES = ((384, 2, 8, 8), (96, 4, 14, 14), (192, 8, 8, 8))
ROWS = ("mfnet", "mfnet-nl", "r50-ucf101", "r50-nl-ucf101", "r50-cgnl-ucf101")

GOAL_FACTOR = 1.05
"""The slow-down that the gate must find."""
FALSE_ALARM_GOAL = 0.01
FOUND_GOAL = 0.95


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the missing trials and write the document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--comparisons", type=int, default=300, help="of equal code, at least")
    parser.add_argument("--per-factor", type=int, default=40, help="of each slow-down, at least")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process")
    parser.add_argument("--visit", type=float, default=0.4, help="seconds of a pair at a cell")
    parser.add_argument("--results", type=Path, default=Path("results"))
    asked = parser.parse_args(arguments)
    check_device(asked.device)
    folder = asked.results / "gate" / slug(machine_of(asked.device))
    cells = study_cells(asked.device, asked.threads)
    trials = read(folder / "study.jsonl")
    for each in missing(trials, cells, asked.comparisons, asked.per_factor):
        trials.append(measured(cells, *each, visit_s=asked.visit))
        write(folder / "study.jsonl", trials)
        print(f"trial {each[1]} of x{each[0]:g} is measured", file=sys.stderr)
    files.write(folder / "README.md", document(trials))
    print(f"Written: {folder / 'README.md'}")


# measuring


def study_cells(device: str, threads: int) -> list[Cell]:
    """Blocks alone at small shapes and networks on small clips: milliseconds each on one core."""
    alone = [
        Cell(block=spec, shape=shape, device=device, threads=threads)
        for shape in SHAPES
        for spec in BLOCKS
    ]
    networks = [Cell(row=row, frames=8, size=32, device=device, threads=threads) for row in ROWS]
    return alone + networks


def missing(
    trials: Sequence[Trial], cells: Sequence[Cell], comparisons: int, per_factor: int
) -> Iterator[tuple[float, int]]:
    """Factors and numbers of the trials to measure: equal code first, then each slow-down.

    Raises: ValueError if ``trials`` are of other cells.
    """
    if any(trial.cells != tuple(cells) for trial in trials):
        raise ValueError("the study holds other cells: name another folder with --results")
    known = {(trial.factor, trial.number) for trial in trials}
    planned = [(SAME, number) for number in range(-(-comparisons // len(cells)))]
    rounds = range(-(-per_factor // len(cells)))
    planned += [(factor, number) for number in rounds for factor in FACTORS]
    return (each for each in planned if each not in known)


def measured(cells: Sequence[Cell], factor: float, number: int, *, visit_s: float) -> Trial:
    """Measure one trial: the working tree on both sides, every pass of head delayed by ``factor``.

    Raises: ValueError if there is no git repository or no such device.
    """
    prepared = prepare(Path(), None, None, cache=cache_folder())
    # another seed for each trial, the same one if it is repeated
    seed = round(1000 * factor) * 1000 + number
    run = interleave.new_run(prepared, cells, rule=Rule(), seed=seed, visit_s=visit_s)
    load, _, _ = os.getloadavg()
    campaign = interleave.Campaign(
        run, interleave.launches(prepared), stages=("screen", "confirm"), slowdown=factor - 1
    )
    return reduced(campaign.finish(), factor=factor, number=number, load=load)


# the document


def document(trials: Sequence[Trial]) -> str:
    """The whole document.

    Raises: ValueError if there are no trials, or they differ in machine, rule or plan.
    """
    machine, rule = common(trials)
    comparisons, noises = compare(trials), noise(trials)
    return "\n".join(
        [
            f"<!-- written by: {_command(trials)} -->\n",
            "# A study of the gate\n",
            _conditions(machine, trials),
            _noise_line(noises),
            "## Are the goals met?\n",
            *(f"- {sentence}" for sentence in goals(comparisons)),
            "\n## Equal code on both sides\n",
            same_table(comparisons).markdown(),
            "## Slow-downs of a known size\n",
            found_table(comparisons).markdown(),
            "## The usual rules on the same raw data\n",
            rules_table(comparisons).markdown(),
            "## The machine's noise\n",
            noise_table(noises, comparisons).markdown(),
            "## How to read this\n",
            _how_to_read(rule, trials),
        ]
    )


def common(trials: Sequence[Trial]) -> tuple[Machine, Rule]:
    """The machine and the rule of all trials.

    Raises: ValueError if there are none, or they differ in machine, rule or plan.
    """
    if not trials:
        raise ValueError(f"there are no trials yet: run `{COMMAND}`")
    first = trials[0]
    for trial in trials:
        for name, was, is_ in (
            ("machine", first.machine.kind, trial.machine.kind),
            ("rule", first.rule, trial.rule),
            ("visits", (first.visit_s, first.visit_turns), (trial.visit_s, trial.visit_turns)),
        ):
            if was != is_:
                raise ValueError(f"the trials differ in {name}: {was} and {is_}; keep two folders")
    return first.machine, first.rule


def goals(comparisons: Sequence[Comparison]) -> list[str]:
    """Whether false alarms are rare and slow-downs found, by the gate and by the usual rules."""
    both = [
        rule
        for rule in USUAL_RULES
        if (alarm_rate(comparisons, rule, SAME).fraction or 0) < FALSE_ALARM_GOAL
        and (alarm_rate(comparisons, rule, GOAL_FACTOR).fraction or 0) >= FOUND_GOAL
    ]
    usual = f"reach both goals: {', '.join(both)}" if both else "none reaches both goals"
    return [
        _false_alarm_goal(comparisons),
        _found_goal(comparisons),
        f"Of the usual rules, on the same raw data and by the observed rates, {usual}.",
    ]


def _false_alarm_goal(comparisons: Sequence[Comparison]) -> str:
    rate = alarm_rate(comparisons, OURS, SAME)
    goal = f"false alarms below {FALSE_ALARM_GOAL:.0%}"
    if rate.fraction is None:
        return f"**Not shown: {goal}.** No A/A comparison was judged."
    if rate.at_most < FALSE_ALARM_GOAL:
        word = "Met"
    else:
        word = "Missed" if rate.fraction >= FALSE_ALARM_GOAL else "Not shown"
    trials = trial_alarm_rate(comparisons, OURS)
    improved = _words(comparisons, SAME)["IMPROVED"]
    return (
        f"**{word}: {goal}.** {of(rate)} comparisons of equal code raised one "
        f"({rate.fraction:.2%}); the 95% upper bound is {rate.at_most:.2%}. Wrongly called "
        f"IMPROVED: {improved}. Comparisons of one trial share processes and an hour: {of(trials)} "
        f"trials had any false alarm, with an upper bound of {trials.at_most:.1%}."
    )


def _found_goal(comparisons: Sequence[Comparison]) -> str:
    rate = alarm_rate(comparisons, OURS, GOAL_FACTOR)
    goal = f"at least {FOUND_GOAL:.0%} of slow-downs of {GOAL_FACTOR - 1:.0%} found"
    if rate.fraction is None:
        return f"**Not shown: {goal}.** None was injected."
    word = "Met" if rate.fraction >= FOUND_GOAL else "Missed"
    proof = (
        "; the observed rate meets the goal, its bound does not prove it"
        if word == "Met" and rate.at_least < FOUND_GOAL
        else ""
    )
    return (
        f"**{word}: {goal}.** {of(rate)} were ({rate.fraction:.1%}); the 95% lower bound is "
        f"{rate.at_least:.1%}{proof}."
    )


def _words(comparisons: Iterable[Comparison], factor: float) -> Counter[str]:
    return Counter(each.latency.word for each in comparisons if each.factor == factor)


def of(rate: Rate) -> str:
    """3 of 7."""
    return f"{rate.hits} of {rate.of}"


_OTHERS = ("EQUIVALENT", "INCONCLUSIVE", "IMPROVED", "INVALID")


def _coarse(value: float) -> str:
    return f"{value:.1%}"


def _fine(value: float) -> str:
    return f"{value:.2%}"


def same_table(comparisons: Sequence[Comparison]) -> Table:
    """False alarms of the gate on equal code."""
    lines = [
        {
            "judged": name,
            "of": rate.of,
            "hits": rate.hits,
            "rate": rate.fraction,
            "at_most": rate.at_most if rate.of else None,
        }
        for name, rate in (
            ("a row", alarm_rate(comparisons, OURS, SAME)),
            ("any row of a trial", trial_alarm_rate(comparisons, OURS)),
        )
    ]
    lines[0] |= {word: _words(comparisons, SAME)[word] for word in _OTHERS}
    return Table(
        title="A/A: false alarms of the gate",
        columns=(
            Column("judged", "Judged"),
            Column("of", "Number", integer),
            Column("hits", "False alarms", integer),
            Column("rate", "Rate", _fine),
            Column("at_most", "At most", _fine),
            *(Column(word, word, integer) for word in _OTHERS),
        ),
        lines=lines,
        legend=(
            "A false alarm is REGRESSED; IMPROVED is wrong too, but fails no change. At most: "
            "exact one-sided 95% bound (Clopper and Pearson). INVALID is not among those judged.",
        ),
    )


def found_table(comparisons: Sequence[Comparison]) -> Table:
    """The verdicts of the gate on each injected slow-down."""
    lines = []
    for factor in factors(comparisons):
        valid = [
            each.latency
            for each in comparisons
            if each.factor == factor and each.latency.word != "INVALID"
        ]
        rate = alarm_rate(comparisons, OURS, factor)
        lines.append(
            {
                "slower": factor - 1,
                "measured": statistics.median(v.ratio or 1 for v in valid) - 1 if valid else None,
                "of": rate.of,
                "hits": rate.hits,
                "rate": rate.fraction,
                "at_least": rate.at_least,
                "pairs": statistics.median(v.pairs for v in valid) if valid else None,
            }
            | {word: _words(comparisons, factor)[word] for word in _OTHERS}
        )
    return Table(
        title="Injected delays: slow-downs found by the gate",
        columns=(
            Column("slower", "Injected", "{:.0%}".format),
            Column("measured", "Measured, median", _coarse),
            Column("of", "Comparisons", integer),
            Column("hits", "Found", integer),
            Column("rate", "Rate", _coarse),
            Column("at_least", "At least", _coarse),
            *(Column(word, word, integer) for word in _OTHERS),
            Column("pairs", "Pairs, median", "{:g}".format),
        ),
        lines=lines,
        legend=(
            "Found: REGRESSED; INVALID is not found. At least: exact one-sided 95% bound. "
            "Measured: head over base less one, of the verdicts. Pairs: those that a verdict rests "
            "on.",
        ),
    )


def rules_table(comparisons: Sequence[Comparison]) -> Table:
    """False alarms and slow-downs found, by the gate and by the usual rules."""
    lines = []
    for rule in RULES:
        same, trials = alarm_rate(comparisons, rule, SAME), trial_alarm_rate(comparisons, rule)
        lines.append(
            {
                "rule": rule,
                "source": "pairs of processes" if rule == OURS else USUAL_RULES[rule][0],
                "false": of(same),
                "rate": same.fraction,
                "at_most": same.at_most if same.of else None,
                "trials": of(trials),
            }
            | {
                f"{factor:g}": alarm_rate(comparisons, rule, factor).fraction
                for factor in factors(comparisons)
            }
        )
    return Table(
        title="Every rule on the same raw data",
        columns=(
            Column("rule", "Rule"),
            Column("source", "From"),
            Column("false", "False alarms"),
            Column("rate", "Rate", _coarse),
            Column("at_most", "At most", _fine),
            Column("trials", "Trials with any"),
            *(
                Column(f"{factor:g}", f"{factor - 1:.0%} found", _coarse)
                for factor in factors(comparisons)
            ),
        ),
        lines=lines,
        legend=(
            "The usual rules judge the samples of one process of base and one of head that were "
            "not interleaved, from the first two pairs of the screen, as these tools measure. The "
            "gate judges all pairs, so it takes longer.",
        ),
    )


def noise_table(noises: Sequence[Noise], comparisons: Sequence[Comparison]) -> Table:
    """How every row varied in A/A trials, and the verdicts on it."""
    lines = []
    for each in noises:
        own = [comparison for comparison in comparisons if comparison.cell == each.cell]
        lines.append(
            {
                "row": _with_clip(each.cell),
                "ms": each.seconds * 1e3,
                "samples": each.samples,
                "pairs": each.pair_ratios,
                "medians": each.medians,
                "independent": each.medians_if_independent,
                "neighbours": each.neighbours,
                "false": of(alarm_rate(own, OURS, SAME)),
                "found": of(alarm_rate(own, OURS, GOAL_FACTOR)),
            }
        )
    return Table(
        title="Noise by row, in A/A trials",
        columns=(
            Column("row", "Row"),
            Column("ms", "ms", "{:.3g}".format),
            Column("samples", "Samples of a process", "{:g}".format),
            Column("pairs", "SD of pair ratios", _fine),
            Column("medians", "SD of process medians", _fine),
            Column("independent", "the same, if samples were independent", _fine),
            Column("neighbours", "Correlation of neighbours", "{:+.2f}".format),
            Column("false", "False alarms"),
            Column("found", f"{GOAL_FACTOR - 1:.0%} found"),
        ),
        lines=lines,
        legend=(
            "SD: standard deviation of logarithms. Correlation of neighbours: rank correlation of "
            "consecutive samples, the median over processes of 20 samples or more. If process "
            "medians vary well more than independent samples would, or neighbours correlate, a "
            "test that takes samples for independent understates its error.",
        ),
    )


def _with_clip(cell: Cell) -> str:
    """The networks of a study have small clips, at which they take a fraction of their time."""
    clip = [f"{cell.frames} frames"] if cell.frames else []
    clip += [f"{cell.size}x{cell.size}"] if cell.size else []
    return ", ".join([cell.target, *clip])


def _conditions(machine: Machine, trials: Sequence[Trial]) -> str:
    cells = trials[0].cells
    started = sorted(trial.started for trial in trials)
    loads = [trial.load for trial in trials]
    commits = ", ".join(dict.fromkeys(trial.commit[:12] for trial in trials))
    device = machine.device if machine.device == machine.cpu else f"{machine.device}, {machine.cpu}"
    return (
        f"Machine: {device}, cores: {machine.cores}, {machine.memory_bytes / 2**30:.0f} GiB, torch "
        f"{machine.torch}, Python {machine.python}, {machine.platform}; threads of a pass: "
        f"{cells[0].threads}. Load average before a trial: {min(loads):.1f} to {max(loads):.1f}, "
        f"median {statistics.median(loads):.1f}. Code: vidcost {trials[0].vidcost} at {commits}. "
        f"{len(trials)} trials of {len(cells)} rows from {started[0]} to {started[-1]}, "
        f"{sum(trial.samples_s for trial in trials) / 60:,.0f} minutes of samples.\n"
    )


def _command(trials: Sequence[Trial]) -> str:
    cell = trials[0].cells[0]
    device = "" if cell.device == "cpu" else f" --device {cell.device}"
    return f"{COMMAND}{device}{f' --threads {cell.threads}' if cell.threads != 1 else ''}"


def _noise_line(noises: Sequence[Noise]) -> str:
    ratios = [each.pair_ratios for each in noises if each.pair_ratios is not None]
    if not ratios:
        return "Noise: unknown, there are no A/A trials.\n"
    text = (
        "Noise: two interleaved processes of equal code differ by a standard deviation of "
        f"{statistics.median(ratios):.1%} (median over rows; {min(ratios):.1%} to "
        f"{max(ratios):.1%})"
    )
    times = [
        each.medians / each.medians_if_independent
        for each in noises
        if each.medians and each.medians_if_independent
    ]
    if times:
        text += (
            f". Medians of processes vary {statistics.median(times):.1f} times as much as they "
            "would if the samples of a process were independent (median over rows)"
        )
    return text + ".\n"


def _how_to_read(rule: Rule, trials: Sequence[Trial]) -> str:
    return (
        "Base and head are equal code in every trial. In an A/A trial nothing differs, and any "
        "alarm is false. In the others every pass of head's processes is delayed by a fraction of "
        "the time of that pass, so the right answer is known.\n\n"
        f"Every row is screened on {rule.screen_pairs} pairs of processes. Base and head are "
        f"interleaved in random order, pass by pass, for {trials[0].visit_s:g} s, or "
        f"{trials[0].visit_turns} turns if that takes longer; the value of a pair is the median "
        "over its turns of head over base. A row at which a one-sided sign-flip test reaches "
        f"{rule.screen_level:g} in either direction, and which is not shown to be equal, is "
        f"measured again on {rule.confirm_pairs} to {rule.most_pairs} fresh pairs, until they show "
        "no change beyond the margin. It is REGRESSED if the Holm-adjusted one-sided p is at most "
        f"{rule.confirm_level:g}; H0: head is slower by at most the margin, which is "
        f"{rule.margin:.0%} or {rule.standard_error_factor:g} standard errors, whichever is more. "
        "A slow-down within the margin is therefore not to be found. All rows of a trial are "
        "slower at once, so more rows share the level than if one of them regressed. The usual "
        "rules see the first process of base and one of head that was not interleaved with it.\n\n"
        "A bound is what the data still allow: with no alarm in 300 comparisons the rate may be "
        "1%. It takes comparisons for independent, which those of one trial are only nearly; the "
        "count by trials does not. The figures hold for this machine and these rows.\n\n"
        f"Repeat with `{_command(trials)}`, which continues the study. study.jsonl holds every "
        "pair, from which the verdicts are computed again, and the alarms of the usual rules.\n"
    )


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"gate_study: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; finished trials are kept: give the same command to continue")
