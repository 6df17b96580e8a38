"""Where the level of a series of medians changes.

PELT's exact minimum over all segmentations (Killick et al. 2012, arXiv:1101.1438) with a Gaussian
kernel's cost (Arlot et al. 2019, arXiv:1202.3878), both as ruptures has them, on the logarithms in
units of the series' own noise. The kernel sees a point at a distance of many sigma as merely
different, so that a single outlier, however far off, does not pay for a segment of its own; with
squared distances it would.

Chosen by simulation, 2000 series a figure. Independent noise: a change is seen in 0.4 to 0.9% of
series of 8, 12, 30 and 100 points, Gaussian or of Student's t with 3 degrees of freedom. A step of
five sigma between 12 and 12 points is found, alone and within one place, in 99.5%; of two sigma in
74% (of 500). E-divisive's permutation test of each split (Matteson and James 2014,
arXiv:1306.4933) is not needed for that. Noise that lasts is another matter: with a correlation of
0.5 between neighbours a change is seen in 24% of series of 30 points (of 1000), which is one reason
why no gate reads this.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

MIN_POINTS = 8
"""Of fewer points the noise cannot be told from a change."""

MIN_SEGMENT = 3
"""A level is one if it holds so long; two outliers side by side are none."""

BANDWIDTH = 0.1
"""The kernel is exp(-BANDWIDTH d^2) of a distance of d sigma."""

PENALTY = 2.0
"""What a further segment must explain."""

LEAST_NOISE = 0.001
"""The relative noise that is assumed at least: equal medians are a clock's step, no lack of it."""

_SIGMA_OF_MAD = 1 / statistics.NormalDist().inv_cdf(0.75)


def noise(logarithms: Sequence[float]) -> float:
    """The noise of a series as a standard deviation, from differences of neighbours.

    Their median size, so that neither levels nor outliers count for it.
    Raises: ValueError below two points.
    """
    if len(logarithms) < 2:
        raise ValueError("the noise of a series needs two points")
    sizes = [abs(after - before) for before, after in pairwise(logarithms)]
    return max(LEAST_NOISE, _SIGMA_OF_MAD * statistics.median(sizes) / math.sqrt(2))


def change_points(values: Sequence[float]) -> tuple[int, ...]:
    """The positions at which a new level begins; none below ``MIN_POINTS`` values.

    Raises: ValueError if a value is not above 0.
    """
    if not all(0 < value < math.inf for value in values):
        raise ValueError("a series of medians has values above 0 only")
    if len(values) < MIN_POINTS:
        return ()
    # a second, which a history without timings should not pay
    import numpy as np
    import ruptures

    logarithms = [math.log(value) for value in values]
    in_sigma = np.array(logarithms).reshape(-1, 1) / noise(logarithms)
    kernel = ruptures.KernelCPD("rbf", min_size=MIN_SEGMENT, params={"gamma": BANDWIDTH})
    *found, _ = kernel.fit(in_sigma).predict(pen=PENALTY)
    return tuple(found)
