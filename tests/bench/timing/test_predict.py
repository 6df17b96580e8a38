import pytest
import torch

from vidcost.bench.block_spec import with_impl
from vidcost.bench.timing.build import build
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.memory import measure_memory
from vidcost.bench.timing.predict import peak_bytes, predict, predict_without

SMALL = (6, 2, 5, 7)


def test_macs_are_those_of_the_batch():
    # 70 positions, 6 channels: 2 x 6^2 x 70 + 6 x 70^2 = 34,440 a clip
    predicted = predict(Cell(block="nl", shape=SMALL, batch=3))
    assert (103_320, 103_320) == (predicted.macs, predicted.macs_total)


def test_training_counts_the_backward_pass_too():
    # as inside a network, the block's input takes a gradient: every product counts once for each
    # of its operands
    predicted = predict(Cell(block="nl", shape=SMALL, phase="training"))
    convolution, products = 6 * 3 * 70, 6 * 70**2
    assert 34_440 == predicted.macs == 4 * convolution + products
    assert 3 * predicted.macs == predicted.macs_total


def test_a_row_is_counted_at_the_clip_of_the_cell():
    assert 11_045_296_128 == predict(Cell(row="mfnet")).macs
    # but for the classifier's 768 x 200, in proportion to the frames
    eight = predict(Cell(row="mfnet", frames=8, batch=5)).macs
    assert 5 * ((11_045_296_128 - 153_600) // 2 + 153_600) == eight


def test_the_other_side_of_a_share_is_the_row_without_blocks():
    assert 11_045_296_128 == predict_without(Cell(row="mfnet-pnl-x5", contribution=True)).macs
    with pytest.raises(ValueError, match="mfnet has no blocks"):
        predict_without(Cell(row="mfnet"))


def test_the_peak_of_a_block_by_hand():
    # when the product is made: the input and it, 6 x 70 x 4 bytes each, and seven vectors of six:
    # average, maximum, share, p, q, gate and 1 + gate
    assert 2 * 1680 + 7 * 24 == peak_bytes(Cell(block="cgd", shape=SMALL))


def test_the_peak_grows_with_the_batch_and_halves_with_the_type():
    one = peak_bytes(Cell(block="nl", shape=SMALL))
    assert 7 * one == peak_bytes(Cell(block="nl", shape=SMALL, batch=7))
    assert one == 2 * peak_bytes(Cell(block="nl", shape=SMALL, dtype="bf16"))
    layout = {"memory_format": "channels_last_3d"}
    assert one == peak_bytes(Cell(block="nl", shape=SMALL, **layout))
    assert one == peak_bytes(Cell(block="nl", shape=SMALL, device="cuda", dtype="tf32"))


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("block", ["nl", "nl:pairwise=gaussian"])
def test_optimized_blocks_are_predicted_without_the_matrix(block, phase):
    # 6,272 positions: the scores alone are 157 MB, which the reference's softmax doubles
    matrix = 4 * (32 * 14 * 14) ** 2
    reference, optimized = (
        peak_bytes(Cell(block=spec, shape=(384, 32, 14, 14), phase=phase))
        for spec in (block, with_impl(block, "optimized"))
    )
    assert optimized < matrix < 2 * matrix < reference


@pytest.mark.parametrize("block", ["cgnl", "cgd"])
def test_the_peak_is_that_of_torchs_allocator(block):
    # these two have no convolution whose input oneDNN copies
    cell = Cell(block=block, shape=(384, 2, 14, 14))
    built = build(cell)
    held = built.inputs[0].numel() * 4

    def step():
        with torch.inference_mode():
            return built.model(*built.inputs)

    memory = measure_memory("cpu", step, weights_bytes=0, held_bytes=lambda: held)
    assert pytest.approx(memory.peak, rel=0.02) == peak_bytes(cell)


def test_a_training_step_holds_activations_gradients_and_momenta():
    # at least: twice the 7,842,568 parameters, at 4 bytes
    training = peak_bytes(Cell(row="mfnet", phase="training"))
    twice = peak_bytes(Cell(row="mfnet", phase="training", batch=2))
    assert training > 2 * 4 * 7_842_568
    # the momenta are held whatever the batch; everything else grows with it at the peak
    momenta = 4 * 7_842_568
    assert pytest.approx(2 * (training - momenta), rel=0.01) == twice - momenta
    assert training > 5 * peak_bytes(Cell(row="mfnet"))
