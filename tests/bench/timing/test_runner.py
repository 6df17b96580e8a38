"""What a cell times: as it is built, and passes of it, of one side or of a pair."""

import pytest
import torch
from torch import nn

from vidcost.bench.timing.build import Built, build
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.clock import HostClock
from vidcost.bench.timing.figures import pair_figures
from vidcost.bench.timing.plan import blocks_alone
from vidcost.bench.timing.runner import Runner

CELL = Cell(row="mine", phase="training")
SMALL = {"row": "mfnet-nl", "frames": 4, "size": 64, "classes": 7}
BLOCK = {"block": "nl", "shape": (8, 2, 3, 5)}
REFERENCE = Cell(**BLOCK)


def against(reference=REFERENCE, **fields):
    return Cell(**(BLOCK | {"block": "nl:impl=optimized"} | fields), against=reference)


def test_the_same_seed_gives_the_same_numbers_and_no_zeros():
    first, again, other = (build(Cell(**SMALL), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.inputs[0], again.inputs[0])
    assert not torch.equal(first.inputs[0], other.inputs[0])
    assert first.inputs[0].abs().min() > 0
    weights = [dict(b.model.named_parameters())["conv1.conv.weight"] for b in (first, again)]
    assert torch.equal(*weights)


def test_a_pair_has_the_network_without_its_blocks():
    plain = Cell(**SMALL, blocks=())
    built = build(Cell(**SMALL, against=plain))
    blocks = [name for name, _ in built.model.named_modules() if name.endswith("after_B05")]
    assert ["conv4.after_B05"] == blocks
    bare = dict(built.reference.model.named_modules())
    assert "conv4.after_B05" not in bare
    assert "conv4.B06" in bare
    assert torch.equal(built.inputs[0], built.reference.inputs[0])
    assert build(plain).weights_bytes == built.reference.weights_bytes < built.weights_bytes


@pytest.mark.parametrize(
    ("dtype", "torchs"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.half)]
)
def test_weights_and_inputs_are_of_the_cells_type(dtype, torchs):
    built = build(Cell(block="cgnl", shape=(16, 2, 3, 5), dtype=dtype))
    assert {torchs} == {p.dtype for p in built.model.parameters()} | {built.inputs[0].dtype}


def test_channels_last():
    built = build(Cell(**SMALL, memory_format="channels_last_3d"))
    assert built.inputs[0].is_contiguous(memory_format=torch.channels_last_3d)
    kernels = [p for p in built.model.parameters() if p.dim() == 5]
    assert kernels
    assert all(p.is_contiguous(memory_format=torch.channels_last_3d) for p in kernels)
    built.model(*built.inputs)


class Sides(nn.Module):
    def __init__(self, log, name):
        super().__init__()
        self.log, self.name = log, name
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        self.log.append((self.name, torch.get_float32_matmul_precision()))
        return x * self.weight


def test_they_run_in_pairs_and_random_order_each_with_its_own_switches():
    # on a CPU there is no TF32, but the switch can be seen
    plain = Cell.model_construct(**REFERENCE.model_dump() | {"dtype": "fp32"})
    tf32 = Cell.model_construct(**REFERENCE.model_dump() | {"dtype": "tf32", "against": plain})
    log: list[tuple[str, str]] = []
    built = build(against())
    object.__setattr__(built, "model", Sides(log, "target"))
    object.__setattr__(built.reference, "model", Sides(log, "reference"))
    before = torch.get_float32_matmul_precision()
    try:
        taken = Runner(tf32, built, HostClock()).take(100)
    finally:
        torch.set_float32_matmul_precision(before)
    assert {"target", "reference"} == taken.keys()
    assert {("target", "high"), ("reference", "highest")} == set(log)
    pairs = [{log[k][0], log[k + 1][0]} for k in range(0, 200, 2)]
    assert all({"target", "reference"} == pair for pair in pairs)
    first = sum(log[k][0] == "target" for k in range(0, 200, 2))
    assert 20 < first < 80


def test_the_ratio_is_the_median_of_the_ratios_of_pairs(timed):
    # the second pass of both was disturbed, and their ratio was not
    target, reference = [1.0, 9.0, 1.0, 1.0, 1.0, 1.0], [2.0, 18.0, 2.2, 1.8, 2.0, 2.0]
    samples = {"target": tuple(target), "reference": tuple(reference)}
    shown = pair_figures(timed(against(), samples_s=samples))
    assert pytest.approx((0.5, 1 / 2.2, 1 / 1.8)) == tuple(
        shown[key] for key in ("ratio", "ratio_low", "ratio_high")
    )
    assert (1.0, 2.0, 6) == (shown["target_s"], shown["reference_s"], shown["n"])


def test_autocast_computes_in_half_precision_from_single():
    seen = []
    for phase in ("inference", "training"):
        cell = Cell(**BLOCK, dtype="bf16-autocast", phase=phase)
        built = build(cell)
        assert torch.float32 == built.inputs[0].dtype == next(built.model.parameters()).dtype
        built.model.operation.theta.register_forward_hook(lambda *args: seen.append(args[2].dtype))
        Runner(cell, built, HostClock()).step()
    assert [torch.bfloat16] * 2 == seen


def test_blocks_are_timed_in_one_implementation():
    expected = [("nl:impl=optimized", (8, 1, 4, 4))], []
    assert expected == blocks_alone(["nl"], ["8x1x4x4"], impl="optimized")


def test_inference_keeps_no_graph():
    seen = []

    class Model(nn.Module):
        def forward(self, x):
            seen.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
            return x

    cell = Cell(**BLOCK)
    Runner(cell, Built(Model(), (torch.zeros(2),)), HostClock()).step()
    assert [(True, False)] == seen


def test_a_block_is_trained_from_a_dense_random_gradient():
    """Not from that of a sum, which is the same number everywhere and takes no memory."""
    seen = []
    cell = Cell(**BLOCK, phase="training")
    built = build(cell)
    # the sum with the input is the last operator: it hands the gradient on as it came
    built.model.bn.register_full_backward_hook(lambda _, __, gradients: seen.append(gradients[0]))
    training = Runner(cell, built, HostClock())
    training.step()
    training.step()
    first, second = seen
    assert (1, 8, 2, 3, 5) == first.shape
    assert 240 == first.unique().numel()
    assert torch.equal(first, second)


def test_a_block_is_trained_as_inside_a_network():
    """Its input takes a gradient, which is freed before the next step."""
    cell = Cell(**BLOCK, phase="training")
    built = build(cell)
    taken = []
    built.inputs[0].register_hook(taken.append)
    Runner(cell, built, HostClock()).step()
    assert [built.inputs[0].shape] == [gradient.shape for gradient in taken]
    assert None is built.inputs[0].grad
    assert not build(Cell(**BLOCK)).inputs[0].requires_grad
    assert not build(Cell(**SMALL, phase="training")).inputs[0].requires_grad


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("is_pair", [False, True])
def test_what_is_timed_as_compiled_is_the_compiled_network(monkeypatch, phase, is_pair):
    passes = []

    def compile_(model, dynamic):
        def compiled(*inputs):
            passes.append(model)
            return model(*inputs)

        return compiled

    monkeypatch.setattr(torch, "compile", compile_)
    fields = SMALL | {"mode": "compile", "phase": phase}
    cell = Cell(**fields, against=Cell(**fields, blocks=()) if is_pair else None)
    built = build(cell)
    compiled = Runner(cell, built, HostClock())
    passes.clear()
    compiled.take(2)
    models = [built.model, built.reference.model] if is_pair else [built.model]
    assert [2] * len(models) == [sum(each is model for each in passes) for model in models]
    assert 2 * len(models) == len(passes)


class Returns(nn.Module):
    """Two vectors of parameters, put together by ``function``; keeps the gradients of each step."""

    def __init__(self, function):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(5))
        self.function = function
        self.seen = []
        self.a.register_post_accumulate_grad_hook(lambda p: self.seen.append(("a", p.grad.clone())))
        self.b.register_post_accumulate_grad_hook(lambda p: self.seen.append(("b", p.grad.clone())))

    def forward(self, x):
        return self.function(self.a * x, self.b * x)


def gradients(function, steps=1):
    model = Returns(function)
    runner = Runner(CELL, Built(model, (torch.ones(()),)), HostClock())
    for _ in range(steps):
        runner.step()
    return model.seen, runner


def test_every_output_that_needs_a_gradient_is_given_one():
    nested = [lambda a, b: {"a": [a], "b": (b, torch.ones(7), 3)}, lambda a, b: (b, [{"a": a}])]
    for function in nested:
        seen, runner = gradients(function)
        assert {"a", "b"} == {name for name, _ in seen}
        assert all(gradient.abs().min() > 0 for _, gradient in seen)
        # an input, momenta of 11 parameters and as many gradients to start from
        assert 4 * (1 + 11 + 11) == runner.held_bytes


def test_the_gradients_are_the_same_in_every_step():
    seen, _ = gradients(lambda a, b: [a, b], steps=2)
    by_name = {name: [g for other, g in seen if other == name] for name in "ab"}
    assert all(torch.equal(*both) for both in by_name.values())


def test_one_matrix_is_logits_and_starts_from_labels():
    seen, runner = gradients(lambda a, b: a)
    ((name, gradient),) = seen
    assert "a" == name
    # equal logits of two rows of three: a third each, less one at the label, over two rows
    assert sorted([1 / 6, 1 / 6, -1 / 3]) == pytest.approx(sorted(gradient[0].tolist()))
    # the input, momentum of a, two labels of 8 bytes
    assert 4 * (1 + 6) + 16 == runner.held_bytes


def test_nothing_to_start_from_is_said():
    with pytest.raises(ValueError, match=r"^no output needs a gradient: set requires_grad"):
        gradients(lambda a, b: {"a": a.detach()})
