"""Figures of matplotlib as files, the same bytes for the same data."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 200
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of Okabe and Ito (2008), which people with any colour vision tell apart."""
GREY = "#595959"


def svg(figure: Figure, *, text: bool = False) -> str:
    """``figure`` as SVG: letters are drawn, or stay ``text`` in whatever fonts the reader has."""
    import matplotlib as mpl

    image = io.StringIO()
    # names inside the file are hashes with this salt, at random without one
    with mpl.rc_context({"svg.hashsalt": "vidcost", "svg.fonttype": "none" if text else "path"}):
        figure.savefig(image, format="svg", metadata={"Date": None})
    return image.getvalue()


def png(figure: Figure) -> bytes:
    """``figure`` in pixels."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=DPI, metadata={"Software": None})
    return image.getvalue()
