"""Rules of single operators by hand, and rules that users add."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.flop_counter import flop_registry, register_flop_formula

import vidcost
from vidcost.bench.count import rules
from vidcost.bench.count.counter import UncountedOperator, count
from vidcost.bench.count.operators import Calls
from vidcost.models.cost import Cost


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        # 3 x 5 inputs into 7 outputs: x A for each, then times y
        (lambda x, y, w: F.bilinear(x, y, w), [(2, 3), (2, 5), (7, 3, 5)], 2 * 7 * (3 * 5 + 5)),
        # squares of differences: 3 x 7 pairs of 5; 29 x 31, which torch takes as a product
        (torch.cdist, [(2, 3, 5), (2, 7, 5)], 2 * 3 * 7 * 5),
        (torch.cdist, [(29, 5), (31, 5)], 29 * 31 * 5),
        # elimination of 5 rows: 16 + 9 + 4 + 1; a triangle: 4 + 3 + 2 + 1 for each of 3 columns
        (torch.linalg.lu_factor, [(2, 5, 5)], 2 * 30),
        (torch.linalg.solve, [(2, 5, 5), (2, 5, 3)], 2 * (30 + 2 * 10 * 3)),
        (torch.linalg.solve, [(5, 5), (5,)], 30 + 2 * 10),
        (torch.linalg.inv, [(5, 5)], 30 + 2 * 10 * 5),
        (torch.linalg.det, [(5, 5)], 30),
        (lambda a, b: torch.linalg.solve_triangular(a, b, upper=True), [(5, 5), (5, 3)], 30),
        # row i takes i products for each of its entries: 0 + 1 x 4 + 2 x 3 + 3 x 2 + 4 x 1
        (lambda a: torch.linalg.cholesky(a), [(5, 5)], 20),
    ],
)
def test_products_of_activations(function, shapes, expected, device):
    # of full rank, or a solver fails
    inputs = (torch.eye(*s[-2:]).expand(s) if len(s) > 1 else torch.ones(s) for s in shapes)
    assert expected == count(Calls(function), *(x.to(device) for x in inputs)).total.matmul


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(
    ("function", "shape", "macs"),
    [
        # 3 transforms of 16 points: half of 5 x 16 x 4, and half of that with a real side
        (lambda x: torch.fft.fft(x + 0j), (3, 16), 3 * 160),
        (torch.fft.rfft, (3, 16), 3 * 80),
        (lambda x: torch.fft.irfft(x + 0j), (3, 9), 3 * 80),
        # a plane of 8 x 16 = 128 points: log2 is 7
        (torch.fft.rfft2, (3, 8, 16), 3 * 128 * 5 * 7 // 4),
        # rounded down
        (torch.fft.rfft, (7,), math.floor(5 * 7 * math.log2(7) / 4)),
    ],
)
def test_fourier_transforms(function, shape, macs, device):
    assert macs == count(Calls(function), torch.zeros(shape, device=device)).total.linear


def test_experts_take_one_matrix_a_row_or_column():
    ends = torch.tensor([3, 16], dtype=torch.int32)
    experts = Calls(lambda a, b: torch._grouped_mm(a, b, offs=ends))
    # 16 rows of 8 to 24; 24 rows of 8 to 16 columns; 8 x 16 by 16 x 24 in groups of the 16
    for left, right in [((16, 8), (2, 8, 24)), ((2, 24, 8), (8, 16)), ((8, 16), (16, 24))]:
        operands = (torch.zeros(shape, dtype=torch.bfloat16) for shape in (left, right))
        assert Cost(matmul=16 * 8 * 24) == count(experts, *operands).total


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
def test_quantized_layers():
    torch.backends.quantized.engine = "fbgemm"
    weight = torch.quantize_per_tensor(torch.ones(7, 5), 1.0, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(weight, None)
    dynamic = Calls(lambda x: torch.ops.quantized.linear_dynamic(x, packed))
    assert Cost(linear=3 * 7 * 5) == count(dynamic, torch.zeros(3, 5)).total


@pytest.fixture
def vision():
    """Operators of torchvision, from shapes alone, if it is not installed."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    if not hasattr(torch.ops.torchvision, "nms"):
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("roi_align(Tensor input, Tensor rois, int height, int width) -> Tensor")
        library.define("deform_conv2d(Tensor input, Tensor weight, Tensor offset) -> Tensor")
        library.impl("nms", lambda boxes, scores, threshold: scores, "CPU")
        library.impl(
            "roi_align", lambda x, boxes, h, w: x.new_zeros(len(boxes), x.shape[1], h, w), "CPU"
        )
        library.impl("deform_conv2d", lambda x, weight, offset: F.conv2d(x, weight), "CPU")
    yield torch.ops.torchvision
    library._destroy()


def test_operators_of_torchvision(vision):
    def detect(x, w, offset):
        # 3 x 5 x 7 x 9 weights and places
        y = vision.deform_conv2d(x, w, offset)
        pooled = vision.roi_align(y, x.new_zeros(11, 5), 2, 3)
        return pooled[vision.nms(x.new_zeros(11, 4), x.new_zeros(11), 0.5).long()]

    found = count(Calls(detect), torch.zeros(1, 3, 9, 11), torch.zeros(5, 3, 3, 3), torch.zeros(1))
    assert Cost(conv=5 * 7 * 9 * 27, pool=11 * 5 * 2 * 3) == found.total


def test_packed_sequences_and_windows_are_free():
    def function(x):
        packed = pack_padded_sequence(x, torch.tensor([3, 2]), batch_first=True)
        return packed.data * torch.hann_window(5) * torch.blackman_window(5)

    found = count(Calls(function), torch.zeros(2, 3, 5))
    # 3 + 2 steps, twice
    assert (Cost(), 2 * 25) == (found.total, found.multiply)


@pytest.fixture
def scan():
    """An operator of another library; the tables of rules are afterwards as they were."""
    tables = rules.RULES, rules.FREE, rules.USERS
    before = [table.copy() for table in tables]

    @torch.library.custom_op("vidcost_test::scan", mutates_args=())
    def scan(x: torch.Tensor, w: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        return x @ w * scale

    scan.register_fake(lambda x, w, *, scale=1.0: x @ w)
    yield lambda x, w: scan(x, w, scale=2.0)
    flop_registry.pop(torch.ops.vidcost_test.scan, None)
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


SCAN = "vidcost_test::scan"


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_users_rules(scan, device):
    model = nn.Sequential(nn.Linear(5, 5, bias=False), Calls(scan, (5, 7))).to(device)
    x = torch.zeros(3, 5, device=device)
    with pytest.raises(
        UncountedOperator, match=rf"^no counting rule for operator {SCAN} \(in 1\):"
    ):
        count(model, x)

    @vidcost.rule(SCAN)
    def macs(x, w, scale, *, out):
        assert (2.0, (3, 7)) == (scale, tuple(out.shape))
        return x.numel() * w.shape[-1]

    assert Cost(params=60, linear=75 + 105) == count(model, x).total
    assert ("vidcost_test::scan", "user") == (
        *(count(model, x).operations[-1].operator,),
        *(count(model, x).operations[-1].rule,),
    )
    assert Cost(matmul=105) == count(Calls(scan), x, x.new_zeros(5, 7)).total
    # again, with several quantities
    vidcost.rule(SCAN)(lambda x, w, scale, out: Cost(matmul=11, activation=13))
    assert Cost(matmul=11, activation=13) == count(Calls(scan), x, x.new_zeros(5, 7)).total


def test_an_operator_that_a_user_calls_free(scan):
    vidcost.rule(SCAN)(lambda *args, out: 3)
    vidcost.free(SCAN)
    assert Cost() == count(Calls(scan), torch.zeros(3, 5), torch.zeros(5, 7)).total


def test_an_operator_of_torch_without_a_rule_can_get_one(scan):
    vidcost.rule("aten::linalg_qr")(lambda x, *options, out: x.numel())
    assert Cost(matmul=15) == count(Calls(torch.linalg.qr), torch.zeros(3, 5)).total


def test_torchs_formulas_are_honoured_and_labelled(scan):
    @register_flop_formula(torch.ops.vidcost_test.scan)
    def flops(x_shape, w_shape, *args, out_shape=None, **kwargs):
        return 2 * math.prod(out_shape) * x_shape[-1]

    found = count(Calls(scan, (5, 7)), torch.zeros(3, 5))
    (operation,) = found.operations
    assert ("linear", 105, "torch") == (operation.kind, operation.amount, operation.rule)


@pytest.mark.parametrize("add", [vidcost.rule, vidcost.free])
@pytest.mark.parametrize(
    ("operator", "message"),
    [
        ("scan", r'^an operator is "library::name", not \'scan\'$'),
        ("aten::mm", r"^aten::mm has a counting rule already$"),
    ],
)
def test_a_name_that_cannot_get_a_rule_is_rejected(add, operator, message):
    with pytest.raises(ValueError, match=message):
        add(operator)


def test_a_rule_that_returns_something_else_is_named(scan):
    vidcost.rule(SCAN)(lambda *args, out: 1.5)
    with pytest.raises(ValueError, match=rf"^the rule of {SCAN} returns MACs or a Cost, not 1\.5$"):
        count(Calls(scan), torch.zeros(3, 5), torch.zeros(5, 7))
