"""Long-range blocks: one file each, the module and its closed-form cost beside forward."""

from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.pnl import PNL

__all__ = ["CGD", "CGNL", "PNL", "NonLocal"]
