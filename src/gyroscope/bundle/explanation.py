"""Contributions to the probability, and the features that matter most."""

from __future__ import annotations

from typing import Literal

import numpy as np

from gyroscope.bundle.base import Contributions, Vector
from gyroscope.bundle.links import Link

Space = Literal["margin", "probability"]  # what contributions add up to

_CLOSE = 1e-9  # margins nearer than this to the base: the slope of the link stands for a quotient
_STEP = 1e-6  # over which that slope is taken


def in_probability(contributions: Contributions, margins: Vector, link: Link) -> Contributions:
    """Contributions to the probability: its base and they add up to the probability.

    The probability is f of the sum of the base and the contributions to the margin. Each of these
    takes part in that sum from 0 to its full size, all at the same pace; what f gains on the way is
    shared by who moved it: ``phi_j * (f(margin) - f(base)) / (margin - base)``. That is the
    Aumann-Shapley value of the link, so signs and order are those in the margin, and a feature
    without a contribution there has none here. Shapley values of the probability itself would need
    every subset of features scored, and could differ in sign from those that trees give exactly.

    Args:
        contributions: exact Shapley values of the margins of n rows.
        margins: float64[n], in the unit of the link.
        link: from margins to probabilities.

    Source:
        Aumann and Shapley (1974), Values of Non-Atomic Games; propagated through a link as by Chen,
        Lundberg and Lee (2022), Explaining a series of models by propagating Shapley values, Nature
        Communications 13.
    """
    base = np.array([contributions.base])
    start = float(link.probability(base)[0])
    way = contributions.values.sum(axis=1)
    close = np.abs(way) < _CLOSE
    gained = link.probability(margins) - start
    slope = (link.probability(base + _STEP) - link.probability(base - _STEP)) / (2 * _STEP)
    pace = np.where(close, slope, gained / np.where(close, 1.0, way))
    return Contributions(values=contributions.values * pace[:, None], base=start)
