"""What is measured: long-range blocks, the networks that carry them, and the paper's rows.

Pure torch; imports nothing of :mod:`vidcost.bench`.
"""

from vidcost.models.backbones.c2d import C2DResNet50 as c2d_resnet50
from vidcost.models.backbones.c3d import C3D as c3d  # noqa: N811 - as N813, a row's factory
from vidcost.models.backbones.i3d import I3D as i3d  # noqa: N811
from vidcost.models.backbones.mfnet import MFNet as mfnet
from vidcost.models.backbones.r3d import R3D18 as r3d18  # noqa: N811
from vidcost.models.backbones.resnext import ResNeXt101 as resnext101
from vidcost.models.backbones.s3d import S3D as s3d  # noqa: N811
from vidcost.models.backbones.two_stream import TwoStream as two_stream
from vidcost.models.blocks import CGD, CGNL, PNL, NonLocal
from vidcost.models.cost import Cost

__all__ = [
    "CGD",
    "CGNL",
    "PNL",
    "Cost",
    "NonLocal",
    "c2d_resnet50",
    "c3d",
    "i3d",
    "mfnet",
    "r3d18",
    "resnext101",
    "s3d",
    "two_stream",
]
