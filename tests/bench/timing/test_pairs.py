"""Two cells interleaved: how they are built and run, and what is made of their samples."""

import pytest
import torch
from torch import nn

from vidcost.bench.timing import measurement
from vidcost.bench.timing.build import build
from vidcost.bench.timing.cell import Cell, checked_cell
from vidcost.bench.timing.clock import HostClock
from vidcost.bench.timing.figures import pair_figures
from vidcost.bench.timing.measurement import measure
from vidcost.bench.timing.messages import Limits, Task
from vidcost.bench.timing.plan import implemented
from vidcost.bench.timing.predict import predict
from vidcost.bench.timing.runner import Runner

QUICK = Limits(sampling_s=0.3, min_samples=5, precision=0.5, warmup_s=0.3, chunk_s=0.05)
SHAPE = (8, 2, 3, 5)
REFERENCE = Cell(block="nl", shape=SHAPE)


def against(reference=REFERENCE, **fields):
    return Cell(**({"block": "nl:impl=optimized", "shape": SHAPE} | fields), against=reference)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch": 2}, "one batch"),
        ({"cold": True}, "neither a pair nor cold"),
        ({"against": against()}, "neither a pair nor cold"),
    ],
)
def test_two_cells_that_do_not_go_together(fields, message):
    with pytest.raises(ValueError, match=message):
        checked_cell({"block": "nl", "shape": SHAPE} | {"against": REFERENCE} | fields)


class Sides(nn.Module):
    def __init__(self, log, name):
        super().__init__()
        self.log, self.name = log, name
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        self.log.append((self.name, torch.get_float32_matmul_precision()))
        return x * self.weight


def test_they_run_in_pairs_and_random_order_each_with_its_own_switches():
    # on a CPU there is no TF32, but the switch can be seen
    plain = Cell.model_construct(**REFERENCE.model_dump() | {"dtype": "fp32"})
    tf32 = Cell.model_construct(**REFERENCE.model_dump() | {"dtype": "tf32", "against": plain})
    log: list[tuple[str, str]] = []
    built = build(against())
    object.__setattr__(built, "model", Sides(log, "target"))
    object.__setattr__(built.reference, "model", Sides(log, "reference"))
    before = torch.get_float32_matmul_precision()
    try:
        taken = Runner(tf32, built, HostClock()).take(100)
    finally:
        torch.set_float32_matmul_precision(before)
    assert {"target", "reference"} == taken.keys()
    assert {("target", "high"), ("reference", "highest")} == set(log)
    pairs = [{log[k][0], log[k + 1][0]} for k in range(0, 200, 2)]
    assert all({"target", "reference"} == pair for pair in pairs)
    first = sum(log[k][0] == "target" for k in range(0, 200, 2))
    assert 20 < first < 80


def test_a_step_is_compared_by_its_parts(monkeypatch):
    monkeypatch.setattr(measurement, "_configure", lambda cell: None)
    reference = REFERENCE.model_copy(update={"phase": "training"})
    cell = against(reference, phase="training")
    timing = measure(Task(cell=cell, limits=QUICK), lambda _: "keep")
    assert ("ok", "") == (timing.status, timing.error)
    samples = timing.samples_s
    for side in ("target", "reference"):
        for whole, forward, backward in zip(
            *(samples[part] for part in (side, f"{side}_forward", f"{side}_backward")), strict=True
        ):
            assert forward > 0 < backward
            assert forward + backward <= whole


def timing_of(timed, target, reference, **known):
    samples = {"target": tuple(target), "reference": tuple(reference)}
    return timed(against(), samples_s=samples, **known)


def test_the_ratio_is_the_median_of_the_ratios_of_pairs(timed):
    # the second pass of both was disturbed, and their ratio was not
    target, reference = [1.0, 9.0, 1.0, 1.0, 1.0, 1.0], [2.0, 18.0, 2.2, 1.8, 2.0, 2.0]
    shown = pair_figures(timing_of(timed, target, reference))
    assert pytest.approx((0.5, 1 / 2.2, 1 / 1.8)) == tuple(
        shown[key] for key in ("ratio", "ratio_low", "ratio_high")
    )
    assert (1.0, 2.0, 6) == (shown["target_s"], shown["reference_s"], shown["pairs"])


def test_autocast_computes_in_half_precision_from_single():
    cell = Cell(block="nl", shape=SHAPE, dtype="bf16-autocast")
    built = build(cell)
    assert torch.float32 == built.inputs[0].dtype == next(built.model.parameters()).dtype
    seen = []
    built.model.operation.theta.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    runner = Runner(cell, built, HostClock())
    runner.step()
    assert [torch.bfloat16] == seen
    training = Cell(block="nl", shape=SHAPE, dtype="bf16-autocast", phase="training")
    built = build(training)
    built.model.operation.theta.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    Runner(training, built, HostClock()).step()
    assert [torch.bfloat16] * 2 == seen
    assert predict(cell).macs == predict(REFERENCE).macs


def test_a_block_without_the_implementation_is_left_out_of_all_alone():
    specs, reasons = implemented(["nl", "cgd"], "reference,optimized", every=True)
    assert (["nl"], ["cgd left out: cgd has no optimized implementation"]) == (specs, reasons)
    assert (["nl:impl=optimized"], []) == implemented(["nl"], "optimized", every=False)
    with pytest.raises(ValueError, match="cgd has no optimized implementation"):
        implemented(["nl", "cgd"], "reference,optimized", every=False)
    with pytest.raises(ValueError, match="unknown implementation 'fast'"):
        implemented(["nl", "cgd"], "fast", every=True)
