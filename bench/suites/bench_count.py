"""Time of a count beside torch's FlopCounterMode: rows without blocks, and other video networks.

Those of torchvision and transformers take part where they are installed. Run:
pytest --pyargs vidcost.bench.suites -k counts_no_slower; VIDCOST_RATIOS=FILE writes the table.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vidcost.bench import files
from vidcost.bench.api.count import count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.report.table import Column, Table
from vidcost.bench.timing.machine import describe
from vidcost.papers.catalog import rows_of

REPEATS, AT_LEAST_MS = 5, 1000
MOST = 1.25
"""Highest ratio: of a few milliseconds, as of c3d, copying the network is a quarter."""
TRANSFORMERS = {
    "VideoMAEModel": (1, 16, 3, 224, 224),
    "TimesformerModel": (1, 8, 3, 224, 224),
    "VivitModel": (1, 32, 3, 224, 224),
    "VJEPA2ForVideoClassification": (1, 64, 3, 256, 256),
}


def test_it_counts_no_slower_than_torch(capsys: pytest.CaptureFixture[str]) -> None:
    """For every network: the shortest of several counts each, interleaved, on one thread."""
    lines, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    for name, model, inputs in _networks():
        ours, theirs = partial(count, model, inputs), partial(_torchs, model, inputs)
        # the first of each imports and warms up
        pairs: list[tuple[float, float]] = []
        while len(pairs) <= REPEATS or sum(map(sum, pairs)) < AT_LEAST_MS:
            pairs.append((_cpu_ms(ours), _cpu_ms(theirs)))
        ours_ms, theirs_ms = map(min, zip(*pairs[1:], strict=True))
        lines.append({"network": name, "ours_ms": ours_ms, "theirs_ms": theirs_ms})
        lines[-1]["ratio"] = ours_ms / theirs_ms
    torch.set_num_threads(threads)
    columns = (
        Column("network", "Network"),
        Column("ours_ms", "vidcost, ms", "{:.1f}".format),
        Column("theirs_ms", "FlopCounterMode, ms", "{:.1f}".format),
        Column("ratio", "Ratio", "{:.2f}".format),
    )
    machine = describe("cpu")
    said = (
        f"CPU time of one thread of {machine.cpu}, torch {machine.torch}, on the meta device: the "
        f"shortest of {REPEATS} or more counts each, interleaved; imports are not part of it."
    )
    table = Table("Time of a count", columns, lines, legend=(said,)).markdown()
    with capsys.disabled():
        print(f"\n{table}")
    if path := os.environ.get("VIDCOST_RATIOS"):
        files.write(Path(path), table)
    assert [] == [(line["network"], line["ratio"]) for line in lines if line["ratio"] > MOST]


def _networks() -> Iterator[tuple[str, nn.Module, tuple[Tensor, ...]]]:
    for row in rows_of():
        if row.build and not row.has_blocks:
            yield row.name, *on_meta(row)
    for package in ("torchvision", "transformers"):
        try:
            found: Any = import_module(package)
        # torchvision raises the second where it was built for another torch
        except (ImportError, RuntimeError):
            continue
        own = package == "torchvision"
        for name in found.models.list_models(found.models.video) if own else TRANSFORMERS:
            kind = None if own else getattr(found, name)
            with torch.device("meta"):
                model = kind(kind.config_class()) if kind else found.models.get_model(name)
                clip = torch.empty(TRANSFORMERS.get(name, (1, 3, 16, 224, 224)))
            yield f"{package} {name}", model.eval(), (clip,)


def _torchs(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    with torch.no_grad(), FlopCounterMode(display=False):
        model(*inputs)


def _cpu_ms(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return 1000 * (time.process_time() - start)
