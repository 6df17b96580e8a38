"""The reference counters: their conventions by hand, and the integers that they print."""

import copy
import importlib.metadata
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conformance.operators import Calls
from packaging.version import Version
from torch import nn

from vidcost.bench.count.counter import count
from vidcost.bench.count.reconcile import reconcile_network
from vidcost.bench.count.references.asking import ALL, OPTIONAL, REFERENCE_COUNTERS, ask_about
from vidcost.bench.count.references.reference import Term, version

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[2]
SCRIPT = HERE / "run_thop_2020.py"
THOP_2020 = runpy.run_path(str(SCRIPT))


def products(x):
    """Products of two activations, and what adds to one: 2x3x5 and 2x5x7."""
    y = x.transpose(1, 2)
    z = torch.baddbmm(x @ y, x, y)
    return z, torch.mv(x[0], x[0, 0]), torch.dot(x[0, 0], x[1, 1]), torch.addbmm(z[0], x, y)


def attention(x):
    """A product, fused attention from 5 queries to 11 keys of width 7, another product."""
    y = x @ x.transpose(-1, -2) @ x
    z = F.scaled_dot_product_attention(y[:, :, :5], y, y, attn_mask=torch.zeros(5, 11))
    return z @ z.transpose(-1, -2)


def functions(x, weight, matrix):
    """A convolution, a linear layer and a BatchNorm called as functions."""
    y = F.linear(F.conv1d(x, weight), matrix)
    return F.batch_norm(y, torch.zeros(5), torch.ones(5))


def whole(x):
    """Functions that some counters count as a whole: two einsums, a broadcast product, a pool."""
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


class Transformer(nn.Module):
    """Attention that returns its weights, and a layer that does not."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(14, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(14, 2, 11, batch_first=True)
        self.scale = nn.Parameter(torch.ones(14))

    def forward(self, x):
        y, weights = self.attention(x, x, x)
        z = self.layer(y * self.scale + x)
        return torch.matmul(weights, z).mul(2), weights.matmul(z), F.gelu(x) @ z.mT


class Activations(nn.Module):
    """Activations and pools as layers and functions."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.GELU())

    def forward(self, x):
        y = F.avg_pool2d(F.relu(self.layers(x)), 2)
        return F.softmax(y, 1).mean(), torch.addmm(y[0, 0], y[0, 0], y[0, 0]), torch.add(y, y[0])


class Unused(nn.Module):
    """Layers for nothing: what they return is dropped."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(7, 5), nn.LayerNorm(7)])
        self.head = nn.Linear(7, 11)

    def forward(self, x):
        for layer in self.layers:
            layer(x)
        return self.head(x), (x * 2).relu_()


class Experts(nn.Module):
    """Rows that take one of three matrices each, in half precision."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 8, 16, dtype=torch.bfloat16))

    def forward(self, x):
        ends = torch.tensor([2, 5, 11], dtype=torch.int32, device=x.device)
        return torch._grouped_mm(x.bfloat16(), self.weight, offs=ends)


PADDED = nn.Sequential(
    nn.Conv2d(3, 5, 3, padding="valid"),
    nn.Conv2d(5, 5, 3, padding="same"),
    nn.Conv2d(5, 2, (1, 3), padding="same"),
)
NORMS = nn.Sequential(
    nn.InstanceNorm3d(3, affine=True),
    nn.InstanceNorm3d(3),
    nn.GroupNorm(3, 3, affine=False),
    nn.BatchNorm3d(3, track_running_stats=False),
    nn.LayerNorm(7),
    nn.LayerNorm(7, elementwise_affine=False),
)
NETWORKS = THOP_2020["NETWORKS"] | {
    "products": (Calls(products), (2, 3, 5)),
    "functions": (Calls(functions, (5, 3, 2), (7, 11)), (2, 3, 12)),
    "fused attention": (Calls(attention), (2, 3, 11, 7)),
    "functions as a whole": (Calls(whole), (2, 3, 5, 7)),
    "resampled": (Resampled(), (2, 3, 5, 7)),
    "norms": (NORMS, (2, 3, 11, 5, 7)),
    "RMSNorm": (nn.Sequential(nn.Linear(5, 7), nn.RMSNorm(7)), (3, 5)),
    "rounded einsum": (
        Calls(lambda x: torch.einsum("bijk,blk->bijl", x, x.flatten(1, 2)[:, :3])),
        (2, 7, 11, 13),
    ),
    "transformer": (Transformer(), (2, 5, 14)),
    "activations and pools": (Activations(), (2, 3, 18, 18)),
    "linear function": (nn.Sequential(Calls(lambda *x: F.linear(*x), (7, 5), (7,))), (3, 5)),
    "unused": (Unused(), (2, 3, 7)),
    "experts": (Experts(), (11, 8)),
    "attention alone": (Calls(lambda x: F.scaled_dot_product_attention(x, x, x)), (2, 3, 11, 7)),
    "attention layers": (
        nn.Sequential(nn.TransformerEncoderLayer(14, 2, 11, batch_first=True)),
        (2, 5, 14),
    ),
    "padding by name": (PADDED, (2, 3, 11, 13)),
    "a lone LSTM": (nn.LSTM(5, 3, batch_first=True), (2, 7, 5)),
    "a lone GRU": (nn.GRU(5, 3), (2, 7, 5)),
}


def counted(name):
    # a copy: thop leaves hooks in layers with two owners
    model, shape = copy.deepcopy(NETWORKS[name])
    return model, count(model, torch.randn(shape))


UNSEEN = {"baddbmm unseen": -90, "mv unseen": -15, "dot unseen": -5, "addbmm unseen": -90}
BIAS = {"bias of convolutions, 1 per output element": 216}
BY_HAND = {
    # 2 clips of 4x3x3x3 outputs
    "biased convolution": {
        "fvcore": {},
        "thop": {},
        "thop-2020": BIAS,
        "ptflops-aten": BIAS,
        "torchinfo": {"parameters of Conv3d, times batch and positions": 216},
    },
    # per output element, 2x4x11x15 of 3x9, and not per input element, 2x6x5x7 of 2x9
    "transposed convolution": {
        "thop": {"transposed convolutions, per output element": 1320 * 27 - 420 * 18},
        "ultralytics-thop": {},
        # as if there were one group, and as if there were four
        "torchprofile": {"transposed convolutions, per output element": 1320 * 54 - 420 * 18},
        "calflops": {"transposed convolutions, groups twice": -420 * 9},
    },
    "BatchNorm without parameters": {
        "fvcore": {"BatchNorm, 1 per element": 210, "BatchNorm, 2 per element": 420},
        "thop": {"BatchNorm, 2 per element": 420, "BatchNorm, 4 per element": 840},
    },
    # 10 maps: 5x6 outputs; 3x2 of 5/3 x 6/2 + 1, or of 1x3 + 1; 1 of 3x2 + 1
    "average pools": {
        "fvcore": {"adaptive 2D pooling, 1 per element": 10 * (30 + 6)},
        "thop": {
            "average pooling, 1 per output element": 300,
            "adaptive pooling, kernel + 1 per output element": 10 * (36 + 7),
        },
        # 5x6 windows of 4; 3x2 of 2, 3 or 2 by 3; one of 3x2; and the outputs
        "ultralytics-thop": {
            "average pooling, 1 per element of a window and 1 per output": 10 * (5 * 6 * 4 + 30),
            "adaptive pooling, 1 per element of a window and 1 per output": 10 * (42 + 6 + 6 + 1),
        },
    },
    "activations": {"thop": {"leaky activations, 1 per element": 15}},
    "softmax and norms without a rule": {
        "fvcore": {"LayerNorm, 5 per element": 350, "GroupNorm, 5 per element": 350},
        "thop": {
            "softmax modules, 3 per element less 1 per row": 10 * 20,
            "LayerNorm, 4 per element": 280,
        },
    },
    # 2 x 3x3x5; 3x5, 5 and 2 x 3x5x3 are no matrix products to some
    "products": {
        "fvcore": UNSEEN,
        "ptflops-aten": UNSEEN,
        "thop": {"attention products unseen": -290},
        "torchinfo": {"products outside of linear layers unseen": -290},
    },
    "fused attention": {
        "fvcore": {"SDPA unseen": -6 * 2 * 5 * 11 * 7},
        "ultralytics-thop": {},
        "deepspeed": {},
        "torchprofile": {},
    },
    # 2x5x11 outputs of 3x2 products; 2x5x7 of 11
    "functions": {
        "thop-2020": {
            "convolutions called as functions unseen": -660,
            "products with bare parameters unseen": -770,
        }
    },
    # 2 clips of 5x5 products of 7 for 3 maps, and the first operand alone is 1 map; of the einsums
    # numpy's four digits hold every one
    "functions as a whole": {
        "fvcore": {
            "broadcast products, the first operand as given": 2 * 5 * 7 * 5 * (1 - 3),
            "adaptive 2D pooling, 1 per element": 2 * 3 * 5 * 5,
        }
    },
    # 6 maps of 10x14 by smoothing, of 20x28 by copying; 6 of 5x7 on a grid of 2 x 35 points, each
    # with two coordinates from three products
    "resampled": {
        "fvcore": {
            "affine_grid_generator unseen": -2 * 35 * 2 * 3,
            "2D resampling, 4 per output element": 4 * 840,
            "2D resampling, 1 per output element": 3360,
            "grid sampling, 4 per output element": 4 * 210,
        }
    },
    # the layers' products alone: an LSTM with 2 layers of 2 directions, a GRU, an RNN
    "recurrent": {
        "fvcore": {
            "LSTM unseen": -13 * 2 * 8 * (13 + 6),
            "GRU unseen": -13 * 9 * 7,
            "RNN unseen": -13 * 2 * 5,
        }
    },
    "RMSNorm": {"fvcore": {}, "ultralytics-thop": {"RMSNorm, 4 per element": 84}},
    # 6 x 7 outputs of the layer with a bias
    "linear layers": {
        "ptflops-aten": {"bias of linear layers, 1 per output element": 42},
        # batches of 2 instead of 2 x 3 rows: 2 x (35 + 7) and 2 x 14 for 6 x 35 and 6 x 14
        "torchinfo": {"parameters of Linear, times the first axis": 112 - 294},
    },
    "a lone layer": {"thop": {}, "thop-2020": {"a layer that is the whole network unseen": -105}},
    # 2 of 7x11x13 by 3 are 6,006 products, printed twice as 1.201e+04; half of that is 6,005
    "rounded einsum": {"fvcore": {"einsum, as numpy rounds it": -1}},
    # on 2 x 5 tokens: attention with 4 maps of 5x5 of width 7, and a layer with the same and 11
    # hidden units; then three products of 5x5 with 5x14
    "transformer": {
        "fvcore": {"SDPA unseen": -1400, "LayerNorm, 5 per element": 5 * 280},
        "calflops": {"bmm unseen": -1400, "SDPA unseen": -1400, "@ unseen": -700},
        "deepspeed": {},
        "torchprofile": {
            "norms with parameters, 1 per element": 280,
            "means and average pooling, 1 per output element": 2 * 5 * 5,
            "multiplications element by element, 1 each": 3 * 140,
        },
        "ptflops": {
            "bias of linear layers, 1 per output element": 20 * (42 + 14) + 10 * (11 + 14),
            "softmax in attention layers, 1 per element": 2 * 4 * 25,
            "attention layers, scaling 1 per element": 2 * 140,
            "LayerNorm, 1 per element": 280,
            "attention products unseen": -700,
            "bmm as a function": 1400,
            **dict.fromkeys(("mul as a function", "gelu as a function"), 140),
            "softmax as a function": 4 * 25,
            "layers, the mean over the batch": -(2 * 9240 + 3080 + 1370 + 200 + 560) // 2,
        },
    },
    # 2 x 5 maps of 16x16, 8x8 and 4x4
    "activations and pools": {
        "torchprofile": {"means and average pooling, 1 per output element": 160 + 1},
        "ptflops": {
            "bias of convolutions, 1 per output element": 2560,
            "activation layers, 1 per element": 2560 + 640,
            "pooling layers, 1 per element that goes in": 2560,
            "relu as a function": 2560 + 640,
            "gelu as a function": 640,
            "max_pool2d as a function": 2560,
            "avg_pool2d as a function": 640,
            "softmax as a function": 160,
            "addmm as a function": 16,
            # 2x5x4x4 and 5x4x4, as if their first axes were the same
            "add as a function": 5 * 5 * 4 * 4,
            "layers, the mean over the batch": -(2560 * (27 + 1) + 3200 + 2560) // 2,
        },
    },
    "unused": {
        "fvcore": {"what no output needs unseen": -2 * 3 * 7 * 5},
        "thop": {"LayerNorm, 4 per element": 4 * 42},
        "torch": {},
    },
    # 11 rows, with one matrix of 8 x 16 each
    "experts": {
        **{n: {"_grouped_mm unseen": -11 * 8 * 16} for n in ("fvcore", "torch", "ptflops-aten")},
        "thop": {"products with bare parameters unseen": -11 * 8 * 16},
    },
    # 3 to 5 maps of 9x11 with 3x3, 5 to 5, 5 to 2 with 1x3; two clips
    "padding by name": {
        "fvcore": {"convolutions padded by name unseen": -2 * 99 * (135 + 225 + 30)},
        "thop": {},
    },
    # 2 x 7 steps of 4 x 3 gates, from 5 and 3; biases and 4 operations per element of the state
    "a lone LSTM": {
        "fvcore": {"LSTM unseen": -14 * 12 * 8},
        "thop": {
            "recurrent layers, their products alone": -14 * 12 * 8,
            "recurrent layers, gates and states too": 14 * (12 * (8 + 3) + 4 * 3),
        },
        "thop-2020": {"a layer that is the whole network unseen": -14 * 12 * 8},
    },
    # with a bias it is addmm
    "linear function": {
        "ultralytics-thop": {},
        "thop": {"products with bare parameters unseen": -105},
    },
}


@pytest.mark.parametrize("name", BY_HAND)
def test_terms_by_hand(name):
    network = counted(name)
    for convention, expected in BY_HAND[name].items():
        found = ALL[convention].explain(*network)["flops"].terms
        assert expected == {term.name: term.amount for term in found}, convention


@pytest.mark.parametrize(("name", "fact"), THOP_2020["FACTS"].items())
def test_thop_of_may_2020_by_the_integers_of_that_version(name, fact):
    explained = ALL["thop-2020"].explain(*counted(name))
    assert fact == [explained["flops"].total, explained["params"].total]


@pytest.mark.slow
def test_the_facts_are_what_its_wheel_answers(tmp_path, committed):
    """And so are the committed answers on every row, which another test explains."""
    folder = tmp_path / "thop-2020"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes")
    subprocess.run(
        [*pip, "--target", str(folder), "-r", str(HERE / "thop-2020.txt")],
        check=True,
        # the constraint is for the other thop
        env=os.environ | {"PIP_CONSTRAINT": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    ran = subprocess.run(
        [sys.executable, str(SCRIPT)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder)},
    )
    said = json.loads(ran.stdout)
    assert Path(said["from"]).is_relative_to(folder)
    rows = {row: record.reference_counters["thop-2020"] for row, record in committed.items()}
    stored = {row: [answer.flops, answer.params] for row, answer in rows.items()}
    # a row of another paper was not asked about
    assert said["answers"].items() <= (THOP_2020["FACTS"] | stored).items()
    assert said["answers"].keys() > THOP_2020["FACTS"].keys()


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
    assert expected == explained["thop"]["params"].terms
    assert () == explained["fvcore"]["params"].terms
    assert ["flops"] == [*explained["torch"]]


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
    assert "answered" == ask_about("thop", *small()).status


def small():
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7)), (torch.randn(3, 5),)


@pytest.mark.parametrize("name", REFERENCE_COUNTERS)
def test_a_network_that_raises_is_an_answer_and_modes_stay(name):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("two\nlines")

    answer = ask_about(name, Broken(), (torch.ones(1),))
    assert ("crashed", None) == (answer.status, answer.flops)
    assert "RuntimeError: two lines" == answer.error
    model, inputs = small()
    model[1].eval()
    # 3 x 5 x 7, and BatchNorm
    weight = {"fvcore": 2, "thop": 4, "thop-2020": 2, "torch": 0}[name]
    assert 105 + weight * 21 == ask_about(name, model, inputs).flops
    assert (True, False) == (model.training, model[1].training)


@pytest.mark.parametrize(
    ("name", "owners", "error"),
    [
        *(
            (
                "thop",
                owners,
                f"module thop belongs to {', '.join(owners)}, not to thop alone: `pip uninstall` "
                "the other, then `pip install --force-reinstall thop`",
            )
            for owners in (["ultralytics-thop"], ["thop", "ultralytics-thop"])
        ),
        (
            *("ultralytics-thop", ["thop"]),
            "ultralytics-thop is not installed: `pip install --no-deps --target "
            "{folder}/ultralytics-thop ultralytics-thop` installs it",
        ),
        (
            *("fvcore", []),
            "fvcore is not installed: `pip install 'vidcost[reference]'` installs it",
        ),
    ],
)
def test_a_counter_that_is_missing_says_how_to_install_it(
    monkeypatch, cache_folder, name, owners, error
):
    packages = {ALL[name].package: owners}
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: packages)
    answer = ask_about(name, *small())
    assert ("missing", None) == (answer.status, answer.flops)
    assert error.format(folder=cache_folder.parent / "counters") == answer.error


def test_a_counter_that_is_not_installed_leaves_the_others(monkeypatch):
    # None in sys.modules is an import that fails as if there were no such module
    monkeypatch.setitem(sys.modules, "fvcore", None)
    entries = reconcile_network("mine", *small())
    assert [None, None] == [e.printed for e in entries if e.counter == "fvcore"]
    assert {"answered"} == {e.status for e in entries if e.counter != "fvcore"}


@pytest.mark.slow
def test_the_committed_conformance_is_what_the_counters_say_now(optional_counters, tmp_path):
    pins = (CHECKOUT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in pins if "==" in line)
    for name in ("torch", "fvcore", "thop"):
        # a version may write .post1 or -1
        if Version(version(name)).public != Version(pinned[name]).public:
            pytest.skip(f"{name} is not the version of constraints.txt, other figures are right")
    command = [sys.executable, CHECKOUT / "tools/conformance", "--results", tmp_path]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    name = "conformance.md"
    assert (tmp_path / name).read_text() == (CHECKOUT / "results" / name).read_text(), (
        "stale: `python tools/conformance` writes results/conformance.md anew"
    )
