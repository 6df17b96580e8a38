"""The file that a gate leaves: verdicts, and all that they were computed from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from vidcost.bench import files
from vidcost.bench.gate.judge import judge
from vidcost.bench.gate.record import Run
from vidcost.bench.gate.sample_comparison import SampleComparison
from vidcost.bench.gate.samples import judge_samples
from vidcost.bench.gate.verdict import Verdict, exit_status


class Result(BaseModel):
    """``verdicts`` on what was ``measured``, with the exit status that they mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: int
    verdicts: tuple[Verdict, ...]
    measured: Annotated[Run | SampleComparison, Field(discriminator="file")]

    @classmethod
    def of(cls, measured: Run | SampleComparison) -> Self:
        """Judge what was measured."""
        if isinstance(measured, Run):
            verdicts, complete = judge(measured), measured.complete
        else:
            verdicts, complete = judge_samples(measured), True
        status = exit_status(verdicts, complete=complete)
        return cls(status=status, verdicts=tuple(verdicts), measured=measured)


def write(path: Path, result: Result) -> None:
    """Write the whole file or nothing.  Raises: ValueError if it cannot be written."""
    files.write(path, result.model_dump_json() + "\n")


def read(path: Path) -> Result:
    """What :func:`write` wrote.  Raises: ValueError if it is not that."""
    try:
        return Result.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ValueError(
            f"{path} is no result of a gate, or damaged: `vidcost gate time` writes one"
        ) from None
