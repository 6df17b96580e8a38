import pytest
import torch
from torch import nn

from vidcost.models.backbones.c3d import C3D
from vidcost.models.backbones.inception import I3D, S3D, TwoStream
from vidcost.models.backbones.mfnet import MFNet
from vidcost.models.backbones.resnet import (
    R3D18,
    C2DResNet50,
    ResNeXt101,
    TorchvisionR3D18,
    UnpaddedC2D,
)

META = torch.device("meta")


class Scale(nn.Module):
    """The simplest block with a weight: it fails where it is built for other channels."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1, 1))

    def forward(self, x):
        return x * self.weight


def params(network):
    return sum(weight.numel() for weight in network.parameters())


def scales(network):
    return sum(isinstance(module, Scale) for module in network.modules())


NETWORKS = (MFNet, C2DResNet50, I3D, S3D, C3D, R3D18, ResNeXt101, UnpaddedC2D, TorchvisionR3D18)
networks = pytest.mark.parametrize("build", NETWORKS)


@pytest.mark.parametrize(
    ("build", "channels", "expected", "of_a_class"),
    [
        (MFNet, 3, 7_842_568, 769),
        (C2DResNet50, 3, 23_917_832, 2049),
        (I3D, 3, 12_492_264, 1025),
        (I3D, 2, 12_470_312, 1025),
        (S3D, 3, 8_115_048, 1025),
        (C3D, 3, 78_815_176, 4097),
        (R3D18, 3, 33_306_504, 513),
        (ResNeXt101, 3, 47_931_016, 2049),
        (ResNeXt101, 2, 47_909_064, 2049),
        (UnpaddedC2D, 3, 23_917_832, 2049),
        (TorchvisionR3D18, 3, 33_268_872, 513),
    ],
)
def test_params_for_200_classes_and_others(build, channels, expected, of_a_class):
    with META:
        assert expected == params(build(classes=200, in_channels=channels))
        assert expected - 99 * of_a_class == params(build(classes=101, in_channels=channels))


@pytest.mark.parametrize(
    ("build", "frames", "size"),
    [
        # odd ones, where a pool of the papers' size would not fit
        (MFNet, 5, 97),
        (C2DResNet50, 5, 97),
        (I3D, 7, 97),
        (S3D, 7, 97),
        (R3D18, 5, 61),
        (C3D, 33, 61),
        (TorchvisionR3D18, 5, 61),
        (UnpaddedC2D, 9, 97),
        # larger maps than the papers'
        (I3D, 79, 257),
        (S3D, 79, 257),
        # the smallest there are
        *((build, *build.least) for build in NETWORKS),
    ],
)
def test_output_shape(build, frames, size):
    with META:
        network = build(classes=11, frames=frames, size=size, in_channels=5)
        assert network(torch.zeros(2, 5, frames, size, size)).shape == (2, 11)


KEYS = {
    MFNet: """
        conv1.conv.weight 16 3 3 5 5
        conv3.B04.conv_i1.conv.weight 48 192 1 1 1
        conv5.B01.conv_w1.conv.weight 768 384 1 1 1
        tail.bn.weight 768
        classifier.weight 11 768""",
    C2DResNet50: """
        conv1.weight 64 3 1 7 7
        layer1.0.downsample.0.weight 256 64 1 1 1
        layer3.5.conv2.weight 256 256 1 3 3
        layer4.2.bn3.running_mean 2048
        fc.bias 11""",
    I3D: """
        Conv3d_1a_7x7.conv3d.weight 64 3 7 7 7
        Mixed_3b.b0.conv3d.weight 64 192 1 1 1
        Mixed_4d.b1b.conv3d.weight 256 128 3 3 3
        logits.conv3d.bias 11""",
    S3D: """
        features.0.1.0.weight 64 64 7 1 1
        features.5.branch0.0.weight 64 192 1 1 1
        features.8.branch1.1.0.0.weight 208 96 1 3 3
        features.15.branch2.1.1.0.weight 128 128 3 1 1
        classifier.1.weight 11 1024 1 1 1""",
    C3D: """
        conv1a.conv.weight 64 3 3 3 3
        conv3b.conv.bias 256
        fc6.weight 4096 8192
        fc8.weight 11 4096""",
    R3D18: """
        conv1.weight 64 3 7 7 7
        layer2.0.downsample.0.weight 128 64 1 1 1
        layer4.1.bn2.running_mean 512
        fc.weight 11 512""",
    ResNeXt101: """
        layer1.0.conv1.weight 128 64 1 1 1
        layer1.0.downsample.1.weight 256
        layer3.22.conv2.weight 512 16 3 3 3
        layer4.2.conv3.weight 2048 1024 1 1 1""",
}


@pytest.mark.parametrize("build", KEYS)
def test_published_keys(build):
    with META:
        state = build(classes=11).state_dict()
    for line in KEYS[build].split("\n")[1:]:
        key, *shape = line.split()
        assert tuple(map(int, shape)) == state[key].shape, key


@pytest.mark.parametrize(
    ("build", "position", "added"),
    [
        (MFNet, "conv4:before-last", ["conv4.after_B05.weight"]),
        (MFNet, "conv3:every-other", ["conv3.after_B02.weight", "conv3.after_B04.weight"]),
        (C2DResNet50, "res4:before-last", ["layer3.after_4.weight"]),
        (I3D, "mixed4:every-other", ["after_Mixed_4c.weight", "after_Mixed_4e.weight"]),
        (S3D, "mixed4:every-other", ["features.after_9.weight", "features.after_11.weight"]),
        (C3D, "conv4:before-last", ["after_conv4a.weight"]),
        (ResNeXt101, "res4:before-last", ["layer3.after_21.weight"]),
    ],
)
def test_blocks_neither_rename_nor_reorder_the_rest(build, position, added):
    with META:
        plain = build().state_dict()
        with_block = build(blocks={position: Scale}).state_dict()
    assert added == [key for key in with_block if key not in plain]
    assert list(plain) == [key for key in with_block if key in plain]


@networks
def test_blocks_at_every_stage_at_once(build):
    blocks = {f"{stage}:after-1": Scale for stage in build.stages}
    with META:
        network = build(classes=11, blocks=blocks | dict.fromkeys(build.inside, Scale))
        assert network(torch.zeros(2, *network.clip)).shape == (2, 11)
    # C2D has one in each of 16 bottlenecks as well
    assert len(blocks) + 16 * len(build.inside) == scales(network)


@pytest.mark.parametrize(
    ("build", "wrong", "message"),
    [
        (MFNet, {"blocks": {"conv9:before-last": Scale}}, "no position 'conv9:before-last'"),
        (C3D, {"blocks": {"conv1:before-last": Scale}}, "choose from conv1:after-1$"),
        (I3D, {"classes": 0}, "I3D: classes must be at least 1, got 0"),
        (R3D18, {"in_channels": 0}, "in_channels must be at least 1, got 0"),
        (MFNet, {"frames": 0}, "a clip of 0 frames is too short"),
        (ResNeXt101, {"size": 0}, "frames of 0x0 are too small"),
    ],
)
def test_what_cannot_be_built(build, wrong, message):
    with META, pytest.raises(ValueError, match=message):
        build(**wrong)


@pytest.mark.parametrize(
    ("build", "wrong", "message"),
    [
        (S3D, {"frames": 4}, "S3D: a clip of 4 frames is too short .* at least 5 are"),
        (S3D, {"size": 16}, "S3D: frames of 16x16 are too small .* at least 17x17 are"),
        (C3D, {"frames": 15}, "C3D: a clip of 15 frames is too short .* at least 16 are"),
        (C3D, {"size": 15}, "C3D: frames of 15x15 are too small .* at least 16x16 are"),
        (UnpaddedC2D, {"frames": 6}, "C2D ResNet-50: a clip of 6 frames is too short"),
        (UnpaddedC2D, {"size": 4}, "C2D ResNet-50: frames of 4x4 are too small"),
    ],
)
def test_clip_below_the_strides(build, wrong, message):
    least = dict(zip(("frames", "size"), build.least, strict=True))
    given = least | wrong
    with META:
        with pytest.raises(ValueError, match=message):
            build(**wrong)
        network = build(**least)
        # past its own check, to see that the strides do need it
        network.clip = (3, given["frames"], given["size"], given["size"])
        with pytest.raises(RuntimeError, match=r"[Oo]utput size is too small"):
            network(torch.zeros(2, *network.clip))


@pytest.mark.parametrize(
    "shape", [(2, 3, 17, 112, 112), (2, 3, 16, 112, 111), (2, 2, 16, 112, 112), (3, 16, 112, 112)]
)
def test_clips_other_than_those_it_was_built_for(shape):
    with META, pytest.raises(ValueError, match=r"built for .* \(B, 3, 16, 112, 112\)"):
        MFNet(frames=16, size=112)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("length", "expected"),
    # 3 wide, stride 2: an even length is padded behind only, an odd one on both sides
    [(4, [3.0, 4.0]), (5, [2.0, 4.0, 5.0])],
)
def test_i3d_max_pool_pads_as_tensorflow_does(length, expected):
    # MaxPool3d_4a stands behind one halving of time and three of space
    with META:
        pool = I3D(frames=2 * length, size=8 * length).MaxPool3d_4a_3x3

    def cube(ramp):
        # negative throughout, so that padding with zeros would show
        t, h, w = ramp.view(-1, 1, 1), ramp.view(-1, 1), ramp
        return (10_000 * t + 100 * h + w - 1_000_000)[None, None]

    y = pool(cube(torch.arange(1.0, length + 1)))
    assert cube(torch.tensor(expected)).tolist() == y.tolist()


@pytest.mark.parametrize(("size", "pad"), [(224, (2, 3)), (112, (2, 3)), (225, (3, 3))])
def test_i3d_stem_pads_as_tensorflow_does(size, pad):
    with META:
        assert (*pad, *pad, 2, 3) == I3D(size=size).pad.padding


def test_two_stream_sums_the_logits_of_its_own_inputs():
    network = TwoStream(nn.Linear(2, 3, bias=False), nn.Linear(1, 3, bias=False))
    with torch.no_grad():
        network.first.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [1, 1]]))
        network.second.weight.copy_(torch.tensor([[100.0], [200], [300]]))
    logits = network(torch.tensor([[5.0, 7]]), torch.tensor([[2.0]]))
    assert logits.tolist() == [[205.0, 407.0, 612.0]]
    assert list(network.state_dict()) == ["first.weight", "second.weight"]
    with META:
        network = TwoStream(I3D(classes=200), I3D(classes=200, in_channels=2))
    assert params(network) == 24_962_576
