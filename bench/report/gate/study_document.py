"""The study of the gate as a document: what is claimed of it first, and whether it holds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from vidcost.bench import files
from vidcost.bench.gate.record import Rule
from vidcost.bench.gate.study_figures import (
    OURS,
    SAME,
    Comparison,
    Noise,
    alarm_rate,
    compare,
    measured_s,
    noise,
    trial_alarm_rate,
    words,
)
from vidcost.bench.gate.trial import Trial
from vidcost.bench.gate.usual_rules import USUAL_RULES
from vidcost.bench.report.gate.study import (
    GOAL_FACTOR,
    coarse,
    fine,
    noise_table,
    of,
    power_table,
    rules_table,
    same_table,
    whole,
)
from vidcost.bench.report.gate.study_plot import power_table as alarm_table
from vidcost.bench.report.gate.study_plot import write_power
from vidcost.bench.report.table import Table
from vidcost.bench.timing.record import Machine

COMMAND = "vidcost gate study"
FALSE_ALARM_GOAL = 0.01
FOUND_GOAL = 0.95
PLOT = "power.svg"

T = TypeVar("T")


def write_study(trials: Sequence[Trial], folder: Path) -> tuple[list[Path], Table]:
    """Write README.md, power.svg, power.png and power.csv to ``folder``.

    Returns: their paths, and what power.csv holds.
    Raises: ValueError as :func:`study_markdown` does, or with the path if one cannot be written.
    """
    # before judging, which takes minutes of a large study
    _machine(trials)
    comparisons = compare(trials)
    document = folder / "README.md"
    text = study_markdown(trials, comparisons)
    files.write(document, f"<!-- written by: {_command(trials)} -->\n\n{text}")
    return [document, *write_power(comparisons, folder)], alarm_table(comparisons)


def study_markdown(trials: Sequence[Trial], comparisons: Sequence[Comparison] | None = None) -> str:
    """The whole document; ``comparisons`` are :func:`compare`'s of the same trials.

    Raises: ValueError if there are no trials, or they are not all of one machine, rule and plan.
    """
    machine, rule = _machine(trials), _one("rule", [trial.run.rule for trial in trials])
    if comparisons is None:
        comparisons = compare(trials)
    noises = noise(trials)
    return "\n".join(
        [
            "# The gate on trial\n",
            _on_what(machine, trials),
            _how_noisy(noises),
            "## Do the goals hold?\n",
            *(f"- {sentence}" for sentence in goals(comparisons)),
            "",
            f"![How often each rule raises an alarm, against the injected slow-down]({PLOT})\n",
            "## The same code on both sides\n",
            same_table(comparisons).markdown(),
            "## Slow-downs of a known size\n",
            power_table(comparisons).markdown(),
            "## The usual rules on the same raw data\n",
            rules_table(comparisons).markdown(),
            "## The machine's noise\n",
            noise_table(noises, comparisons).markdown(),
            "## How to read this\n",
            _how_to_read(rule, trials),
        ]
    )


def goals(comparisons: Sequence[Comparison]) -> list[str]:
    """Whether false alarms are rare and slow-downs found, here and by the usual rules."""
    return [_false_alarm_goal(comparisons), _found_goal(comparisons), _usual_rules(comparisons)]


def _false_alarm_goal(comparisons: Sequence[Comparison]) -> str:
    rate = alarm_rate(comparisons, OURS, SAME)
    goal = f"false alarms below {whole(FALSE_ALARM_GOAL)}"
    if not rate.of or rate.share is None:
        return f"**Not shown: {goal}.** No A/A comparison was judged."
    if rate.at_most < FALSE_ALARM_GOAL:
        word = "Met"
    else:
        word = "Missed" if rate.share >= FALSE_ALARM_GOAL else "Not shown"
    trials = trial_alarm_rate(comparisons, OURS)
    improved = words(comparisons, SAME)["IMPROVED"]
    return (
        f"**{word}: {goal}.** {of(rate)} comparisons of the same code raised one "
        f"({fine(rate.share)}); at 95% confidence the rate is at most {fine(rate.at_most)}. "
        f"Called improved, wrongly too: {improved}. Comparisons of one trial share processes and "
        f"an hour: {of(trials)} trials had any false alarm, a rate of at most "
        f"{coarse(trials.at_most)}."
    )


def _found_goal(comparisons: Sequence[Comparison]) -> str:
    rate = alarm_rate(comparisons, OURS, GOAL_FACTOR)
    goal = f"at least {whole(FOUND_GOAL)} of slow-downs of {whole(GOAL_FACTOR - 1)} found"
    if rate.share is None:
        return f"**Not shown: {goal}.** None was injected."
    bound = f"at 95% confidence the rate is at least {coarse(rate.at_least)}"
    word = "Met" if rate.share >= FOUND_GOAL else "Missed"
    proof = (
        " – the rate that was seen meets the goal, its bound does not prove it"
        if word == "Met" and rate.at_least < FOUND_GOAL
        else ""
    )
    return f"**{word}: {goal}.** {of(rate)} were ({coarse(rate.share)}); {bound}{proof}."


def _usual_rules(comparisons: Sequence[Comparison]) -> str:
    """Which of the usual rules reach both goals by the rates that were seen."""
    both = []
    for rule in USUAL_RULES:
        false, found = (alarm_rate(comparisons, rule.name, f) for f in (SAME, GOAL_FACTOR))
        if false.share is None or found.share is None:
            return "Of the usual rules nothing is known: A/A trials or delays are missing."
        if false.share < FALSE_ALARM_GOAL and found.share >= FOUND_GOAL:
            both.append(rule.name)
    some = f"reached both goals: {', '.join(both)}" if both else "none reached both goals"
    return (
        f"Of the usual rules, on the same raw data and by the rates that were seen alone, {some}."
    )


def _on_what(machine: Machine, trials: Sequence[Trial]) -> str:
    cells = [cell for trial in trials for cell in trial.run.cells]
    threads = ", ".join(map(str, sorted({cell.threads for cell in cells})))
    started = sorted(trial.run.started for trial in trials)
    on = machine.device if machine.device == machine.cpu else f"{machine.device}, {machine.cpu}"
    loads = [trial.load for trial in trials if trial.load is not None]
    load = (
        f"The load average before a trial was {min(loads):.1f} to {max(loads):.1f}, "
        f"its median {statistics.median(loads):.1f}"
        if loads
        else "What else it had to do is not recorded"
    )
    return (
        f"Machine: {on}, {_count(machine.cores, 'core')}, "
        f"{machine.memory_bytes / 2**30:.0f} GiB, torch {machine.torch}, "
        f"Python {machine.python}, {machine.platform}; passes on {threads} "
        f"thread{'s' if threads != '1' else ''}. {load}. Code: {_code(trials)}. "
        f"{_count(len(trials), 'trial')} of {_count(len(set(cells)), 'row')} from {started[0]} to "
        f"{started[-1]}, {measured_s(trials) / 60:,.0f} minutes of samples.\n"
    )


def _command(trials: Sequence[Trial]) -> str:
    """What measures the same again."""
    cell = trials[0].run.cells[0]
    device = "" if cell.device == "cpu" else f" --device {cell.device}"
    return f"{COMMAND}{device}{f' --threads {cell.threads}' if cell.threads != 1 else ''}"


def _code(trials: Iterable[Trial]) -> str:
    commits = dict.fromkeys(trial.run.head.commit[:12] for trial in trials)
    versions = dict.fromkeys(trial.run.vidcost for trial in trials)
    return f"vidcost {', '.join(versions)} at {', '.join(commits)}"


def _how_noisy(noises: Sequence[Noise]) -> str:
    ratios = [each.pair_ratios for each in noises if each.pair_ratios is not None]
    if not ratios:
        return "Noise: not known, there are no A/A trials.\n"
    text = (
        "Noise: two processes of the same code that take turns differ by a standard deviation of "
        f"{coarse(statistics.median(ratios))} (median over rows; "
        f"{coarse(min(ratios))} to {coarse(max(ratios))})"
    )
    known = [each for each in noises if each.medians and each.medians_if_independent]
    if known:
        times = statistics.median((n.medians or 0) / (n.medians_if_independent or 1) for n in known)
        text += (
            f". Medians of processes vary {times:.1f} times as much as they would if the samples "
            "of a process were independent (median over rows)"
        )
    return text + ".\n"


def _how_to_read(rule: Rule, trials: Sequence[Trial]) -> str:
    visit_s, turns = _one("plan", [(trial.run.visit_s, trial.run.visit_turns) for trial in trials])
    return (
        "Base and head are the same code in every trial. In an A/A trial nothing differs, and any "
        "alarm is false. In the others every pass of head's processes waits for a share of what "
        "that very pass took, so that the right answer is known.\n\n"
        f"Every row is screened on {rule.screen_pairs} pairs of processes. Base and head take "
        f"turns in random order, pass by pass, for {visit_s:g} s, or {turns} turns if that takes "
        "longer; a pair counts by the median of head over base, turn by turn. A row at which a "
        f"one-sided sign-flip test reaches {rule.screen_level:g} in either direction, and which is "
        f"not shown to be equal, is measured again on {rule.confirm_pairs} to {rule.most_pairs} "
        "fresh pairs, until they show no change beyond the margin. It is REGRESSED if the test on "
        "those refuses, over all such rows together (Holm) at "
        f"{rule.confirm_level:g}, that it is slower by no more than {whole(rule.margin)} or "
        f"{rule.noise_factor:g} times its own noise, whichever is more. A slow-down within the "
        "margin is therefore not meant to be found. All rows of a trial are slower at once, so "
        "that the level is shared by more rows than where one of them regressed. The usual rules "
        "see the first process of base and one of head that did not take turns with it.\n\n"
        "A bound is what the data still allow: with no alarm in 300 comparisons the rate may be "
        "1%. It takes comparisons for independent, which those of one trial are only nearly; the "
        "count by trials needs no such belief. The figures hold for this machine and these "
        "rows.\n\n"
        f"Repeat with `{_command(trials)}`; it goes on where it stopped. Everything here is "
        "computed from the raw samples of the trials when this file is written.\n"
    )


def _machine(trials: Sequence[Trial]) -> Machine:
    if not trials:
        raise ValueError(f"there are no trials yet: run `{COMMAND}`")
    machines = [
        version.machine
        for trial in trials
        for version in (trial.run.base, trial.run.head)
        if version.machine is not None
    ]
    if not machines:
        raise ValueError(f"no trial says what it ran on: run `{COMMAND}` anew")
    for field in Machine.model_fields:
        _one(field, [getattr(machine.kind, field) for machine in machines])
    return machines[0]


def _one(what: str, values: Sequence[T]) -> T:
    """The value that all trials have."""
    for value in values:
        if value != values[0]:
            raise ValueError(
                f"the trials are of different kinds, {what}: {values[0]} and {value}; "
                "keep them in files of their own"
            )
    return values[0]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
