"""What the tests of counters and records share."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidcost.bench import files


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the reference counters' answers go in a test: never the user's own cache."""
    root = tmp_path / "cache"
    monkeypatch.setattr(files, "cache_folder", lambda: root)
    return root / "reference_counters"


class Branch(nn.Module):
    """On (2, 3, 11, 13): (2, 5, 9, 11) out, 27 entries."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.bn = nn.BatchNorm2d(5)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Network(nn.Module):
    """Calls one of its two branches twice, and ends with a product of activations."""

    def __init__(self):
        super().__init__()
        self.conv1 = Branch()
        self.conv10 = Branch()
        self.fc = nn.Linear(5, 7)

    def forward(self, x):
        y = self.conv1(x) + self.conv10(x)
        y = y + self.conv1(x)
        y = F.adaptive_avg_pool2d(y, 1).flatten(1)
        y = torch.softmax(self.fc(y), dim=1)
        return y @ y.t()


@pytest.fixture
def network():
    return Network()
