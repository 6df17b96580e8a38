"""Records of every kind, and files of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from vidcost.bench.query import copies
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.store import Store

MACHINE = Machine(
    device="NVIDIA H100 80GB HBM3",
    device_uuid="GPU-7",
    driver="580.1",
    cpu="Abacus",
    cores=3,
    memory_bytes=10**11,
    platform="Linux",
    python="3.11.7",
    torch="2.13.0",
    cuda="13.0",
    cudnn="91002",
    vidcost="0.1.0",
)
SHAPE = (384, 8, 14, 14)


def record(cell, samples_s, **known):
    """A record of ``cell`` with samples by part, and everything that can be known of it."""
    random_ = random.Random(cell.model_dump_json())
    everything = {
        "machine": MACHINE,
        "protocol": {
            "warmup_samples": 7,
            "settled": True,
            "precision": 0.0123,
            "sampling_s": 3.1,
            "void_samples": 2,
        },
        "memory": {
            "weights": 31_000_001,
            "peak": random_.randrange(10**9),
            "reserved": 2_000_003,
            "rss_peak": 5_000_011,
            "nvml_used": 7_000_003,
        },
        "macs": 10**9 + 7,
        "macs_total": 3 * (10**9 + 7),
        "predicted_peak_bytes": 61_000_001,
        "peak_macs_per_s": 1.7e13,
        "energy_j": 2.31,
        "started": "2026-11-26T09:00:01+00:00",
    }
    return Timing.model_validate(
        {"key": cell.key(), "cell": cell, "samples_s": samples_s} | everything | known
    )


def seconds(n, seed=0):
    random_ = random.Random(seed)
    return tuple(random_.lognormvariate(-3, 0.3) for _ in range(n))


@pytest.fixture(scope="session")
def make() -> Callable[..., Timing]:
    """Make a record of a cell with samples by part, and everything that can be known of it."""
    return record


@pytest.fixture(scope="session")
def kinds() -> list[Timing]:
    """A record of every kind that is no share."""
    alone = Cell(block="pnl:n=3", shape=SHAPE, device="cuda", cold=True, dtype="bf16", batch=2)
    put = Cell(row="mfnet", blocks=(("conv4:before-last", "nl"), ("res5", "cgnl")), frames=8)
    network = {"network": "net.py:make", "inputs": ("1x3x4x5x5", "mask=1x7:bool"), "code": "c0de"}
    training = Cell(row="c3d", phase="training", device="cuda", mode="compile", size=112, batch=5)
    parts = ("latency", "forward", "backward", "optimizer")
    return [
        *(
            record(Cell(row="mfnet", batch=n), {"latency": seconds(n, seed=n)})
            # about where the interval begins to exist, and where it is taken from the normal's
            for n in (*range(1, 14), 30, 31, 97, 499, 500, 501, 502, 2003)
        ),
        record(Cell(row="mfnet", threads=2), {"latency": (0.25,) * 7}),
        record(alone, {"latency": seconds(31)}),
        record(put, {"latency": seconds(8)}),
        record(Cell(**network), {"latency": seconds(8)}),
        record(Cell(**network, blocks=(("layer4.1", "nl"),), batch=1), {"latency": seconds(9)}),
        record(training, {part: seconds(30 + k, k) for k, part in enumerate(parts)}),
        record(
            Cell(row="i3d-rgb", cudnn_benchmark=True, memory_format="channels_last_3d"),
            {},
            status="oom",
            error="it needs 'more'",
            protocol=None,
            memory=None,
            macs_total=None,
            energy_j=None,
            peak_macs_per_s=None,
        ),
        record(Cell(row="s3d"), {"latency": seconds(3)}, machine=None, started="", macs=0),
        record(Cell(row="r50"), {"latency": (0.0, 0.0)}, macs_total=0),
    ]


@pytest.fixture(scope="session")
def share() -> Timing:
    """A record of what blocks add; the network without them was timed once more often."""
    cell = Cell(row="mfnet-nl", share=True, threads=2)
    sides = {"with": seconds(32, 1), "without": seconds(33, 2)}
    return record(cell, sides, memory_without={"weights": 31_000_000, "peak": 40_000_003})


@pytest.fixture
def folder(tmp_path) -> Path:
    """A results folder with nothing in it."""
    path = tmp_path / "results"
    path.mkdir()
    return path


@pytest.fixture
def stored(folder):
    """Store records in a file of the results folder; returns the file."""

    def store(*timings, name="h100-torch2.13.0.jsonl"):
        path = folder / "timings" / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            Store(path).prepare()
        with path.open("a") as file:
            file.writelines(f"{timing.model_dump_json()}\n" for timing in timings)
        return path

    return store


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch, tmp_path) -> Path:
    """Have copies in a folder of the test."""
    path = tmp_path / "copies"
    monkeypatch.setattr(copies, "folder", lambda: path)
    return path


@pytest.fixture
def ask(folder):
    """Ask the results folder; returns dicts."""
    from vidcost.bench.query.connection import over_results

    def ask(sql, *, note=lambda what: None):
        with over_results(folder, sql=sql, note=note) as views:
            answer = views.ask(sql)
        return [dict(zip(answer.columns, line, strict=True)) for line in answer.lines]

    return ask
