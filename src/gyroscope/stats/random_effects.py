"""The mean of several estimates that differ by more than their own errors."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.stats.binary import FloatArray


class RandomEffects(msgspec.Struct, frozen=True, kw_only=True):
    """A common mean, its standard error, and the variance of the true values around it."""

    mean: float = 0.0
    standard_error: float = 0.0
    between: float = 0.0  # variance between the batches, beyond the error within each


def random_effects(
    estimates: npt.ArrayLike, variances: npt.ArrayLike, *, confidence: float = 0.8
) -> RandomEffects:
    """Mean of estimates[k] with error variances[k], and a bound on the variance between them.

    Few estimates say little about the variance between the true values, and a scale that is too
    small makes every later comparison too sure of itself. So ``between`` is not the most likely
    value but its upper confidence bound, and mean and standard error are computed with it.

    Args:
        estimates: numbers[k], k at least 1.
        variances: the squared standard error of each, above 0.
        confidence: of the upper bound on the variance between the true values, in (0, 1).

    Returns:
        The mean weighted by 1 / (variance + between); ``between`` is 0 for a single estimate,
        which says nothing about it.

    Raises:
        DataError: no estimate, unequal lengths, a variance that is not above 0, or anything that is
            not finite.

    Source:
        Viechtbauer (2007), Confidence intervals for the amount of heterogeneity in meta-analysis,
        Statistics in Medicine 26; the Q-profile method.
    """
    x, v = np.asarray(estimates, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if x.ndim != 1 or x.shape != v.shape or not x.size:
        raise DataError(f"every estimate needs one variance, got {v.shape} for {x.shape}")
    if not np.all(v > 0):
        raise DataError(f"variances must be above 0, got {v.min()}")
    if not (np.isfinite(x).all() and np.isfinite(v).all()):
        raise DataError("estimates and their variances must be finite; leave the others out")
    between = _upper_bound(x, v, confidence) if x.size > 1 else 0.0
    weights = 1 / (v + between)
    return RandomEffects(
        mean=float(weights @ x / weights.sum()),
        standard_error=math.sqrt(1 / float(weights.sum())),
        between=between,
    )


def _upper_bound(x: FloatArray, v: FloatArray, confidence: float) -> float:
    """The variance between at which the scatter is as small as chance makes it 1 - confidence."""
    from scipy.special import chdtri

    smallest = float(chdtri(x.size - 1, confidence))
    if _scatter(x, v, 0.0) <= smallest:
        return 0.0
    low, high = 0.0, float(v.max())
    while _scatter(x, v, high) > smallest:
        high *= 2
    for _ in range(60):  # bisection: the scatter falls with the variance between
        middle = (low + high) / 2
        low, high = (middle, high) if _scatter(x, v, middle) > smallest else (low, middle)
    return high


def _scatter(x: FloatArray, v: FloatArray, between: float) -> float:
    """Cochran's Q: chi-square with k - 1 degrees of freedom at the true variance between."""
    weights = 1 / (v + between)
    centre = float(weights @ x / weights.sum())
    return float(weights @ (x - centre) ** 2)
