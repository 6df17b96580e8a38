"""A worker ends with its parent, also one that is killed and cannot say so."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, on Linux.

    Called by the worker itself: between fork and exec, in the parent's copy with its threads, no
    Python may run safely. A parent that ended before the call is noticed when the worker next
    reads from it, which is also what remains on other systems.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
