"""Every row of the paper's Tables 1 to 6, and the labelled variants that explain them.

Source: Xu et al. 2020, arXiv:2006.05091.
"""

from functools import partial
from typing import Any

from vidcost.models.backbones import resnet
from vidcost.models.backbones.backbone import Blocks
from vidcost.models.backbones.c3d import C3D
from vidcost.models.backbones.inception import I3D, S3D, TwoStream
from vidcost.models.backbones.mfnet import STAGES, MFNet
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import PAIRWISE, NonLocal
from vidcost.models.blocks.pnl import PNL
from vidcost.papers.row import Row

MINI_KINETICS = 200
UCF101 = 101
KINETICS = 400


def i3d_two_stream(**clip: Any) -> TwoStream:
    """I3D on RGB and on optical flow.  Source: Carreira & Zisserman, CVPR 2017."""
    return TwoStream(I3D(**clip), I3D(**clip, in_channels=2))


def resframe_two_stream(motion: type[resnet.R3D18], **clip: Any) -> TwoStream:
    """3D ResNet-18 on residual frames, 2D ResNet-50 on one frame: an assumed composition.

    Residual frames are differences of neighbours, the last one's that of the last and the first.
    Source: Tao et al. 2020, arXiv:2001.05661, which leaves the 2D network and the fusion open. A
    C2D ResNet-50 on clips of one frame is the 2D ResNet-50.
    """
    return TwoStream(motion(**clip), resnet.C2DResNet50(**clip | {"frames": 1}))


CONV4 = "conv4:before-last"
RES4 = "res4:before-last"


def _mfnet(name: str, blocks: Blocks, note: str = "") -> Row:
    return Row(name, partial(MFNet, blocks=blocks), MINI_KINETICS, ((3, 16, 224, 224),), note)


def _resnet50(name: str, classes: int, blocks: Blocks) -> Row:
    return Row(name, partial(resnet.C2DResNet50, blocks=blocks), classes, ((3, 32, 224, 224),))


def _resnext(name: str, frames: int, note: str) -> Row:
    return Row(name, resnet.ResNeXt101, MINI_KINETICS, ((3, frames, 112, 112),), note)


def _r3d18(name: str, network: type[resnet.R3D18], note: str) -> Row:
    return Row(name, network, MINI_KINETICS, ((3, 16, 112, 112),), f"variant: {note}")


def _resframe(name: str, motion: type[resnet.R3D18], note: str) -> Row:
    build = partial(resframe_two_stream, motion)
    return Row(name, build, MINI_KINETICS, ((3, 16, 112, 112), (3, 1, 112, 112)), note, stills=(1,))


def _every_other(**settings: bool) -> Blocks:
    """PNL after every other unit of conv3 and conv4: five modules."""
    block = partial(PNL, **settings)  # type: ignore[arg-type]
    return {"conv3:every-other": block, "conv4:every-other": block}


_PER_SCALE = "variant: one set of weights per scale; the text shares one"
_N2 = partial(PNL, n=2)

_PLAIN: tuple[Row, ...] = (
    # MFNet and its blocks: Tables 1 to 5, Mini-Kinetics, 16 frames
    _mfnet("mfnet", {}),
    _mfnet("mfnet-nl", {CONV4: NonLocal}),
    _mfnet("mfnet-pnl", {CONV4: PNL}),
    _mfnet("mfnet-pnl-concat", {CONV4: partial(PNL, combine="concat")}),
    _mfnet("mfnet-pnl-x5", _every_other()),
    *(_mfnet(f"mfnet-pnl-{f}", {CONV4: partial(PNL, pairwise=f)}) for f in PAIRWISE[1:]),
    *(_mfnet(f"mfnet-pnl-n2-{stage}", {f"{stage}:before-last": _N2}) for stage in STAGES),
    _mfnet("mfnet-pnl-n2", {CONV4: _N2}),
    _mfnet("mfnet-pnl-n3", {CONV4: partial(PNL, n=3)}),
    # C2D ResNet-50 and its blocks, 32 frames: Table 5 on Mini-Kinetics, Table 6 on UCF101
    _resnet50("r50-nl", MINI_KINETICS, {RES4: NonLocal}),
    _resnet50("r50-cgd", MINI_KINETICS, {"bottlenecks:after-conv1": CGD}),
    _resnet50("r50-cgnl", MINI_KINETICS, {RES4: CGNL}),
    _resnet50("r50-ucf101", UCF101, {}),
    _resnet50("r50-nl-ucf101", UCF101, {RES4: NonLocal}),
    _resnet50("r50-cgnl-ucf101", UCF101, {RES4: CGNL}),
    _resnet50("r50-pnl-ucf101", UCF101, {RES4: PNL}),
    # the networks that Table 5 compares with
    _resnext(
        "mars",
        16,
        "the RGB stream at 16 frames, all that MARS runs at inference; its authors also trained "
        "64 frames (mars-64f), and which one the printed accuracy belongs to is not known",
    ),
    _resframe(
        "resframe-ts",
        resnet.R3D18,
        "assumed, the lower end of a range: a 3D ResNet-18 on 16 residual frames and a 2D "
        "ResNet-50 on one frame, logits summed; the 2D network, the fusion and the frame count are "
        "not public. The upper end is resframe-ts-torchvision",
    ),
    Row("i3d-ts", i3d_two_stream, MINI_KINETICS, ((3, 64, 224, 224), (2, 64, 224, 224))),
    Row("c3d", C3D, MINI_KINETICS, ((3, 16, 112, 112),)),
    Row("i3d-rgb", I3D, MINI_KINETICS, ((3, 64, 224, 224),)),
    Row(
        "2plus-c1-d",
        None,
        MINI_KINETICS,
        (),
        "published only: no public definition of the network was found",
    ),
    Row("s3d", S3D, MINI_KINETICS, ((3, 64, 224, 224),)),
    # variants that explain printed figures
    _mfnet("mfnet-pnl-per-scale", {CONV4: partial(PNL, shared=False)}, _PER_SCALE),
    _mfnet(
        "mfnet-pnl-concat-per-scale",
        {CONV4: partial(PNL, combine="concat", shared=False)},
        _PER_SCALE,
    ),
    _mfnet("mfnet-pnl-x5-per-scale", _every_other(shared=False), _PER_SCALE),
    _resnext("mars-64f", 64, "variant: the RGB stream of MARS at 64 frames"),
    _resframe(
        "resframe-ts-torchvision",
        resnet.TorchvisionR3D18,
        "variant: the upper end of resframe-ts, with the 3D ResNet-18 of its authors' later code, "
        "in torchvision's layout; whether the printed accuracy is of this one is not known",
    ),
    _r3d18(
        "r3d18", resnet.R3D18, "the 3D ResNet-18 whose parameters fit what Table 5 prints for C3D"
    ),
    _r3d18("r3d18-torchvision", resnet.TorchvisionR3D18, "r3d18 in torchvision's layout"),
    Row(
        "r50-unpadded",
        resnet.UnpaddedC2D,
        KINETICS,
        ((3, 32, 224, 224),),
        "variant: C2D ResNet-50 with the max-pools of its authors' code, which are not padded, on "
        "Kinetics-400",
    ),
)

# a row of each block, combination and pairwise function
_OPTIMIZED = (
    "mfnet-nl mfnet-pnl mfnet-pnl-concat mfnet-pnl-x5 mfnet-pnl-gaussian mfnet-pnl-dot-product "
    "mfnet-pnl-concatenation r50-nl r50-cgnl r50-pnl-ucf101"
).split()

ROWS: tuple[Row, ...] = (*_PLAIN, *(row.optimized() for row in _PLAIN if row.name in _OPTIMIZED))
