"""A user's folder, for code that runs in processes of its own."""

import pytest

CODE = """
import os, sys, time
import torch
from torch import nn
from vidcost.models.cost import Cost

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv3d(3, 5, 1, bias=False)
        self.head = nn.Linear(5, 2, bias=False)

    def forward(self, x):
        print("printed")
        return {"logits": self.head(self.stem(x).mean((2, 3, 4)))}

class Raises(Net):
    def forward(self, x):
        raise ValueError("theirs")

class Leaves(Net):
    def forward(self, x):
        sys.exit(0)

class Dies(Net):
    def forward(self, x):
        os._exit(7)

class Hangs(Net):
    def forward(self, x):
        time.sleep(600)

class NotANumber(Net):
    def forward(self, x):
        return [super().forward(x)["logits"] * float("nan")]

class ReadsValues(Net):
    def forward(self, x):
        assert x.sum().item() == x.sum().item()
        return super().forward(x)

class Uncounted(Net):
    def forward(self, x):
        return torch.linalg.svd(x.flatten(1))

class Scale(nn.Module):
    \"\"\"A block with a closed form.\"\"\"

    def __init__(self, channels, width=1):
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, width, padding=width // 2, bias=False)

    def forward(self, x):
        return x + self.conv(x)

    def cost(self, shape):
        batch, channels, *positions = shape
        params = self.conv.weight.numel()
        p = positions[0] * positions[1] * positions[2]
        return Cost(params=params, conv=batch * params * p)

class WrongCost(Scale):
    def cost(self, shape):
        return Cost(conv=1)

class NoCost(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, x):
        return self.norm(x)

class NoneCost(Scale):
    def cost(self, shape):
        return None

class ReadsWhileBuilt(Scale):
    def __init__(self, channels):
        super().__init__(channels)
        self.rates = [rate.item() for rate in torch.linspace(0, 1, 3)]

class Needs(Scale):
    def __init__(self, channels, width, *more, **others):
        super().__init__(channels, width)

def no_block(channels):
    return 3

class BlockRaises(nn.Module):
    def __init__(self, channels):
        raise RuntimeError("no such block today")
"""


@pytest.fixture(autouse=True)
def code(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path
