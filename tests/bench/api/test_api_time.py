"""vidcost.time: samples of a network that lives here, and this process left as it was."""

import gc

import pytest
import torch
from torch import nn

import vidcost

QUICK = {"budget_s": 0.05, "warmup_s": 0.05}


class Nested(nn.Module):
    """Returns a matrix inside a dict, beside numbers that need no gradient."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 5), nn.BatchNorm1d(5)

    def forward(self, x, scale=None):
        y = self.norm(self.layer(x))
        return {"y": [y if scale is None else y * scale, y.unsqueeze(0)], "n": torch.ones(1)}


X = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("phase", "parts"),
    [("inference", ["latency"]), ("training", ["latency", "forward", "backward", "optimizer"])],
)
def test_samples_of_a_nested_network(phase, parts):
    timing = vidcost.time(Nested(), {"scale": torch.ones(5), "x": X}, phase=phase, **QUICK)
    assert parts == list(timing.samples_s)
    samples = timing.samples_s["latency"]
    assert len(samples) == timing.summary().n >= 1
    assert min(samples) <= timing.summary().low <= timing.median_s <= timing.summary().high
    assert timing.warmup_samples >= 3
    # 3x5 weights, 5 biases, and five vectors less the number of batches, of 4 bytes, and 8
    assert 4 * (20 + 20) + 8 == timing.weights_bytes
    assert timing.peak_bytes > 0
    assert timing.finite
    known = {"device": "cpu", "phase": phase, "dtypes": ["float32"]}
    assert known.items() <= timing.conditions.items()
    assert torch.__version__ == timing.machine["torch"]


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_numbers_that_are_not_finite_are_said(phase):
    class Diverged(nn.Linear):
        def forward(self, x):
            return {"whole": torch.ones(1, dtype=torch.long), "part": [super().forward(x) / 0]}

    assert not vidcost.time(Diverged(3, 5), X, phase=phase, memory=False, **QUICK).finite


def test_an_error_of_the_network_is_its_own_and_all_is_put_back():
    class Broken(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 5:
                raise KeyError("mine")
            return x

    before = torch.get_num_threads()
    with pytest.raises(KeyError, match="mine"):
        vidcost.time(Broken(), X, threads=before + 1, **QUICK)
    assert (before, True) == (torch.get_num_threads(), gc.isenabled())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase": "sleep"}, "no phase 'sleep': choose inference or training"),
        ({"device": "meta"}, "no device 'meta': choose cpu, cuda or, of several, cuda:1"),
        ({"precision": 0}, "precision is 0: give a number above 0"),
        ({"budget_s": -1.0}, "budget_s is -1.0: give a number above 0"),
        ({"threads": 0}, "threads is 0: give a number above 0"),
    ],
)
def test_what_cannot_be_done_is_rejected_in_one_line(options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        vidcost.time(Nested(), X, **options)
    assert message == str(caught.value)


def test_a_network_that_cannot_be_trained_is_rejected():
    model = nn.Linear(3, 5)
    model.register_forward_hook(lambda *given: given[-1].detach())
    with pytest.raises(ValueError, match=r"^no output needs a gradient"):
        vidcost.time(model, X, phase="training", **QUICK)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_a_copy_is_timed_on_a_gpu(phase):
    model = Nested()
    # what others hold on the device is no part of the peak
    held = torch.empty(10**8, device="cuda")
    timing = vidcost.time(model, X, device="cuda", phase=phase, **QUICK)
    assert 0 < timing.peak_bytes < 10**8 < held.numel() * 4
    assert {"cpu"} == {p.device.type for p in model.parameters()}
    assert "cuda" == timing.conditions["device"]
