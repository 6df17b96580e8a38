import pytest

from vidcost.bench.report.page.latency_plot import latency_plot
from vidcost.bench.report.page.measured import devices
from vidcost.bench.report.page.roofline import Ceiling, roofline
from vidcost.bench.report.page.roofline_plot import roofline_plot
from vidcost.bench.timing.bandwidth import bytes_per_s
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import Store


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        (3.35e12, "NVIDIA H100 80GB HBM3"),
        (2.039e12, "NVIDIA A100-SXM4-80GB"),
        (0.9e12, "Tesla V100-SXM2-16GB"),
        (0.864e12, "NVIDIA L40S"),
        (0.3e12, "NVIDIA L4"),
        (None, "NVIDIA A10G"),
        (None, "NVIDIA H100 80GB HBM3 MIG 1g.10gb"),
        (None, "NVIDIA GH200 480GB"),
        (None, "AMD EPYC"),
    ],
)
def test_bandwidth_by_the_name_torch_gives(expected, name):
    assert pytest.approx(expected) == bytes_per_s(name)


def test_intensity_is_macs_over_the_traffic_of_all_operators(small):
    (device,) = devices(small)
    (nl,) = [p for p in roofline(device).reached if p.target == "nl at 384x8x14x14"]
    # 10**9 MACs were made up, in 10 ms
    assert (10**9, pytest.approx(1e11)) == (nl.macs, nl.macs_per_s)
    c, d, n = 384, 192, 8 * 14 * 14
    elements = (
        3 * (c * n + c * d + d * n)  # theta, phi, g
        + 2 * d * n
        + n * n  # the scores
        + 2 * n * n  # softmax
        + n * n
        + 2 * d * n  # the weighted sum
    )
    # besides, W_z, BatchNorm, the sum, and what has to be copied
    assert 4 * elements < nl.traffic_bytes < 2 * 4 * elements


def test_what_cannot_be_drawn_is_said(small):
    (device,) = devices(small)
    found = roofline(device)
    assert ["mfnet", "mfnet-nl", "mfnet", "nl at 384x8x14x14"] == [
        point.target for point in found.reached
    ]
    assert (Ceiling("matmul", "fp32", 4e10),) == found.ceilings
    (left_out,) = found.left_out
    assert left_out.startswith("<script>document.title='run'</script> is not drawn: no row")


def test_no_code_of_users_is_run(tmp_path, timed):
    store = Store(tmp_path / "timings" / "abacus.jsonl")
    for cell in (
        Cell(network="no_such_file.py:make", inputs=("1x3x8x8",), code="c"),
        Cell(block="no_such_file.py:Block", shape=(8, 2, 4, 4), code="c"),
    ):
        store.append(timed(cell, peak_macs_per_s=4e10))
    (device,) = devices(tmp_path)
    found = roofline(device)
    assert () == found.reached
    assert 2 == len(found.left_out)
    assert all(said.endswith("a report runs no code of users") for said in found.left_out)


def test_a_gpu_has_the_ceilings_of_its_data_sheet(tmp_path, timed):
    machine = timed(Cell(row="mfnet")).machine.model_copy(update={"device": "NVIDIA H200"})
    store = Store(tmp_path / "timings" / "h200.jsonl")
    store.append(timed(Cell(row="mfnet", device="cuda", dtype="bf16"), machine=machine))
    (device,) = devices(tmp_path)
    found = roofline(device)
    assert {("data sheet", "bf16", 989.4e12 / 2), ("memory", "", 4.8e12)} == {
        (each.kind, each.dtype, each.limit) for each in found.ceilings
    }
    lines = roofline_plot(device, found).data.lines
    roof = [line for line in lines if line["what"] == "bf16, data sheet"]
    assert all(line["macs_per_s"] <= 4.8e12 * line["intensity"] * 1.001 for line in roof)


def test_latencies_are_drawn_with_their_intervals(small):
    (device,) = devices(small)
    plot = latency_plot(device)
    assert "latency-abacus" == plot.name
    (line,) = [x for x in plot.data.lines if x["target"] == "mfnet-nl"]
    # the samples are within 4% of 700 ms
    assert (700, 672, 728) == tuple(
        pytest.approx(line[key]) for key in ("median_ms", "low_ms", "high_ms")
    )
    assert 2 == len(plot.controls[0].options)


def test_a_device_on_which_all_failed_has_no_plot(tmp_path, timed):
    store = Store(tmp_path / "timings" / "abacus.jsonl")
    store.append(timed(Cell(row="mfnet"), None, status="oom", error="out of memory"))
    (device,) = devices(tmp_path)
    assert (None, None) == (latency_plot(device), roofline_plot(device, roofline(device)))
