"""The mean of several estimates that differ by more than their own errors."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError


class RandomEffects(msgspec.Struct, frozen=True, kw_only=True):
    """A common mean, its standard error, and the variance of the true values around it."""

    mean: float = 0.0
    standard_error: float = 0.0
    between: float = 0.0  # variance between the batches, beyond the error within each


def random_effects(estimates: npt.ArrayLike, variances: npt.ArrayLike) -> RandomEffects:
    """Mean of estimates[k] with error variances[k], and the variance between the true values.

    Args:
        estimates: numbers[k], k at least 1.
        variances: the squared standard error of each, above 0.

    Returns:
        The mean weighted by 1 / (variance + between); ``between`` is 0 for a single estimate,
        which says nothing about it.

    Raises:
        DataError: no estimate, unequal lengths, or a variance that is not above 0.

    Source:
        DerSimonian and Laird (1986), Controlled Clinical Trials 7.
    """
    x, v = np.asarray(estimates, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if x.ndim != 1 or x.shape != v.shape or not x.size:
        raise DataError(f"needed: one variance an estimate, got {v.shape} for {x.shape}")
    if not np.all(v > 0):
        raise DataError(f"variances must be above 0, got {v.min()}")
    fixed = 1 / v
    centre = float(fixed @ x / fixed.sum())
    scatter = float(fixed @ (x - centre) ** 2)
    scale = float(fixed.sum() - (fixed @ fixed) / fixed.sum())
    between = max(0.0, (scatter - (x.size - 1)) / scale) if x.size > 1 else 0.0
    weights = 1 / (v + between)
    return RandomEffects(
        mean=float(weights @ x / weights.sum()),
        standard_error=math.sqrt(1 / float(weights.sum())),
        between=between,
    )
