"""The conventions: what they say by hand, and what the counters themselves answer."""

from __future__ import annotations

import copy
import runpy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vidcost.bench.count.conventions import CONVENTIONS, explain, flops
from vidcost.bench.count.counter import count
from vidcost.bench.count.term import Term

SMALL = runpy.run_path(str(Path(__file__).with_name("run_thop_2020.py")))["NETWORKS"]


class Products(nn.Module):
    """Products of two activations, and what adds to one: 2x3x5 and 2x5x7."""

    def forward(self, x):
        y = x.transpose(1, 2)
        z = torch.baddbmm(x @ y, x, y)
        return z, torch.mv(x[0], x[0, 0]), torch.dot(x[0, 0], x[1, 1]), torch.addbmm(z[0], x, y)


class Attention(nn.Module):
    """A product, fused attention from 5 queries to 11 keys of width 7, another product."""

    def forward(self, x):
        y = x @ x.transpose(-1, -2) @ x
        z = F.scaled_dot_product_attention(y[:, :, :5], y, y, attn_mask=torch.zeros(5, 11))
        return z @ z.transpose(-1, -2)


class Functions(nn.Module):
    """A convolution, a linear layer and a BatchNorm called as functions."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(5, 3, 2))
        self.matrix = nn.Parameter(torch.empty(7, 11))

    def forward(self, x):
        y = F.linear(F.conv1d(x, self.weight), self.matrix)
        return F.batch_norm(y, torch.zeros(5), torch.ones(5))


class Whole(nn.Module):
    """Functions that some counters book as a whole: two einsums, a broadcast product, a pool."""

    def forward(self, x):
        y = torch.einsum("bchw,bdhw->bcd", x, x)
        y = y + torch.einsum("b c h, b d h -> b d c", y, y)
        return F.adaptive_avg_pool2d(x[:, :1] @ x[0].mT, 1), y


class Resampled(nn.Module):
    """Upsampling as a layer and as a function, and sampling on a grid."""

    def __init__(self):
        super().__init__()
        self.smooth = nn.Upsample(scale_factor=2, mode="bilinear")
        self.sharp = nn.UpsamplingNearest2d(scale_factor=2)

    def forward(self, x):
        y = F.interpolate(self.sharp(self.smooth(x)), size=(5, 7), mode="bicubic")
        grid = F.affine_grid(x[:, 0, :2, :3], list(y.shape), align_corners=False)
        return F.grid_sample(y, grid, align_corners=False)


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


NORMS = nn.Sequential(
    nn.InstanceNorm3d(3, affine=True),
    nn.InstanceNorm3d(3),
    nn.GroupNorm(3, 3, affine=False),
    nn.BatchNorm3d(3, track_running_stats=False),
    nn.LayerNorm(7),
    nn.LayerNorm(7, elementwise_affine=False),
)
NETWORKS = SMALL | {
    "products": (Products(), (2, 3, 5)),
    "functions": (Functions(), (2, 3, 12)),
    "fused attention": (Attention(), (2, 3, 11, 7)),
    "functions as a whole": (Whole(), (2, 3, 5, 7)),
    "resampled": (Resampled(), (2, 3, 5, 7)),
    "recurrent": (Recurrent(), (13, 7)),
    "norms": (NORMS, (2, 3, 11, 5, 7)),
}


def trace(name):
    # a copy: thop leaves hooks in layers with two owners
    model, shape = copy.deepcopy(NETWORKS[name])
    return model, count(model, torch.randn(shape))


def terms(convention, name):
    model, counted = trace(name)
    explanation = explain(convention, model, counted)
    return {term.name: term.amount for term in explanation.flop_terms}


@pytest.mark.parametrize(
    ("convention", "name", "expected"),
    [
        ("fvcore", "biased convolution", {}),
        ("thop", "biased convolution", {}),
        # 2 clips of 4x3x3x3 outputs
        ("thop-2020", "biased convolution", {"bias of convolutions, 1 per output element": 216}),
        # per output element, 2x4x11x15 of 3x9, and not per input element, 2x6x5x7 of 2x9
        (
            *("thop", "transposed convolution"),
            {"transposed convolutions, per output element": 1320 * 27 - 420 * 18},
        ),
        (
            *("fvcore", "BatchNorm without parameters"),
            {"BatchNorm, 1 per element": 210, "BatchNorm, 2 per element": 420},
        ),
        (
            *("thop", "BatchNorm without parameters"),
            {"BatchNorm, 2 per element": 420, "BatchNorm, 4 per element": 840},
        ),
        ("thop-2020", "BatchNorm without parameters", {"BatchNorm, 2 per element": 840}),
        # 10 maps: 5x6 outputs; 3x2 of 5/3 x 6/2 + 1, or of 1x3 + 1; 1 of 3x2 + 1
        (
            *("thop", "average pools"),
            {
                "average pooling, 1 per output element": 300,
                "adaptive pooling, kernel + 1 per output element": 10 * (36 + 7),
            },
        ),
        (
            *("thop-2020", "average pools"),
            {
                "average pooling, 1 per output element": 300,
                "adaptive pooling, kernel + 1 per output element": 10 * (24 + 7),
            },
        ),
        ("fvcore", "average pools", {"adaptive 2D pooling, 1 per element": 10 * (30 + 6)}),
        ("thop-2020", "activations", {"leaky activations, 1 per element": 15}),
        ("thop", "activations", {"leaky activations, 1 per element": 15}),
        (
            *("thop", "softmax and norms without a rule"),
            {
                "softmax modules, 3 per element less 1 per row": 10 * 20,
                "LayerNorm, 4 per element": 280,
            },
        ),
        (
            *("fvcore", "softmax and norms without a rule"),
            {"LayerNorm, 5 per element": 350, "GroupNorm, 5 per element": 350},
        ),
        # 2 x 3x3x5; 3x5, 5 and 2 x 3x5x3 are no matrix products to some
        (
            *("fvcore", "products"),
            {"baddbmm unseen": -90, "mv unseen": -15, "dot unseen": -5, "addbmm unseen": -90},
        ),
        ("thop", "products", {"attention products unseen": -290}),
        ("fvcore", "fused attention", {"SDPA unseen": -6 * 2 * 5 * 11 * 7}),
        (
            *("thop", "fused attention"),
            {"attention products unseen": -6 * (2 * 11 * 11 * 7 + 2 * 5 * 11 * 7 + 5 * 5 * 7)},
        ),
        ("torch", "products", {"mv unseen": -15, "dot unseen": -5, "addbmm unseen": -90}),
        # 2x5x11 outputs of 3x2 products; 2x5x7 of 11
        (
            *("thop-2020", "functions"),
            {
                "convolutions called as functions unseen": -660,
                "products with bare parameters unseen": -770,
            },
        ),
        ("fvcore", "functions", {"BatchNorm, 1 per element": 70}),
        # 2 clips of 5x5 products of 7 for 3 maps, and the first operand alone is 1 map; of the
        # einsums numpy's four digits hold every one
        (
            *("fvcore", "functions as a whole"),
            {
                "broadcast products, the first operand as given": 2 * 5 * 7 * 5 * (1 - 3),
                "adaptive 2D pooling, 1 per element": 2 * 3 * 5 * 5,
            },
        ),
        # 6 maps of 10x14 by smoothing, of 20x28 by copying; 6 of 5x7 on a grid of 2 x 35 points,
        # each with two coordinates from three products
        (
            *("fvcore", "resampled"),
            {
                "affine_grid_generator unseen": -2 * 35 * 2 * 3,
                "2D resampling, 4 per output element": 4 * 840,
                "2D resampling, 1 per output element": 3360,
                "grid sampling, 4 per output element": 4 * 210,
            },
        ),
        (
            *("thop", "resampled"),
            {
                "attention products unseen": -420,
                "bilinear upsampling, 11 per output element": 11 * 840,
                "nearest upsampling, 1 per output element": 3360,
            },
        ),
        (
            *("thop-2020", "resampled"),
            {
                "attention products unseen": -420,
                "bilinear upsampling, 11 per output element": 11 * 840,
            },
        ),
        ("torch", "resampled", {"affine_grid_generator unseen": -420}),
        # the layers' products alone: an LSTM with 2 layers of 2 directions, a GRU, an RNN
        (
            *("fvcore", "recurrent"),
            {"recurrent layers unseen": -13 * (2 * 8 * (13 + 6) + 9 * 7 + 2 * 5)},
        ),
        # an RNN's step: a gate of 3 inputs and 2 of the state for 2 elements, and 3 for each
        # element; a GRU's: three gates and 4; an LSTM's: four and 4; without bias 1 for each
        (
            *("thop", "recurrent"),
            {
                "recurrent layers, their products alone": -13
                * (15 * 12 + 12 * 8 + 11 * 14 + 2 * 8 * (13 + 6) + 9 * 7 + 2 * 5),
                "recurrent layers, gates and states too": 13
                * (
                    (3 * (5 * 12 + 15) + 4 * 5)
                    + (4 * (3 * 8 + 3) + 4 * 3)
                    + (11 * 14 + 33)
                    + 2 * (4 * (2 * 13 + 6) + 4 * 2 + 4 * (2 * 6 + 6) + 4 * 2)
                    + (3 * (3 * 7 + 9) + 4 * 3)
                    + (2 * 5 + 6)
                ),
            },
        ),
        ("thop-2020", "a lone layer", {"a layer that is the whole network unseen": -105}),
        ("thop", "a lone layer", {}),
    ],
)
def test_terms_by_hand(convention, name, expected):
    assert expected == terms(convention, name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 35 of a product, 9 of a layer that is not called, 6 of a norm
        (
            "what has no rule",
            (
                Term("parameters of Bare unseen", "params", -35),
                Term("parameters of layers that are not called unseen", "params", -9),
                Term("parameters of GroupNorm unseen", "params", -6),
            ),
        ),
        ("two owners", (Term("parameters with several owners", "params", 24),)),
        ("a lone layer", (Term("parameters of a lone layer unseen", "params", -42),)),
        ("linear layers", ()),
    ],
)
def test_parameters_by_hand(name, expected):
    model, counted = trace(name)
    assert expected == explain("thop", model, counted).param_terms
    assert () == explain("fvcore", model, counted).param_terms
    assert None is explain("torch", model, counted).param_terms


def test_flops_and_parameters_by_name():
    model, counted = trace("linear layers")
    assert {294} == {flops(name, model, counted) for name in ("macs", *CONVENTIONS)}
    assert [56, 56, 56, None] == [explain(name, model, counted).seen_params for name in CONVENTIONS]


def test_an_unknown_convention_is_refused():
    model, counted = trace("linear layers")
    message = "unknown convention 'thop-2021': choose from macs, fvcore, thop, thop-2020, torch"
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        flops("thop-2021", model, counted)
    assert message == str(caught.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_thop_answers_so(name):
    import thop

    model, counted = trace(name)
    answer = thop.profile(model, (torch.randn(NETWORKS[name][1]),), verbose=False)
    assert (flops("thop", model, counted), explain("thop", model, counted).seen_params) == answer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_fvcore_answers_so(name):
    from fvcore.nn import FlopCountAnalysis, parameter_count

    model, counted = trace(name)
    analysis = FlopCountAnalysis(model.eval(), torch.randn(NETWORKS[name][1]))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    assert flops("fvcore", model, counted) == analysis.total()
    assert explain("fvcore", model, counted).seen_params == parameter_count(model)[""]


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_answers_so(name):
    model, counted = trace(name)
    counter = FlopCounterMode(display=False)
    # on the CPU it does not see fused attention
    with torch.no_grad(), torch.device("meta"), counter:
        model.to("meta").eval()(torch.randn(NETWORKS[name][1]))
    assert 2 * flops("torch", model, counted) == counter.get_total_flops()
