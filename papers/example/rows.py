"""Rows of an imagined paper: two networks at the clips that it describes."""

from functools import partial

from vidcost.models.backbones.resnet import R3D18, C2DResNet50
from vidcost.models.blocks.non_local import NonLocal
from vidcost.papers.row import Row

KINETICS = 400

ROWS = (
    Row("example-r3d18", R3D18, KINETICS, ((3, 16, 112, 112),)),
    Row(
        "example-r50-nl",
        partial(C2DResNet50, blocks={"res4:before-last": NonLocal}),
        KINETICS,
        ((3, 8, 224, 224),),
    ),
)
