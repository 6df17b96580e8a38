"""The witnesses: fvcore and thop, run for real on a row, each in a process of its own.

They trace or hook the network and leave marks in it, so they never run in our process. This
module is both sides: :func:`ask` starts the process, :func:`main` is what runs in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

import vidcost.models
from vidcost.bench.count import cache as answers
from vidcost.models.rows import Row, select

WitnessName = Literal["fvcore", "thop"]
WITNESSES: tuple[WitnessName, ...] = get_args(WitnessName)

TIME_LIMIT_S = 900


class Answer(BaseModel):
    """What a witness said of a row: its integers, or why there are none.

    ``flops`` is in the witness's own convention, ``params`` what it saw of the parameters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    flops: int | None = None
    params: int | None = None
    error: str = ""


def ask(
    witness: WitnessName, row: Row, *, use_cache: bool = True, threads: int | None = None
) -> Answer:
    """The answer of ``witness`` for ``row`` at batch 1, from the cache or a new process.

    The process computes on ``threads`` threads; None leaves that to torch. A witness that is
    missing, crashes or hangs gives an answer with ``error``; it is not cached.
    """
    key = _key(witness, row)
    if use_cache and (kept := answers.load(key)) is not None:
        # a damaged answer is asked for again
        with contextlib.suppress(ValidationError):
            return Answer.model_validate_json(kept)
    question = {
        "witness": witness,
        "row": row.name,
        "classes": row.classes,
        "frames": row.frames,
        "size": row.size,
    }
    # -P keeps files of the current folder from standing in for the witness's modules
    command = [sys.executable, "-P", "-m", "vidcost.bench.count.witness"]
    try:
        process = subprocess.run(
            command,
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            env=os.environ | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)}),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(version=version(witness), error=f"no answer within {TIME_LIMIT_S} s")
    if process.returncode != 0:
        last = process.stderr.strip().splitlines()[-1:] or ["no message"]
        return Answer(
            version=version(witness), error=f"exit status {process.returncode}: {last[0]}"
        )
    try:
        answer = Answer.model_validate_json(process.stdout)
    except ValidationError:
        return Answer(version=version(witness), error="an answer that cannot be read")
    if use_cache:
        answers.store(key, answer.model_dump_json())
    return answer


def version(distribution: str) -> str:
    """The installed version of a distribution, or "not installed"."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _key(witness: WitnessName, row: Row) -> str:
    """Names an answer by all that it depends on."""
    parts = [
        witness,
        version(witness),
        version("torch"),
        version("numpy"),
        row.name,
        str(row.classes),
        str(row.inputs),
        _sources(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@cache
def _sources() -> str:
    """A digest of the code that builds the rows and of this file."""
    digest = hashlib.sha256()
    for folder in vidcost.models.__path__:
        for path in sorted(Path(folder).rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def _fvcore(row: Row) -> tuple[int, int]:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    model = row.model().eval()
    analysis = FlopCountAnalysis(model, row.clips())
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return int(analysis.total()), int(parameter_count(model)[""])


def _thop(row: Row) -> tuple[int, int]:
    import thop

    # ultralytics-thop answers to the same import name and counts otherwise
    owners = importlib.metadata.packages_distributions()["thop"]
    if owners != ["thop"]:
        raise ImportError(f"module thop belongs to {', '.join(owners)}, not to the thop package")
    flops, params = thop.profile(row.model().eval(), row.clips(), verbose=False)
    if int(flops) != flops or int(params) != params:
        raise ValueError(f"thop answered {flops} and {params}, not integers")
    return int(flops), int(params)


_RUN: dict[WitnessName, Callable[[Row], tuple[int, int]]] = {"fvcore": _fvcore, "thop": _thop}


def main() -> None:
    """Answer one question from standard input on standard output."""
    question = json.load(sys.stdin)
    witness: WitnessName = question["witness"]
    import torch

    torch.manual_seed(0)
    # whatever the witness prints must not mix with the answer
    with contextlib.redirect_stdout(sys.stderr), torch.no_grad():
        (row,) = select([question["row"]])
        row = row.at(**{name: question[name] for name in ("classes", "frames", "size")})
        flops, params = _RUN[witness](row)
    print(Answer(version=version(witness), flops=flops, params=params).model_dump_json())


if __name__ == "__main__":
    main()
