"""Runs the thop of May 2020 on every row and on small networks; a process of test_references.py.

It must stand alone in its import path: prints {network: [flops, params]} and where thop came from.
"""

import collections
import collections.abc
import json
import sys
import warnings

import torch
from torch import nn

from vidcost.papers.pnl2020.rows import ROWS


class Shared(nn.Module):
    """One layer with two owners, called three times."""

    def __init__(self):
        super().__init__()
        layer = nn.Conv3d(3, 3, 1)
        self.left, self.right = nn.Sequential(layer), nn.Sequential(layer, nn.Sequential(layer))

    def forward(self, x):
        return self.right(self.left(x))


class Bare(nn.Module):
    """A bare parameter, a product of activations, a layer that is not called."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(7, 5))
        self.unused = nn.Linear(2, 3)
        self.norm = nn.GroupNorm(1, 3)

    def forward(self, x):
        y = self.norm(x).flatten(2) @ x.flatten(2).transpose(1, 2)
        return y, x @ self.weight


class Recurrent(nn.Module):
    """Cells and layers of all three kinds, from 7 channels on."""

    def __init__(self):
        super().__init__()
        self.gru_cell = nn.GRUCell(7, 5)
        self.lstm_cell = nn.LSTMCell(5, 3, bias=False)
        self.rnn_cell = nn.RNNCell(3, 11)
        self.lstm = nn.LSTM(11, 2, num_layers=2, bidirectional=True)
        self.gru = nn.GRU(4, 3, batch_first=True)
        self.rnn = nn.RNN(3, 2)

    def forward(self, x):
        y, _ = self.lstm_cell(self.gru_cell(x))
        y, _ = self.lstm(self.rnn_cell(y)[:, None])
        return self.rnn(self.gru(y)[0])[0]


NETWORKS = {
    "biased convolution": (nn.Sequential(nn.Conv3d(6, 4, (1, 3, 5), groups=2)), (2, 6, 3, 5, 7)),
    "convolutions 1D and 2D": (
        nn.Sequential(nn.Conv1d(5, 7, 3, bias=False), nn.Unflatten(1, (7, 1)), nn.Conv2d(7, 2, 1)),
        (3, 5, 11),
    ),
    "transposed convolution": (
        nn.Sequential(nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2)),
        (2, 6, 5, 7),
    ),
    "BatchNorm without parameters": (
        nn.Sequential(nn.BatchNorm2d(5, affine=False), nn.BatchNorm2d(5)),
        (2, 5, 3, 7),
    ),
    "average pools": (
        nn.Sequential(nn.AvgPool2d(2), nn.AdaptiveAvgPool2d((3, 2)), nn.AdaptiveAvgPool2d(1)),
        (2, 5, 11, 13),
    ),
    "activations": (nn.Sequential(nn.LeakyReLU(), nn.PReLU(), nn.ReLU6()), (3, 5)),
    "softmax and norms without a rule": (
        nn.Sequential(nn.Softmax(-1), nn.LayerNorm(7), nn.Unflatten(1, (5, 1)), nn.GroupNorm(5, 5)),
        (2, 5, 7),
    ),
    "resampling": (
        nn.Sequential(nn.Upsample(scale_factor=2), nn.UpsamplingBilinear2d(scale_factor=3)),
        (2, 3, 5, 7),
    ),
    "linear layers": (nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 2, bias=False)), (2, 3, 5)),
    "a lone layer": (nn.Linear(5, 7), (3, 5)),
    "two owners": (Shared(), (2, 3, 5, 7, 11)),
    "what has no rule": (Bare(), (2, 3, 11, 7)),
    "recurrent": (Recurrent(), (13, 7)),
}
"""Small networks and their inputs' shapes."""

FACTS = {
    "biased convolution": [9_936, 184],
    "convolutions 1D and 2D": [3_267, 121],
    "transposed convolution": [36_960, 112],
    "BatchNorm without parameters": [840, 10],
    "average pools": [610, 0],
    "activations": [15, 0],
    "softmax and norms without a rule": [0, 0],
    "resampling": [83_160, 0],
    "linear layers": [294, 56],
    "a lone layer": [0, 0],
    "two owners": [249_480, 36],
    "what has no rule": [0, 0],
    "recurrent": [14_326, 945],
}
"""What it answers: FLOPs and parameters."""


if __name__ == "__main__":
    # it imports distutils, which warns or comes with setuptools, and a name that python 3.10 moved
    warnings.simplefilter("ignore")
    collections.Iterable = collections.abc.Iterable
    import setuptools  # noqa: F401
    import thop

    networks = {name: (model, (torch.randn(shape),)) for name, (model, shape) in NETWORKS.items()}
    for row in ROWS:
        if row.build is not None:
            with torch.device("meta"):
                networks[row.name] = row.model(), row.clips()
    answers = {
        name: list(map(int, thop.profile(model.eval(), inputs, verbose=False)))
        for name, (model, inputs) in networks.items()
    }
    json.dump({"from": thop.__file__, "answers": answers}, sys.stdout)
