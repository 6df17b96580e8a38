"""A user's networks and blocks, as they are and as they fail; tests copy it into a folder."""

import math
import os
import sys
import time

import torch
from torch import nn

from vidcost.models.cost import Cost


class Net(nn.Module):
    """15, 35 and 14 weights."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv3d(3, 5, 1, bias=False)
        self.body = nn.Sequential(nn.Conv3d(5, 7, 1, bias=False), nn.ReLU())
        self.head = nn.Linear(7, 2, bias=False)

    def forward(self, x):
        return {"logits": self.head(self.body(self.stem(x)).mean((2, 3, 4)))}


class Prints(Net):
    def forward(self, x):
        print("printed in a pass")
        return super().forward(x)


class Named(Net):
    def forward(self, *, clip, scale):
        return super().forward(clip)["logits"] * scale


class Ids(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, ids):
        return self.head(self.embedding(ids))


class Raises(Net):
    def forward(self, x):
        raise ValueError("theirs")


class Leaves(Net):
    def forward(self, x):
        sys.exit(3)


class Dies(Net):
    def forward(self, x):
        os._exit(7)


class Hangs(Net):
    def forward(self, x):
        time.sleep(600)


class HangsOnValues(Net):
    def forward(self, x):
        return time.sleep(600) if x.device.type == "cpu" else self.stem(x)


class NotANumber(Net):
    def forward(self, x):
        return [super().forward(x)["logits"] * float("nan")]


class ReadsAtStart(Net):
    def __init__(self):
        super().__init__()
        self.rate = torch.linspace(0, 1, 3)[1].item()


class ReadsValues(Net):
    def forward(self, x):
        assert x.sum().item() == x.sum().item()
        return super().forward(x)


class Uncounted(Net):
    def forward(self, x):
        return torch.linalg.svd(x.flatten(1))


def make():
    return Net()


def example():
    return {"x": torch.ones(2, 3, 3, 4, 5), "mask": None}


def make_nothing():
    return 3


def fails():
    raise RuntimeError("nothing to build")


instance = Net()
number = 3


class Scale(nn.Module):
    """A block with a closed form."""

    def __init__(self, channels, width=1):
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, width, padding=width // 2, bias=False)

    def forward(self, x):
        return x + self.conv(x)

    def cost(self, shape):
        params, positions = self.conv.weight.numel(), math.prod(shape[2:])
        return Cost(params=params, conv=shape[0] * params * positions)


class WrongCost(Scale):
    def cost(self, shape):
        return Cost(conv=1)


class NoneCost(Scale):
    def cost(self, shape):
        return None


class RaisesBlock(Scale):
    def forward(self, x):
        raise KeyError("theirs")


class NoCost(nn.BatchNorm3d):
    pass


class ReadsWhileBuilt(Scale):
    def __init__(self, channels):
        super().__init__(channels)
        self.rates = [rate.item() for rate in torch.linspace(0, 1, 3)]


class Needs(Scale):
    def __init__(self, channels, width, *more, **others):
        super().__init__(channels, width)


def no_block(channels):
    return 3
