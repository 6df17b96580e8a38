"""Rows of SlowOnly with non-local blocks as mmaction2 places them, built of this project's parts.

Source: open-mmlab/mmaction2, configs/recognition/slowonly: blocks behind the second and fourth unit
of res3 and the second, fourth and sixth of res4, keys and values pooled after their convolutions.
Its blocks have biases but in z, which BatchNorm follows; these have all, 4,096 parameters more.
"""

from functools import partial

from vidcost.models.backbones.slow_only import SlowOnly50
from vidcost.models.blocks.non_local import PAIRWISE, NonLocal
from vidcost.papers.row import Row

KINETICS = 400
PLACES = ("res3:after-1", "res3:after-3", "res4:after-1", "res4:after-3", "res4:after-5")


def _rows(frames: int) -> list[Row]:
    clips = ((3, frames, 256, 256),)
    name = f"slowonly-r50-{frames}f"
    rows = [Row(name, SlowOnly50, KINETICS, clips)]
    for pairwise in PAIRWISE:
        block = partial(NonLocal, pairwise=pairwise, bias=True, pool_keys=True)
        build = partial(SlowOnly50, blocks=dict.fromkeys(PLACES, block))
        rows.append(Row(f"{name}-nl-{pairwise}", build, KINETICS, clips))
    return rows


ROWS = (*_rows(4), *_rows(8))
