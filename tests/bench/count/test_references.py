"""The reference counters: their conventions by hand, and the integers that they print."""

import copy
import importlib.metadata
import runpy
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidcost.bench.count.counter import count
from vidcost.bench.count.reconcile import flops, reconcile_network
from vidcost.bench.count.references import reference
from vidcost.bench.count.references.asking import ALL, OPTIONAL, REFERENCE_COUNTERS, ask_about
from vidcost.bench.count.references.reference import Term

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
    """Functions that some counters count as a whole: two einsums, a broadcast product, a pool."""

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
    "norms": (NORMS, (2, 3, 11, 5, 7)),
    "RMSNorm": (nn.Sequential(nn.Linear(5, 7), nn.RMSNorm(7)), (3, 5)),
}


def counted(name):
    # a copy: thop leaves hooks in layers with two owners
    model, shape = copy.deepcopy(NETWORKS[name])
    return model, count(model, torch.randn(shape))


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
        # 10 maps: 5x6 outputs; 3x2 of 5/3 x 6/2 + 1, or of 1x3 + 1; 1 of 3x2 + 1
        (
            *("thop", "average pools"),
            {
                "average pooling, 1 per output element": 300,
                "adaptive pooling, kernel + 1 per output element": 10 * (36 + 7),
            },
        ),
        ("fvcore", "average pools", {"adaptive 2D pooling, 1 per element": 10 * (30 + 6)}),
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
        # 2x5x11 outputs of 3x2 products; 2x5x7 of 11
        (
            *("thop-2020", "functions"),
            {
                "convolutions called as functions unseen": -660,
                "products with bare parameters unseen": -770,
            },
        ),
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
        # the layers' products alone: an LSTM with 2 layers of 2 directions, a GRU, an RNN
        (
            *("fvcore", "recurrent"),
            {"recurrent layers unseen": -13 * (2 * 8 * (13 + 6) + 9 * 7 + 2 * 5)},
        ),
        ("fvcore", "RMSNorm", {}),
        ("ptflops-aten", "biased convolution", {"bias of convolutions, 1 per output element": 216}),
        # 6 x 7 outputs of the layer with a bias
        ("ptflops-aten", "linear layers", {"bias of linear layers, 1 per output element": 42}),
        (
            "ptflops-aten",
            "products",
            {"baddbmm unseen": -90, "mv unseen": -15, "dot unseen": -5, "addbmm unseen": -90},
        ),
        # batches of 2 instead of 2 x 3 rows: 2 x (35 + 7) and 2 x 14 for 6 x 35 and 6 x 14
        ("torchinfo", "linear layers", {"parameters of Linear, times the first axis": 112 - 294}),
        (
            "torchinfo",
            "biased convolution",
            {"parameters of Conv3d, times batch and positions": 216},
        ),
        ("torchinfo", "products", {"products outside of linear layers unseen": -290}),
        # 10 maps: 5x6 windows of 4; 3x2 of 2, 3 or 2 by 3; one of 3x2; and the outputs
        (
            *("ultralytics-thop", "average pools"),
            {
                "average pooling, 1 per element of a window and 1 per output": 10
                * (5 * 6 * 4 + 30),
                "adaptive pooling, 1 per element of a window and 1 per output": 10
                * ((2 + 3 + 2) * 6 + 6 + 6 + 1),
            },
        ),
        ("ultralytics-thop", "fused attention", {}),
        ("ultralytics-thop", "transposed convolution", {}),
        ("ultralytics-thop", "RMSNorm", {"RMSNorm, 4 per element": 84}),
        ("thop-2020", "a lone layer", {"a layer that is the whole network unseen": -105}),
        ("thop", "a lone layer", {}),
    ],
)
def test_terms_by_hand(convention, name, expected):
    found = ALL[convention].explain(*counted(name)).flops.terms
    assert expected == {term.name: term.amount for term in found}


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
    network = counted(name)
    explained = {name: each.explain(*network) for name, each in REFERENCE_COUNTERS.items()}
    assert expected == explained["thop"].params.terms
    assert () == explained["fvcore"].params.terms
    assert None is explained["torch"].params


def test_flops_by_convention():
    network = counted("linear layers")
    assert {294} == {flops(name, *network) for name in ("macs", *REFERENCE_COUNTERS)}
    with pytest.raises(ValueError, match="no counter 'x': choose from fvcore, thop"):
        flops("x", *network)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_counter_prints_what_is_explained(name):
    model, shape = copy.deepcopy(NETWORKS[name])
    entries = reconcile_network(name, model, (torch.randn(shape),))
    assert 7 == len(entries)
    assert [] == [line for entry in entries for line in entry.complaints]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONAL)
def test_optional_counters_print_what_is_explained(name, optional_counters):
    for network, (model, shape) in copy.deepcopy(NETWORKS).items():
        if (name, network) == ("torchinfo", "two owners"):
            # it counts the parameters of a layer again in some of its owners
            continue
        entries = reconcile_network(network, model, (torch.randn(shape),), (name,))
        assert [] == [line for entry in entries for line in entry.complaints]
    # the installed thop is there as before
    assert "answered" == ask_about("thop", *nested()).status


class Nested(nn.Module):
    """A convolution to 5 channels, BatchNorm, and a product of two activations, in a dict."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, bias=False)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x, y):
        out = self.norm(self.conv(x))
        return {"scores": [out.flatten(2) @ y], "note": "no tensor"}


CONV = 5 * 11 * 5 * 3 * 9
NORM = 5 * 11 * 5
PRODUCT = 5 * 55 * 7


def nested():
    return Nested(), (torch.randn(1, 3, 13, 7), torch.randn(1, 55, 7))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("fvcore", {"convolutions": CONV, "BatchNorm": 2 * NORM, "products": PRODUCT}),
        ("thop", {"convolutions": CONV, "BatchNorm": 4 * NORM}),
        ("thop-2020", {"convolutions": CONV, "BatchNorm": 2 * NORM}),
        ("torch", {"convolutions": CONV, "products": PRODUCT}),
    ],
)
def test_a_network_of_two_inputs_with_a_nested_output(name, parts):
    model, inputs = nested()
    model.norm.eval()
    answer = ask_about(name, model, inputs)
    assert ("answered", "") == (answer.status, answer.error)
    assert (sum(parts.values()), parts) == (answer.flops, answer.parts)
    assert (None if name == "torch" else 3 * 5 * 9 + 10) == answer.params
    # the modes stay
    assert (True, False) == (model.training, model.norm.training)


@pytest.mark.parametrize("name", REFERENCE_COUNTERS)
def test_a_network_that_raises_is_an_answer(name):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("two\nlines")

    answer = ask_about(name, Broken(), (torch.ones(1),))
    assert ("crashed", None) == (answer.status, answer.flops)
    assert "RuntimeError: two lines" == answer.error


@pytest.mark.parametrize("owners", [["ultralytics-thop"], ["thop", "ultralytics-thop"]])
def test_another_package_of_the_same_import_name_is_rejected(monkeypatch, owners):
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {"thop": owners})
    answer = ask_about("thop", *nested())
    assert ("missing", None) == (answer.status, answer.flops)
    assert answer.error == (
        f"module thop belongs to {', '.join(owners)}, not to thop alone: "
        "`pip uninstall` the other, then `pip install --force-reinstall thop`"
    )


def test_an_optional_counter_says_where_to_install_it(monkeypatch, cache_folder):
    monkeypatch.setattr(reference, "version", lambda *_: "not installed")
    answer = ask_about("ultralytics-thop", *nested())
    folder = cache_folder.parent / "counters" / "ultralytics-thop"
    assert ("missing", None) == (answer.status, answer.flops)
    assert answer.error == (
        "ultralytics-thop is not installed: "
        f"`pip install --no-deps --target {folder} ultralytics-thop` installs it"
    )


def test_a_counter_that_is_not_installed_leaves_the_others(monkeypatch):
    # None in sys.modules is an import that fails as if there were no such module
    monkeypatch.setitem(sys.modules, "fvcore", None)
    answer = ask_about("fvcore", *nested())
    assert ("missing", None) == (answer.status, answer.flops)
    assert "fvcore is not installed: `pip install 'vidcost[reference]'` installs it" == answer.error
    entries = reconcile_network("mine", *nested())
    assert [None, None] == [e.printed for e in entries if e.counter == "fvcore"]
    assert {"answered"} == {e.status for e in entries if e.counter != "fvcore"}


def test_einsum_as_numpy_rounds_it_is_a_term():
    # 2 of 7x11x13 by 3 are 6,006 products, printed twice as 1.201e+04; half of that is 6,005
    class Rounded(nn.Module):
        def forward(self, x, y):
            return torch.einsum("bijk,blk->bijl", x, y)

    found = count(Rounded(), torch.zeros(2, 7, 11, 13), torch.zeros(2, 3, 13))
    assert 6_006 == found.total.macs
    (term,) = REFERENCE_COUNTERS["fvcore"].explain(Rounded(), found).flops.terms
    assert ("einsum, as numpy rounds it", "products", -1) == (term.name, term.part, term.amount)
