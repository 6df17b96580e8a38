"""What a gate measured and what it says of it: the rule, processes in pairs, verdicts, the file."""

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, assert_never

import pydantic

from vidcost.bench import files
from vidcost.bench.errors import first_of
from vidcost.bench.exit_status import DONE, FOUND_WRONG, NOT_JUDGED
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Frozen, Machine, Status, Timing

Side = Literal["base", "head"]
Stage = Literal["memory", "screen", "confirm"]
Metric = Literal["latency", "memory"]
Word = Literal["REGRESSED", "IMPROVED", "EQUIVALENT", "INCONCLUSIVE", "INVALID"]
Level = Literal["error", "warning", "notice"]
Fraction = Annotated[float, pydantic.Field(gt=0, lt=1)]
Seconds = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]

SIDES: tuple[Side, Side] = ("base", "head")

FEWEST_PAIRS = 6
"""Fewer have no 95% interval: five differences have one sign by chance in 1 of 16 cases."""


def _fraction(value: object) -> object:
    """8% is 0.08."""
    is_percent = isinstance(value, str) and value.endswith("%")
    return float(str(value)[:-1]) / 100 if is_percent else value


Percent = Annotated[Fraction, pydantic.BeforeValidator(_fraction)]


class Bounds(Frozen):
    """Head may be slower by ``margin``, and ``find`` must be found: "8%" or 0.08; None: as before.

    They are of the tests, or other targets, whose name is, or matches, the pattern ``test``.
    """

    test: str
    margin: Percent | None = None
    find: Percent | None = None


class Rule(Frozen):
    """How pairs of processes are judged, as docs/gate.md explains; fixed before the run.

    Head may be slower by ``margin``; targets may have bounds of their ``own``, of which the last
    that match hold. ``screen_level`` is of one-sided tests that only select cells. Those are
    confirmed on ``confirm_pairs`` to ``most_pairs`` fresh pairs, as many as find ``find`` with
    probability ``power``. ``confirm_level`` bounds the chance of any false alarm in a run. Memory
    may grow by ``memory_margin`` or ``memory_bytes``, whichever is more.
    """

    margin: Fraction = 0.03
    find: Fraction = 0.05
    own: tuple[Bounds, ...] = ()
    power: Fraction = 0.95
    screen_pairs: Annotated[int, pydantic.Field(ge=FEWEST_PAIRS)] = 8
    screen_level: Fraction = 0.10
    confirm_pairs: Annotated[int, pydantic.Field(ge=FEWEST_PAIRS)] = 14
    most_pairs: pydantic.PositiveInt = 40
    confirm_level: Fraction = 0.01
    inconclusive: Literal["fail", "warn"] = "fail"
    memory_margin: Fraction = 0.01
    memory_bytes: pydantic.NonNegativeInt = 1 << 20

    def with_marks(self, marks: Mapping[str, Mapping[str, object]]) -> Self:
        """The rule with the bounds of tests whose markers have these arguments.

        Raises: ValueError with the test if its bounds make no sense.
        """
        own = [*self.own]
        for test, given in marks.items():
            try:
                own += [Bounds.model_validate({**given, "test": test})] * bool(given)
            except pydantic.ValidationError as error:
                raise ValueError(f"{test}: @pytest.mark.vidcost: {first_of(error)}") from None
        rule = self.model_copy(update={"own": tuple(own)})
        for test in marks:
            rule.of(test)
        return rule

    def of(self, target: str) -> Self:
        """The rule with the bounds of ``target``, as :meth:`bounded`."""
        own: dict[str, float] = {}
        for each in self.own:
            if target == each.test or fnmatch.fnmatch(target, each.test):
                own |= each.model_dump(exclude={"test"}, exclude_none=True)
        return self.bounded(own.get("margin"), own.get("find"), target)

    def bounded(self, margin: float | None, find: float | None, whose: str) -> Self:
        """The rule with these bounds; without ``find`` it is as far above the margin as here.

        Raises: ValueError that begins with ``whose`` if ``find`` does not lie above the margin.
        """
        margin = margin or self.margin
        find = find or round(margin + self.find - self.margin, 6)
        if not margin < find < 1:
            raise ValueError(f"{whose}: find {find:g} must lie between margin {margin:g} and 1")
        return self.model_copy(update={"margin": margin, "find": find})


class Visit(Frozen):
    """One cell in one process of a pair, whose sides are interleaved turn by turn.

    ``second``: this process warmed up after the other. ``samples_ns`` are raw nanoseconds of single
    passes, ``turn_samples`` of them a turn; both sides have the same turns in the same order.
    ``void_samples`` were left out on both sides because the device was throttled. ``peak_bytes`` is
    above the weights, at the ``memory`` stage only.
    """

    stage: Stage
    pair: pydantic.NonNegativeInt
    side: Side
    second: bool
    cell: pydantic.NonNegativeInt
    status: Status = "ok"
    error: str = ""
    samples_ns: tuple[pydantic.PositiveInt, ...] = ()
    turn_samples: pydantic.PositiveInt = 1
    void_samples: pydantic.NonNegativeInt = 0
    peak_bytes: pydantic.NonNegativeInt | None = None


class TestTiming(Timing):
    """The timing of a test, and the modules of the repository that it ran with."""

    # pytest takes it for no test
    __test__ = False

    modules: Mapping[str, tuple[str, str]] = {}


class Version(Frozen):
    """One side: the ``ref`` as given, its ``commit``, and a digest of the models' ``code``.

    ``commit`` ends with ``+changes`` if there are uncommitted ones. ``modules`` are those of the
    repository that its tests imported, by name: the path in the tree, and the SHA-256 of the file.
    """

    ref: str
    commit: str
    code: str
    modules: Mapping[str, tuple[str, str]] = {}


class Run(Frozen):
    """A comparison of ``head`` with ``base``, from which every verdict can be computed again.

    ``cells`` are those that both versions can run. ``seed`` chose the orders. A pair is interleaved
    on a cell for ``visit_s`` seconds and at least ``visit_turns`` turns. ``complete`` is False
    until all pairs are measured. ``notes`` are sentences for people.
    """

    file: Literal["vidcost gate"] = "vidcost gate"
    vidcost: str
    started: str
    machine: Machine
    base: Version
    head: Version
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()
    rule: Rule = Rule()
    seed: int = 0
    visit_s: pydantic.PositiveFloat = 1.0
    visit_turns: pydantic.PositiveInt = 10
    complete: bool = False
    visits: tuple[Visit, ...] = ()


class Samples(Frozen):
    """Medians and peaks of the processes of one benchmark; a side that lacks it is empty.

    ``invalid`` says why its times say nothing.
    """

    target: str
    base: tuple[Seconds, ...] = ()
    head: tuple[Seconds, ...] = ()
    base_bytes: tuple[pydantic.NonNegativeInt, ...] = ()
    head_bytes: tuple[pydantic.NonNegativeInt, ...] = ()
    invalid: str = ""


class SampleComparison(Frozen):
    """Stored benchmarks of two versions, from which every verdict can be computed again.

    ``base`` and ``head`` are the paths as given, ``conditions`` those of a process of base, of
    which the fields in ``allow`` may differ. ``notes`` are sentences for people.
    """

    file: Literal["vidcost gate samples"] = "vidcost gate samples"
    vidcost: str
    base: str
    head: str
    rule: Rule
    allow: tuple[str, ...] = ()
    conditions: Mapping[str, str] = {}
    samples: tuple[Samples, ...]
    notes: tuple[str, ...] = ()


class Verdict(Frozen):
    """The verdict on one target, and why, in a sentence for people.

    ``ratio`` is head over base with its 95% interval, None if too little was measured. A slow-down
    above ``find`` is excluded. ``pairs``: those that the verdict rests on. ``p``: Holm-adjusted,
    one-sided; H0: head is slower (faster, if IMPROVED) by at most the ``margin``. ``base`` and
    ``head`` are seconds or bytes.
    """

    target: str
    metric: Metric
    word: Word
    why: str = ""
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    find: float | None = None
    pairs: int = 0
    p: float | None = None
    base: float | None = None
    head: float | None = None


class Result(Frozen):
    """The file that a gate writes: ``verdicts`` on what was ``measured``, and the exit status."""

    status: int
    verdicts: tuple[Verdict, ...]
    measured: Annotated[Run | SampleComparison, pydantic.Field(discriminator="file")]


def hides(verdict: Verdict, rule: Rule) -> bool:
    """Whether an INCONCLUSIVE verdict does not exclude the slow-down that was to be found."""
    wanted = rule.of(verdict.target).find
    return verdict.word == "INCONCLUSIVE" and (verdict.find is None or verdict.find > wanted)


def level(verdict: Verdict, rule: Rule) -> Level | None:
    """What a verdict asks of people: an error fails the gate, None needs no action."""
    match verdict.word:
        case "REGRESSED" | "INVALID":
            return "error"
        case "INCONCLUSIVE" if hides(verdict, rule):
            return "error" if rule.inconclusive == "fail" else "warning"
        case "IMPROVED":
            return "notice"
        case "INCONCLUSIVE" | "EQUIVALENT":
            return None
        case _:
            assert_never(verdict.word)


def exit_status(verdicts: Sequence[Verdict], rule: Rule, *, complete: bool = True) -> int:
    """1 if anything regressed, else 3 if anything could not be judged, else 0."""
    if any(verdict.word == "REGRESSED" for verdict in verdicts):
        return FOUND_WRONG
    failed = any(level(verdict, rule) == "error" for verdict in verdicts)
    return NOT_JUDGED if failed or not verdicts or not complete else DONE


def write(path: Path, result: Result) -> None:
    """Write the whole file or nothing.  Raises: ValueError if it cannot be written."""
    files.write(path, result.model_dump_json() + "\n")


def read(path: Path) -> Result:
    """Read the file of :func:`write`.  Raises: ValueError if it is no such file."""
    try:
        return Result.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ValueError(
            f"{path} is not a gate's result, or damaged: `vidcost gate time` writes one"
        ) from None
