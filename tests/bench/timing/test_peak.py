import pytest
import torch

from vidcost.bench.timing import peak
from vidcost.bench.timing.peak import macs_per_s, measured_macs_per_s


@pytest.mark.parametrize(
    ("expected", "name", "dtype"),
    [
        (494.7e12, "NVIDIA H100 80GB HBM3", "bf16"),
        (378e12, "NVIDIA H100 PCIe", "fp16"),
        (156e12, "NVIDIA A100-SXM4-80GB", "bf16"),
        (65e12, "Tesla V100S-PCIE-32GB", "fp16"),
        # no units for the type
        (None, "Tesla V100-SXM2-16GB", "bf16"),
        # not in the table, though a name in it begins alike
        (None, "NVIDIA T400", "fp32"),
        (None, "Intel(R) Xeon(R) Processor", "fp32"),
        # a slice does a part of it
        (None, "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "fp16"),
    ],
)
def test_the_peak_is_that_of_the_data_sheet(expected, name, dtype):
    assert expected == macs_per_s(name, dtype)


def test_dense_is_what_the_rates_of_one_board_say():
    for board, (_, tf32, bf16, fp16, _) in peak._BOARDS.items():
        if bf16 is not None:
            assert bf16 == fp16, board
            assert 2 == pytest.approx(bf16 / tf32, rel=0.02), board


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


@pytest.mark.cuda
@pytest.mark.alone
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_does_not_do_more_than_its_data_sheet():
    sheet = macs_per_s(torch.cuda.get_device_name(), "bf16")
    measured = measured_macs_per_s("cuda", "bf16")
    assert measured > 1e12
    if sheet is not None:
        assert 0.3 * sheet < measured < 1.05 * sheet
