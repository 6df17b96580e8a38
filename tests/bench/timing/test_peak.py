import torch

from vidcost.bench.timing import peak
from vidcost.bench.timing.peak import measured_macs_per_s


def test_the_measured_peak_is_of_the_fastest_product(monkeypatch):
    # 2 x 2 x 2 MACs at best in 0.5 s, then 4 x 4 x 4 in 0.01 s, but never a third size
    monkeypatch.setattr(peak, "EDGES", {"cpu": (2, 4, 8)})
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
