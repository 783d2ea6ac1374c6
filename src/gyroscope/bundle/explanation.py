"""Contributions to the probability, of one class or of each of several."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

from gyroscope.bundle.base import Contributions, Matrix, Vector
from gyroscope.bundle.class_link import ClassLink, softmax
from gyroscope.bundle.class_scorers import ClassContributions, Integers
from gyroscope.bundle.links import Link

Space = Literal["margin", "probability"]  # what contributions add up to

_CLOSE = 1e-9  # margins nearer than this to the base: the slope of the link stands for a quotient
_STEP = 1e-6  # over which that slope is taken
_POINTS = 16  # of the quadrature along a stretch of the way
_STRETCH = 4.0  # log-odds by which classes part on a stretch; then the points are exact to 1e-15
_MOST_STRETCHES = 256  # beyond 1,024 log-odds nothing moves any more on nearly all of the way
_AT_ONCE = 1 << 20  # numbers held at once


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


def in_class_probability(
    contributions: ClassContributions, classes: Integers, link: ClassLink
) -> ClassContributions:
    """Contributions to the probability of one class of each row, and its base.

    As in :func:`in_probability` all contributions, here those to the margins of all classes, grow
    from 0 to their full size at the same pace. What that does to the probability of class k is the
    integral over the way of ``sum_j dp_k/dm_j * phi_j``, with ``dp_k/dm_j = p_k (1[j = k] - p_j)``
    of the softmax: the Aumann-Shapley value. Gauss-Legendre quadrature on short stretches gives it
    to rounding errors, and base and contributions add up to the probability; where classes part by
    more than 1,024 log-odds, what is missed is shared out in proportion.

    Args:
        contributions: exact Shapley values of the margins of all classes.
        classes: intp[n], the class whose probability is explained.
        link: from margins to probabilities, a softmax.

    Source:
        As :func:`in_probability`; the way of the integral is that of Sundararajan, Taly and Yan
        (2017), Axiomatic attribution for deep networks.
    """
    values, base = contributions.values, contributions.base
    rows = np.arange(len(values))
    start = link.probability(base[None])[0]
    way = values.sum(axis=1)
    slopes = np.empty_like(way)
    parted = way.max(axis=1, initial=-np.inf) - way.min(axis=1, initial=np.inf)
    stretches = np.clip(np.ceil(parted / _STRETCH), 1, _MOST_STRETCHES).astype(np.intp)
    for count in np.unique(stretches).tolist():
        alike = np.flatnonzero(stretches == count)
        size = max(1, _AT_ONCE // (count * _POINTS * way.shape[1]))
        for some in np.split(alike, range(size, len(alike), size)):
            slopes[some] = _mean_slopes(base, way[some], classes[some], count)
    shared = np.einsum("npk,nk->np", values, slopes)
    total = softmax(base + way)[rows, classes] - start[classes]
    sizes = np.abs(shared)
    whole = sizes.sum(axis=1)
    missed = (total - shared.sum(axis=1)) / np.where(whole > 0, whole, 1.0)
    return ClassContributions(values=shared + sizes * missed[:, None], base=start[classes])


@cache
def _quadrature() -> tuple[Vector, Vector]:
    return np.polynomial.legendre.leggauss(_POINTS)


def _mean_slopes(base: Vector, way: Matrix, classes: Integers, stretches: int) -> Matrix:
    """The mean over the way of the slopes of the probability of a class in all margins,
    float64[n, classes]."""
    points, weights = _quadrature()
    starts = np.arange(stretches)[:, None]
    t = ((starts + (points + 1) / 2) / stretches).ravel()
    w = np.tile(weights / 2 / stretches, stretches)
    p = softmax(base + t[:, None] * way[:, None, :])  # [n, points, classes]
    own = np.take_along_axis(p, classes[:, None, None], axis=2) * w[:, None]
    slopes: Matrix = -np.einsum("nto,ntk->nk", own, p)
    slopes[np.arange(len(way)), classes] += own.sum(axis=(1, 2))
    return slopes
