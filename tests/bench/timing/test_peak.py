import pytest
import torch

from vidcost.bench.timing import peak
from vidcost.bench.timing.peak import macs_per_s, measured_macs_per_s


@pytest.mark.parametrize(
    ("expected", "name", "dtype"),
    [
        (494.7e12, "NVIDIA H100 80GB HBM3", "bf16"),
        (33.5e12, "NVIDIA H100 80GB HBM3", "fp32"),
        (378e12, "NVIDIA H100 PCIe", "fp16"),
        (417.75e12, "NVIDIA H100 NVL", "bf16"),
        (247.35e12, "NVIDIA H200", "tf32"),
        (417.75e12, "NVIDIA H200 NVL", "bf16"),
        (156e12, "NVIDIA A100-SXM4-80GB", "bf16"),
        (156e12, "NVIDIA A100 80GB PCIe", "fp16"),
        (78e12, "NVIDIA A100-PCIE-40GB", "tf32"),
        (62.5e12, "Tesla V100-SXM2-16GB", "fp16"),
        (65e12, "Tesla V100S-PCIE-32GB", "fp16"),
        (60.5e12, "NVIDIA L4", "bf16"),
        (181e12, "NVIDIA L40S", "bf16"),
        (32.5e12, "Tesla T4", "fp16"),
        # no units for the type
        (None, "Tesla V100-SXM2-16GB", "bf16"),
        (None, "Tesla T4", "tf32"),
        # not in the table, though a name in it begins alike
        (None, "NVIDIA T400", "fp32"),
        (None, "NVIDIA A1000", "fp32"),
        (None, "NVIDIA L400", "fp32"),
        (None, "NVIDIA GeForce RTX 4090", "fp32"),
        (None, "Intel(R) Xeon(R) Processor", "fp32"),
        # a slice does a part of it
        (None, "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "fp16"),
    ],
)
def test_the_peak_is_that_of_the_data_sheet(expected, name, dtype):
    assert expected == macs_per_s(name, dtype)


@pytest.mark.parametrize(
    ("board", "dtype", "units", "macs_a_clock", "boost_mhz"),
    [
        # units and boost clocks of NVIDIA's architecture papers, MACs a clock of a unit
        ("H100 80GB HBM3", "fp16", 132, 2048, 1830),
        ("H100 PCIe", "bf16", 114, 2048, 1620),
        ("A100", "fp16", 108, 1024, 1410),
        ("A100", "tf32", 108, 512, 1410),
        ("A100", "fp32", 108, 64, 1410),
        ("V100-SXM2", "fp16", 80, 512, 1530),
        ("V100-SXM2", "fp32", 80, 64, 1530),
        ("T4", "fp16", 40, 512, 1590),
        ("L4", "fp16", 58, 512, 2040),
        ("L4", "fp32", 58, 128, 2040),
        ("L40S", "bf16", 142, 512, 2520),
    ],
)
def test_the_data_sheet_agrees_with_units_and_clock(board, dtype, units, macs_a_clock, boost_mhz):
    derived = units * macs_a_clock * boost_mhz * 1e6
    assert pytest.approx(derived, rel=0.015) == macs_per_s(f"NVIDIA {board}", dtype)


def test_dense_is_what_the_rates_of_one_board_say():
    for board, tflops in peak.TFLOPS.items():
        if "bf16" in tflops:
            assert tflops["bf16"] == tflops["fp16"], board
            assert 2 == pytest.approx(tflops["bf16"] / tflops["tf32"], rel=0.02), board


def test_the_measured_peak_is_of_the_fastest_product(monkeypatch):
    # 2 x 2 x 2 MACs at best in 0.5 s, then 4 x 4 x 4 in 0.01 s, but never a third size
    monkeypatch.setattr(peak, "MEASURED_EDGES", {"cpu": (2, 4, 8)})
    monkeypatch.setattr(peak, "LONG_ENOUGH_S", 0.1)
    took = {2: 0.05, 4: 0.2}
    monkeypatch.setattr(peak, "_fastest_s", lambda left, right: took[len(left)])
    assert 4**3 / 0.2 == measured_macs_per_s("cpu", "fp32")


def test_a_slow_type_is_not_measured_on_large_matrices(monkeypatch):
    asked = []

    def fastest(left, right):
        asked.append((len(left), left.dtype))
        return 60.0

    monkeypatch.setattr(peak, "_fastest_s", fastest)
    assert 256**3 / 60 == measured_macs_per_s("cpu", "fp16")
    assert [(256, torch.float16)] == asked


def test_this_cpu_does_something_in_a_second():
    before = torch.backends.cuda.matmul.allow_tf32
    assert 1e8 < measured_macs_per_s("cpu", "fp32") < 1e15
    assert before == torch.backends.cuda.matmul.allow_tf32


@pytest.mark.cuda
@pytest.mark.alone
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_does_not_do_more_than_its_data_sheet():
    sheet = macs_per_s(torch.cuda.get_device_name(), "bf16")
    measured = measured_macs_per_s("cuda", "bf16")
    assert measured > 1e12
    if sheet is not None:
        assert 0.3 * sheet < measured < 1.05 * sheet
