"""What stands under a table of a GPU: what it says, what measured it, and in which state it was."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from vidcost.bench.report.gpu_records import POWER_CAP, Condition, Measured
from vidcost.bench.report.timing import machine_in_words
from vidcost.bench.timing.axes import Dtype
from vidcost.bench.timing.record import Machine

_TYPES: dict[Dtype, str] = {
    "fp32": "fp32: TF32 off",
    "tf32": "tf32: fp32 data, TF32 products",
    "bf16": "bf16: weights and data",
}


def legend(
    machine: Machine,
    shown: Sequence[Measured],
    *,
    latencies: Sequence[Condition],
    peak_batch: int,
    baselines: Sequence[str],
    rows: Sequence[str],
) -> tuple[str, ...]:
    """The lines below a table that has ``latencies``, of all that is ``shown`` in it.

    ``baselines`` are those that any line is held against, ``rows`` those that can be built.
    """
    return (
        _meaning(shown, latencies, peak_batch, baselines),
        f"{machine_in_words(machine, [each.timing for each in shown])}{_days(shown)}",
        *_state(shown),
        f"This command measures it: `{_command(rows, latencies, _threads(shown))}`.",
    )


def _meaning(
    shown: Sequence[Measured],
    latencies: Sequence[Condition],
    peak_batch: int,
    baselines: Sequence[str],
) -> str:
    batches = " or ".join(str(batch) for batch in _batches(latencies))
    threads = _threads(shown)
    sentences = [
        "MACs: ours, exact, of one clip.",
        f"Latency: of one pass of a batch of {batches}, the median of "
        f"{_range([each.n for each in shown if each.n], '{:,}'.format)} samples ± half of its 95% "
        "confidence interval, from one process; another process may differ by more.",
        "× baseline: that median over the one of the same network without blocks "
        f"({', '.join(baselines)})."
        if baselines
        else "",
        f"Peak: most that was allocated at once above the weights, at batch {peak_batch}.",
        f"{'; '.join(_TYPES[dtype] for dtype in _dtypes(latencies))}.",
        "Contiguous, eager, inference, cuDNN benchmark off, "
        f"{threads} {'thread' if threads == 1 else 'threads'} on the CPU.",
        "An en dash: no figure.",
    ]
    return " ".join(filter(None, sentences))


def _days(shown: Sequence[Measured]) -> str:
    """When the records were taken, in UTC."""
    days = {each.timing.started[:10] for each in shown if each.timing.started}
    if not days:
        return ""
    return f" Measured {'on' if len(days) == 1 else 'from'} {_range(sorted(days), str)}."


def _state(shown: Sequence[Measured]) -> list[str]:
    """What the GPU said of itself while it was measured; nothing if it said nothing."""
    clocks = [mhz for each in shown for mhz in each.sm_clocks_mhz or ()]
    powers = [watts for each in shown for watts in each.powers_w or ()]
    capped = [each.power_capped for each in shown if each.power_capped is not None]
    words = []
    if clocks:
        words.append(f"SM clock {_range(clocks, '{:,}'.format)} MHz")
    if powers:
        words.append(f"power {_range(powers, '{:,.0f}'.format)} W")
    if capped:
        seen = f"in {sum(capped)} of {len(capped)} measurements" if any(capped) else "never"
        words.append(f"{POWER_CAP} seen {seen}")
    return [f"The GPU meanwhile: {', '.join(words)}."] if words else []


def _command(rows: Sequence[str], latencies: Sequence[Condition], threads: int) -> str:
    """What takes these records, and those that are missing."""
    words = ["vidcost", "time", *dict.fromkeys(rows), "--device", "cuda"]
    words += ["--batch", ",".join(map(str, _batches(latencies)))]
    words += ["--dtype", ",".join(_dtypes(latencies))]
    if threads != 1:
        words += ["--threads", str(threads)]
    return shlex.join(words)


def _batches(latencies: Sequence[Condition]) -> list[int]:
    return sorted({batch for batch, _ in latencies})


def _dtypes(latencies: Sequence[Condition]) -> list[Dtype]:
    return list(dict.fromkeys(dtype for _, dtype in latencies))


def _threads(shown: Sequence[Measured]) -> int:
    """Of all of them: records of other numbers are not shown beside."""
    return shown[0].timing.cell.threads


def _range(values: Sequence[Any], write: Callable[[Any], str]) -> str:
    """The least and the most, one if they are written alike; an en dash if there are none."""
    if not values:
        return "–"
    return " to ".join(dict.fromkeys([write(min(values)), write(max(values))]))
