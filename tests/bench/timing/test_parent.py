"""The parent's replies to a worker, on a planted clock."""

import pytest

from vidcost.bench.timing.messages import Chunk, Window
from vidcost.bench.timing.parent import Exchange
from vidcost.bench.timing.record import Telemetry


class Device:
    """A clock, the readings since the last look, and an energy counter."""

    def __init__(self):
        self.now = 1_000.0
        self.readings = []
        self.energy = None

    def clock(self):
        return self.now

    def at(self, now, *reasons, **known):
        self.now = now
        self.readings.append(Telemetry(at_s=now, throttle_reasons=reasons, **known))

    def take(self):
        taken, self.readings = self.readings, []
        return taken

    def energy_j(self):
        return self.energy


@pytest.fixture
def device():
    return Device()


@pytest.fixture
def exchange(device):
    return Exchange(device, clock=device.clock)


def chunk(sampling_s):
    return Chunk(samples=7, median_s=0.01, precision=0.5, sampling_s=sampling_s)


def test_a_clean_chunk_is_kept_a_throttled_one_is_void(device, exchange):
    device.at(1_000.5, "sw power cap")
    assert "keep" == exchange.reply(chunk(0.5))
    device.at(1_000.7, "hw thermal slowdown")
    device.at(1_001.0)
    assert "void" == exchange.reply(chunk(1.0))
    device.at(1_001.5)
    assert "keep" == exchange.reply(chunk(1.5))


def test_the_warm_up_is_not_the_measurement(device, exchange):
    device.at(1_002.9, "hw slowdown")
    device.at(1_003.25, "gpu idle")
    device.at(1_003.5, "sync boost")
    # sampling began at 1003.0
    assert "keep" == exchange.reply(chunk(0.5))
    assert [0.25, 0.5] == [reading.at_s for reading in exchange.telemetry]


def test_readings_are_kept_each_second_and_when_the_reasons_change(device, exchange):
    for tenth in range(31):
        device.at(1_000 + tenth / 8, *(["sync boost"] if tenth == 12 else []), temperature_c=tenth)
    device.now = 1_004.0
    assert "keep" == exchange.reply(chunk(4.0))
    # at 0, 1 and 1.5 (another reason), 1.625 (none again), 2.625, 3.625 s
    assert [0, 8, 12, 13, 21, 29] == [r.temperature_c for r in exchange.telemetry]


@pytest.mark.parametrize(
    ("fault", "energy_j"),
    [
        ({}, 6.0),
        ({"seconds": 4.5}, None),
        ({"passes": 0}, None),
        ({"after": None}, None),
        ({"after": 100.0}, None),
        ({"reasons": ("hw slowdown",)}, None),
    ],
    ids=str,
)
def test_energy_is_of_one_pass_if_it_means_anything(device, exchange, fault, energy_j):
    known = {"seconds": 6.0, "passes": 50, "before": 100.0, "after": 400.0, "reasons": ()} | fault
    exchange.reply(chunk(0.5))
    device.now, device.energy = 2_000.0, known["before"]
    assert "keep" == exchange.reply(Window(edge="start"))
    device.at(2_000.0 + known["seconds"] / 2, *known["reasons"])
    device.now, device.energy = 2_000.0 + known["seconds"], known["after"]
    assert "keep" == exchange.reply(Window(edge="end", passes=known["passes"]))
    assert energy_j == exchange.energy_j
    assert known["reasons"] == exchange.telemetry[-1].throttle_reasons
