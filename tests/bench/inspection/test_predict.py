from vidcost.bench.inspection.counted import predict
from vidcost.bench.timing.cell import Cell

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
