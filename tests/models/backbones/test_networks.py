"""The networks: published parameter counts and keys, clips, positions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vidcost.models import c2d_resnet50, c3d, i3d, mfnet, r3d18, resnext101, s3d, two_stream

META = torch.device("meta")


class Scale(nn.Module):
    """The simplest block with a weight: it fails where it is built for other channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def params(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


NETWORKS = [mfnet, c2d_resnet50, i3d, s3d, c3d, r3d18, resnext101]
networks = pytest.mark.parametrize("build", NETWORKS)


@pytest.mark.parametrize(
    ("build", "channels", "classes", "expected"),
    [
        (mfnet, 3, 101, 7_766_437),
        (mfnet, 3, 200, 7_842_568),
        (c2d_resnet50, 3, 101, 23_714_981),
        (c2d_resnet50, 3, 200, 23_917_832),
        (i3d, 3, 200, 12_492_264),
        (i3d, 3, 400, 12_697_264),
        (i3d, 2, 200, 12_470_312),
        (i3d, 2, 400, 12_675_312),
        (s3d, 3, 200, 8_115_048),
        (s3d, 3, 400, 8_320_048),
        (c3d, 3, 101, 78_409_573),
        (c3d, 3, 200, 78_815_176),
        (r3d18, 3, 101, 33_255_717),
        (r3d18, 3, 200, 33_306_504),
        (resnext101, 3, 101, 47_728_165),
        (resnext101, 3, 200, 47_931_016),
        (resnext101, 2, 101, 47_706_213),
        (resnext101, 2, 200, 47_909_064),
    ],
)
def test_params(
    build: Callable[..., nn.Module], channels: int, classes: int, expected: int
) -> None:
    with META:
        assert expected == params(build(classes=classes, in_channels=channels))


def test_two_stream_params_are_those_of_both() -> None:
    with META:
        network = two_stream(i3d(classes=200), i3d(classes=200, in_channels=2))
    assert params(network) == 24_962_576


@pytest.mark.parametrize(
    ("build", "frames", "size"),
    [
        # the clips that the papers use
        (mfnet, 16, 224),
        (c2d_resnet50, 32, 224),
        (i3d, 64, 224),
        (s3d, 64, 224),
        (c3d, 16, 112),
        (r3d18, 16, 112),
        (resnext101, 16, 112),
        # odd ones, where a pool of the papers' size would not fit
        (mfnet, 5, 97),
        (c2d_resnet50, 5, 97),
        (i3d, 7, 97),
        (s3d, 7, 97),
        (r3d18, 5, 61),
        (resnext101, 5, 61),
        (c3d, 33, 61),
        # larger maps than the papers'
        (i3d, 79, 257),
        (s3d, 79, 257),
        (r3d18, 64, 131),
        # the smallest there are
        (mfnet, 1, 1),
        (c2d_resnet50, 1, 1),
        (i3d, 1, 1),
        (s3d, 5, 17),
        (c3d, 16, 16),
        (r3d18, 1, 1),
        (resnext101, 1, 1),
    ],
)
def test_output_shape(build: Callable[..., nn.Module], frames: int, size: int) -> None:
    with META:
        network = build(classes=11, frames=frames, size=size, in_channels=5)
        assert network(torch.zeros(2, 5, frames, size, size)).shape == (2, 11)


@pytest.mark.parametrize(
    ("build", "clip"),
    [
        (mfnet, (3, 16, 224, 224)),
        (c2d_resnet50, (3, 32, 224, 224)),
        (i3d, (3, 64, 224, 224)),
        (s3d, (3, 64, 224, 224)),
        (c3d, (3, 16, 112, 112)),
        (r3d18, (3, 16, 112, 112)),
        (resnext101, (3, 16, 112, 112)),
    ],
)
def test_defaults(build: Callable[..., nn.Module], clip: tuple[int, ...]) -> None:
    with META:
        network = build()
        assert clip == network.clip
        assert network(torch.zeros(2, *clip)).shape == (2, 400)


def map_after(network: nn.Module, name: str) -> tuple[int, ...]:
    """Channels, frames, height and width that leave the submodule ``name``."""
    shapes: list[tuple[int, ...]] = []
    hook = network.get_submodule(name).register_forward_hook(
        lambda module, args, y: shapes.append(tuple(y.shape[1:]))
    )
    with META:
        network(torch.zeros(2, *network.clip))
    hook.remove()
    return shapes[0]


@pytest.mark.parametrize(
    ("build", "name", "expected"),
    [
        (mfnet, "conv4", (384, 8, 14, 14)),
        (c2d_resnet50, "layer1", (256, 8, 56, 56)),
        (c2d_resnet50, "layer3", (1024, 4, 14, 14)),
        (i3d, "Mixed_3c", (480, 32, 28, 28)),
        (i3d, "Mixed_4f", (832, 16, 14, 14)),
        (i3d, "Mixed_5c", (1024, 8, 7, 7)),
        (i3d, "avg_pool", (1024, 7, 1, 1)),
        (s3d, "features.6", (480, 32, 28, 28)),
        (s3d, "features.15", (1024, 8, 7, 7)),
        (s3d, "avgpool", (1024, 7, 1, 1)),
        (c3d, "pool1", (64, 16, 56, 56)),
        (c3d, "pool5", (512, 1, 4, 4)),
        (r3d18, "layer1", (64, 8, 28, 28)),
        (r3d18, "layer4", (512, 1, 4, 4)),
        (resnext101, "layer3", (1024, 2, 7, 7)),
    ],
)
def test_maps_of_the_default_clip(
    build: Callable[..., nn.Module], name: str, expected: tuple[int, ...]
) -> None:
    with META:
        network = build(classes=11)
    assert expected == map_after(network, name)


@pytest.mark.parametrize(
    ("build", "keys"),
    [
        (
            mfnet,
            {
                "conv1.conv.weight": (16, 3, 3, 5, 5),
                "conv1.bn.running_var": (16,),
                "conv3.B04.conv_i1.conv.weight": (48, 192, 1, 1, 1),
                "conv5.B01.conv_w1.conv.weight": (768, 384, 1, 1, 1),
                "tail.bn.weight": (768,),
                "classifier.weight": (11, 768),
            },
        ),
        (
            c2d_resnet50,
            {
                "conv1.weight": (64, 3, 1, 7, 7),
                "layer1.0.downsample.0.weight": (256, 64, 1, 1, 1),
                "layer3.5.conv2.weight": (256, 256, 1, 3, 3),
                "layer4.2.bn3.running_mean": (2048,),
                "fc.bias": (11,),
            },
        ),
        (
            i3d,
            {
                "Conv3d_1a_7x7.conv3d.weight": (64, 3, 7, 7, 7),
                "Conv3d_2b_1x1.bn.weight": (64,),
                "Conv3d_2c_3x3.conv3d.weight": (192, 64, 3, 3, 3),
                "Mixed_3b.b0.conv3d.weight": (64, 192, 1, 1, 1),
                "Mixed_4d.b1b.conv3d.weight": (256, 128, 3, 3, 3),
                "Mixed_4f.b2a.bn.running_mean": (32,),
                "Mixed_5c.b3b.conv3d.weight": (128, 832, 1, 1, 1),
                "logits.conv3d.weight": (11, 1024, 1, 1, 1),
                "logits.conv3d.bias": (11,),
            },
        ),
        (
            s3d,
            {
                "features.0.0.0.weight": (64, 3, 1, 7, 7),
                "features.0.1.0.weight": (64, 64, 7, 1, 1),
                "features.2.0.weight": (64, 64, 1, 1, 1),
                "features.3.1.1.running_var": (192,),
                "features.5.branch0.0.weight": (64, 192, 1, 1, 1),
                "features.8.branch1.1.0.0.weight": (208, 96, 1, 3, 3),
                "features.15.branch2.1.1.0.weight": (128, 128, 3, 1, 1),
                "features.15.branch3.1.1.bias": (128,),
                "classifier.1.weight": (11, 1024, 1, 1, 1),
                "classifier.1.bias": (11,),
            },
        ),
        (
            c3d,
            {
                "conv1a.conv.weight": (64, 3, 3, 3, 3),
                "conv3b.conv.bias": (256,),
                "conv5b.conv.weight": (512, 512, 3, 3, 3),
                "fc6.weight": (4096, 8192),
                "fc8.weight": (11, 4096),
            },
        ),
        (
            r3d18,
            {
                "conv1.weight": (64, 3, 7, 7, 7),
                "bn1.weight": (64,),
                "layer1.0.conv1.weight": (64, 64, 3, 3, 3),
                "layer2.0.downsample.0.weight": (128, 64, 1, 1, 1),
                "layer4.1.bn2.running_mean": (512,),
                "fc.weight": (11, 512),
            },
        ),
        (
            resnext101,
            {
                "conv1.weight": (64, 3, 7, 7, 7),
                "layer1.0.conv1.weight": (128, 64, 1, 1, 1),
                "layer1.0.downsample.1.weight": (256,),
                "layer3.22.conv2.weight": (512, 16, 3, 3, 3),
                "layer4.2.conv3.weight": (2048, 1024, 1, 1, 1),
                "fc.weight": (11, 2048),
            },
        ),
    ],
)
def test_published_keys(build: Callable[..., nn.Module], keys: dict[str, tuple[int, ...]]) -> None:
    with META:
        state = build(classes=11).state_dict()
    assert keys == {key: tuple(state[key].shape) for key in keys if key in state}


@pytest.mark.parametrize(
    ("build", "count"),
    # 6 for each convolution with BatchNorm (57, 77, none, 20, 104 of them), 2 for each with bias
    [(i3d, 344), (s3d, 464), (c3d, 22), (r3d18, 122), (resnext101, 626)],
)
def test_number_of_keys(build: Callable[..., nn.Module], count: int) -> None:
    with META:
        assert count == len(build().state_dict())


@pytest.mark.parametrize(
    ("build", "position", "added"),
    [
        (mfnet, "conv4:before-last", ["conv4.after_B05.weight"]),
        (c2d_resnet50, "res4:before-last", ["layer3.after_4.weight"]),
        (i3d, "mixed4:before-last", ["after_Mixed_4e.weight"]),
        (s3d, "mixed4:before-last", ["features.after_11.weight"]),
        (c3d, "conv4:before-last", ["after_conv4a.weight"]),
        (r3d18, "res4:before-last", ["layer3.after_0.weight"]),
        (resnext101, "res4:before-last", ["layer3.after_21.weight"]),
        (mfnet, "conv3:every-other", ["conv3.after_B02.weight", "conv3.after_B04.weight"]),
        (i3d, "mixed4:every-other", ["after_Mixed_4c.weight", "after_Mixed_4e.weight"]),
        (s3d, "mixed4:every-other", ["features.after_9.weight", "features.after_11.weight"]),
    ],
)
def test_blocks_neither_rename_nor_reorder_the_rest(
    build: Callable[..., nn.Module], position: str, added: list[str]
) -> None:
    with META:
        plain = build().state_dict()
        with_block = build(blocks={position: Scale}).state_dict()
    assert added == [key for key in with_block if key not in plain]
    assert list(plain) == [key for key in with_block if key in plain]


@pytest.mark.parametrize(
    ("build", "stages"),
    [
        (mfnet, ["conv2", "conv3", "conv4", "conv5"]),
        (c2d_resnet50, ["res2", "res3", "res4", "res5"]),
        (i3d, ["mixed3", "mixed4", "mixed5"]),
        (s3d, ["mixed3", "mixed4", "mixed5"]),
        (c3d, ["conv3", "conv4", "conv5"]),
        (r3d18, ["res2", "res3", "res4", "res5"]),
        (resnext101, ["res2", "res3", "res4", "res5"]),
    ],
)
@pytest.mark.parametrize("place", ["before-last", "every-other", "after-1", "after-2"])
def test_blocks_at_every_stage_at_once(
    build: Callable[..., nn.Module], stages: list[str], place: str
) -> None:
    with META:
        network = build(classes=11, blocks={f"{stage}:{place}": Scale for stage in stages})
        assert network(torch.zeros(2, *network.clip)).shape == (2, 11)
    blocks = [module for module in network.modules() if isinstance(module, Scale)]
    assert len(stages) <= len(blocks)


@pytest.mark.parametrize("stage", ["conv1", "conv2"])
def test_c3d_stages_of_one_convolution(stage: str) -> None:
    with META:
        network = c3d(classes=11, blocks={f"{stage}:after-1": Scale})
        assert network(torch.zeros(2, *network.clip)).shape == (2, 11)
        with pytest.raises(ValueError, match=f"choose from {stage}:after-1$"):
            c3d(blocks={f"{stage}:before-last": Scale})


def test_c2d_blocks_inside_every_bottleneck() -> None:
    with META:
        network = c2d_resnet50(classes=11, blocks={"bottlenecks:after-conv1": Scale})
        assert network(torch.zeros(2, *network.clip)).shape == (2, 11)
    blocks = [module for module in network.modules() if isinstance(module, Scale)]
    assert len(blocks) == 16


@pytest.mark.parametrize("position", ["conv9:before-last", "mixed4", "res4:before"])
@networks
def test_unknown_position(build: Callable[..., nn.Module], position: str) -> None:
    with META, pytest.raises(ValueError, match=f"no position '{position}'"):
        build(blocks={position: Scale})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"frames": 0}, "a clip of 0 frames is too short"),
        ({"size": 0}, "frames of 0x0 are too small"),
    ],
)
@networks
def test_nothing_to_build(
    build: Callable[..., nn.Module], wrong: dict[str, int], message: str
) -> None:
    with META, pytest.raises(ValueError, match=message):
        build(**wrong)


@pytest.mark.parametrize(
    ("build", "wrong", "message"),
    [
        (s3d, {"frames": 4}, "S3D: a clip of 4 frames is too short .* at least 5 are"),
        (s3d, {"size": 16}, "S3D: frames of 16x16 are too small .* at least 17x17 are"),
        (c3d, {"frames": 15}, "C3D: a clip of 15 frames is too short .* at least 16 are"),
        (c3d, {"size": 15}, "C3D: frames of 15x15 are too small .* at least 16x16 are"),
    ],
)
def test_clip_below_the_strides(
    build: Callable[..., nn.Module], wrong: dict[str, int], message: str
) -> None:
    with META, pytest.raises(ValueError, match=message):
        build(**wrong)


@pytest.mark.parametrize(
    ("build", "least", "frames", "size"),
    [
        (s3d, (5, 17), 4, 17),
        (s3d, (5, 17), 5, 16),
        (c3d, (16, 16), 15, 16),
        (c3d, (16, 16), 16, 15),
    ],
)
def test_the_least_clip_is_the_least(
    build: Callable[..., nn.Module], least: tuple[int, int], frames: int, size: int
) -> None:
    with META:
        network = build(frames=least[0], size=least[1])
        # past its own check, to see that the strides do need it
        network.clip = (3, frames, size, size)
        with pytest.raises(RuntimeError, match=r"[Oo]utput size is too small"):
            network(torch.zeros(1, *network.clip))


@pytest.mark.parametrize(
    "shape",
    [(2, 3, 17, 112, 112), (2, 3, 16, 111, 112), (2, 3, 16, 112, 111), (2, 2, 16, 112, 112)],
)
@networks
def test_clip_other_than_the_one_built_for(
    build: Callable[..., nn.Module], shape: tuple[int, ...]
) -> None:
    with META:
        network = build(frames=16, size=112)
        with pytest.raises(ValueError, match=r"built for clips of shape \(B, 3, 16, 112, 112\)"):
            network(torch.zeros(shape))


@networks
def test_batch_axis_must_be_there(build: Callable[..., nn.Module]) -> None:
    with META:
        network = build(frames=16, size=112)
        with pytest.raises(ValueError, match=r"got \(3, 16, 112, 112\)"):
            network(torch.zeros(3, 16, 112, 112))


@pytest.mark.parametrize(
    ("length", "expected"),
    # 3 wide, stride 2: an even length is padded behind only, an odd one on both sides
    [(4, [3.0, 4.0]), (5, [2.0, 4.0, 5.0])],
)
def test_i3d_max_pool_pads_as_tensorflow_does(length: int, expected: list[float]) -> None:
    # MaxPool3d_4a stands behind one halving of time and three of space
    with META:
        pool = i3d(frames=2 * length, size=8 * length).MaxPool3d_4a_3x3

    def cube(ramp: Tensor) -> Tensor:
        # negative throughout, so that padding with zeros would show
        t, h, w = ramp.view(-1, 1, 1), ramp.view(-1, 1), ramp
        return (10_000 * t + 100 * h + w - 1_000_000)[None, None]

    y = pool(cube(torch.arange(1.0, length + 1)))
    assert cube(torch.tensor(expected)).tolist() == y.tolist()


@pytest.mark.parametrize(("size", "pad"), [(224, (2, 3)), (112, (2, 3)), (225, (3, 3))])
def test_i3d_stem_pads_as_tensorflow_does(size: int, pad: tuple[int, int]) -> None:
    with META:
        assert (*pad, *pad, 2, 3) == i3d(size=size).pad.padding


@pytest.mark.parametrize(
    ("build", "frames", "size"),
    [(mfnet, 2, 32), (c2d_resnet50, 2, 32), (i3d, 8, 32), (s3d, 5, 17), (r3d18, 2, 32)],
)
def test_real_numbers_stay_finite(build: Callable[..., nn.Module], frames: int, size: int) -> None:
    torch.manual_seed(0)
    network = build(classes=11, frames=frames, size=size).eval()
    with torch.no_grad():
        logits = network(torch.randn(2, 3, frames, size, size))
    assert torch.isfinite(logits).all()
    assert not torch.equal(logits[0], logits[1])


def test_two_stream_sums_the_logits_of_its_own_inputs() -> None:
    network = two_stream(nn.Linear(2, 3, bias=False), nn.Linear(1, 3, bias=False))
    with torch.no_grad():
        network.first.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [1, 1]]))
        network.second.weight.copy_(torch.tensor([[100.0], [200], [300]]))
    logits = network(torch.tensor([[5.0, 7]]), torch.tensor([[2.0]]))
    assert logits.tolist() == [[205.0, 407.0, 612.0]]
    assert list(network.state_dict()) == ["first.weight", "second.weight"]


def test_two_stream_takes_clips_of_different_channels() -> None:
    with META:
        flow = i3d(classes=11, frames=16, size=64, in_channels=2)
        network = two_stream(i3d(classes=11, frames=16, size=64), flow)
        rgb, flow_clip = torch.zeros(2, 3, 16, 64, 64), torch.zeros(2, 2, 16, 64, 64)
        assert network(rgb, flow_clip).shape == (2, 11)
        with pytest.raises(ValueError, match=r"built for clips of shape \(B, 3,"):
            network(flow_clip, rgb)
