import pytest

from vidcost.bench.report.page.data import devices
from vidcost.bench.report.plots.device import DATA_SHEET, MATMUL, latency_plot, roofline_plot
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.peak import bytes_per_s
from vidcost.bench.timing.store import Store


@pytest.fixture
def abacus(small):
    (device,) = devices(small)
    return device


@pytest.fixture
def device_of(tmp_path, timed):
    """The device of a few timings, none of them measured if ``seconds`` is None."""

    def make(*cells, seconds=0.1, **known):
        for cell in cells:
            timing = timed(cell, seconds, **known)
            Store(tmp_path / "timings" / "a.jsonl").append(timing)
        (device,) = devices(tmp_path)
        return device

    return make


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        (3.35e12, "NVIDIA H100 80GB HBM3"),
        (2.039e12, "NVIDIA A100-SXM4-80GB"),
        (0.3e12, "NVIDIA L4"),
        (None, "NVIDIA H100 80GB HBM3 MIG 1g.10gb"),
        (None, "AMD EPYC"),
    ],
)
def test_bandwidth_by_the_name_torch_gives(expected, name):
    assert pytest.approx(expected) == bytes_per_s(name)


def of(plot, what):
    return [line for line in plot.lines if line["what"] == what]


def test_intensity_is_macs_over_the_traffic_of_all_operators(abacus):
    reached = of(roofline_plot(abacus), "reached")
    (nl,) = [line for line in reached if line["target"] == "nl at 384x8x14x14"]
    # 10**9 MACs were made up, in 10 ms
    assert (10**9, pytest.approx(100)) == (nl["macs"], nl["gmacs_per_s"])
    c, d, n = 384, 192, 8 * 14 * 14
    elements = (
        3 * (c * n + c * d + d * n)  # theta, phi, g
        + 2 * d * n
        + n * n  # the scores
        + 2 * n * n  # softmax
        + n * n
        + 2 * d * n  # the weighted sum
    )
    # besides, W_z, BatchNorm, the sum, and copies
    assert 4 * elements < nl["traffic_bytes"] < 2 * 4 * elements


def test_a_target_that_cannot_be_drawn_is_named(abacus):
    plot = roofline_plot(abacus)
    targets = [line["target"] for line in of(plot, "reached")]
    assert ["mfnet", "mfnet-nl", "mfnet", "nl at 384x8x14x14"] == targets
    roof = {(line["ceiling"], line["dtype"], line["gmacs_per_s"]) for line in of(plot, "roof")}
    assert {(MATMUL, "fp32", 40)} == roof
    assert "<script>document.title='run'</script> is not drawn: no row" in plot.caption


def test_no_code_of_users_is_run(device_of):
    user = Cell(network="no_such_file.py:make", inputs=("1x3x8x8",), code="c")
    block = Cell(block="no_such_file.py:Block", shape=(8, 2, 4, 4), code="c")
    assert roofline_plot(device_of(user, block)) is None
    plot = roofline_plot(device_of(user, block, Cell(row="mfnet")))
    assert ["mfnet"] == [line["target"] for line in of(plot, "reached")]
    assert 2 == plot.caption.count("is not drawn: a report runs no code of users.")


def test_a_gpu_has_the_ceilings_of_its_data_sheet(device_of, timed):
    cell = Cell(row="mfnet", device="cuda", dtype="bf16")
    machine = timed(cell).machine.model_copy(update={"device": "NVIDIA H200"})
    roof = of(roofline_plot(device_of(cell, machine=machine, macs_total=10**13)), "roof")
    assert {DATA_SHEET} == {line["ceiling"] for line in roof}
    assert 989.4e3 / 2 == pytest.approx(max(line["gmacs_per_s"] for line in roof))
    # 4.8 TB/s
    assert all(line["gmacs_per_s"] <= 4.8e3 * line["intensity"] * 1.001 for line in roof)


def test_latencies_have_their_intervals(abacus):
    plot = latency_plot(abacus)
    assert "latency-abacus" == plot.name
    (line,) = [x for x in plot.lines if x["target"] == "mfnet-nl"]
    # the samples are within 4% of 700 ms
    assert [700, 672, 728] == [
        pytest.approx(line[key]) for key in ("median_ms", "ci_low_ms", "ci_high_ms")
    ]
    assert 2 == len(plot.choices[0].options)


def test_a_device_on_which_all_failed_has_no_plot(device_of):
    device = device_of(Cell(row="mfnet"), seconds=None, status="oom", error="out of memory")
    assert (None, None) == (latency_plot(device), roofline_plot(device))
