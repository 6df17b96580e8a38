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

REPEATS = 5
MOST = 1.1
"""Highest ratio: the smallest networks differ by the cost of a copy, and by noise."""
CLIPS = {"swin3d": (1, 3, 32, 224, 224), "mvit": (1, 3, 16, 224, 224), "s3d": (1, 3, 16, 224, 224)}
"""The clips of torchvision's networks by their names' beginnings; others take 16x112x112."""
TRANSFORMERS = {
    "VideoMAEModel": (1, 16, 3, 224, 224),
    "TimesformerModel": (1, 8, 3, 224, 224),
    "VivitModel": (1, 32, 3, 224, 224),
    "VJEPA2ForVideoClassification": (1, 64, 3, 256, 256),
}
COLUMNS = (
    Column("network", "Network"),
    Column("ours_s", "vidcost, ms", lambda s: f"{1000 * s:.1f}"),
    Column("theirs_s", "FlopCounterMode, ms", lambda s: f"{1000 * s:.1f}"),
    Column("ratio", "Ratio", "{:.2f}".format),
)


def test_it_counts_no_slower_than_torch(capsys: pytest.CaptureFixture[str]) -> None:
    """For every network: the shortest of several counts each, interleaved, on one thread."""
    lines = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, model, inputs in _networks():
            pairs = [
                (_cpu_s(partial(count, model, inputs)), _cpu_s(partial(_torchs, model, inputs)))
                # the first of each imports and warms up
                for _ in range(REPEATS + 1)
            ][1:]
            ours_s, theirs_s = map(min, zip(*pairs, strict=True))
            line = {"network": name, "ours_s": ours_s, "theirs_s": theirs_s}
            lines.append(line | {"ratio": ours_s / theirs_s})
    finally:
        torch.set_num_threads(threads)
    machine = describe("cpu")
    said = (
        f"CPU time of one thread of {machine.cpu}, torch {machine.torch}, on the meta device: the "
        f"shortest of {REPEATS} counts each, interleaved. Imports are not part of it."
    )
    table = Table("Time of a count", COLUMNS, lines, legend=(said,))
    with capsys.disabled():
        print(f"\n{table.markdown()}")
    if path := os.environ.get("VIDCOST_RATIOS"):
        made_by = "pytest bench/suites -k counts_no_slower"
        files.write(Path(path), f"<!-- written by: {made_by} -->\n\n{table.markdown()}")
    assert [] == [(line["network"], line["ratio"]) for line in lines if line["ratio"] > MOST]


def _networks() -> Iterator[tuple[str, nn.Module, tuple[Tensor, ...]]]:
    for row in rows_of():
        if row.build and not row.has_blocks:
            yield row.name, *on_meta(row)
    for package, kinds in (("torchvision", None), ("transformers", TRANSFORMERS)):
        try:
            found: Any = import_module(package)
        # torchvision raises the second where it was built for another torch
        except (ImportError, RuntimeError):
            continue
        for name in kinds or found.models.list_models(module=found.models.video):
            with torch.device("meta"):
                if kinds:
                    model, clip = _from_transformers(found, name), kinds[name]
                else:
                    model, clip = found.models.get_model(name), _clip(name)
            yield f"{package} {name}", model.eval(), (torch.empty(clip, device="meta"),)


def _clip(name: str) -> tuple[int, ...]:
    known = (clip for start, clip in CLIPS.items() if name.startswith(start))
    return next(known, (1, 3, 16, 112, 112))


def _from_transformers(package: Any, name: str) -> Any:
    kind = getattr(package, name)
    return kind(kind.config_class())


def _torchs(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    with torch.no_grad(), FlopCounterMode(display=False):
        model(*inputs)


def _cpu_s(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start
