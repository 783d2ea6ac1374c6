"""Intervals for a mean that hold at all times at once, however often one looks.

A confidence sequence of level 1 - alpha holds the mean in every one of its intervals with
probability 1 - alpha, so that it may be read after each row and stopped at any of them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gyroscope.errors import UsageError
from gyroscope.stats.batches import FloatArray, Intervals

_LARGEST_STAKE = 0.5  # Waudby-Smith and Ramdas' choice


def empirical_bernstein_sequence(
    x: npt.ArrayLike, *, low: float = 0.0, high: float = 1.0, alpha: float = 0.05
) -> Intervals:
    """Confidence sequence for the mean of bounded observations, as narrow as their variance allows.

    Each x may depend on those before it as long as its mean, given these, is the same. The interval
    after t rows is the intersection of all up to then.

    Args:
        x: observations[..., n] in [low, high], in order of arrival; leading axes are streams.
        low: the lowest possible observation.
        high: the highest possible one, above ``low``.
        alpha: the error of the whole sequence, in (0, 1).

    Returns:
        The intervals[..., n] after each row, within [low, high]. Should their intersection be
        empty (of chance alpha at most), both ends are the middle of the two that part.

    Raises:
        UsageError: an observation is out of range or missing, or ``low`` is not below ``high``.

    Source:
        Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting,
        JRSS B 86, theorem 2 (predictable plug-in empirical Bernstein) and the stakes it uses.
    """
    if not low < high:
        raise UsageError(f"low must be below high, got {low} and {high}")
    values = np.asarray(x, dtype=np.float64)
    if not np.all((values >= low) & (values <= high)):
        wrong = values[~((values >= low) & (values <= high))][0]
        raise UsageError(f"observations must lie in [{low}, {high}], got {wrong}")
    y = (values - low) / (high - low)
    t = np.arange(1, y.shape[-1] + 1)
    # Mean and variance of what came before, with half a row at 1/2 and a quarter of its spread.
    means = (0.5 + np.cumsum(y, axis=-1)) / (t + 1)
    variances = (0.25 + np.cumsum((y - means) ** 2, axis=-1)) / (t + 1)
    mean_before, variance_before = _delayed(means, 0.5), _delayed(variances, 0.25)
    log_error = math.log(2 / alpha)
    stakes = np.sqrt(2 * log_error / (variance_before * t * np.log1p(t)))
    stakes = np.minimum(stakes, _LARGEST_STAKE)
    cost = (y - mean_before) ** 2 * (-np.log1p(-stakes) - stakes)
    total = np.cumsum(stakes, axis=-1)
    middle = np.cumsum(stakes * y, axis=-1) / total
    half = (log_error + np.cumsum(cost, axis=-1)) / total
    width = high - low
    return _intersected(low + width * (middle - half), low + width * (middle + half), low, high)


def normal_mixture_sequence(
    x: npt.ArrayLike, *, sigma: float, best_at: int, alpha: float = 0.05
) -> Intervals:
    """Confidence sequence for the mean of sub-Gaussian observations, in closed form.

    After t rows the mean is within sqrt((V + r) log((V + r) / (r alpha^2))) / t of the average,
    with V = t sigma^2 and r chosen so that it is narrowest after ``best_at`` rows.

    Args:
        x: observations[..., n], in order of arrival; leading axes are streams.
        sigma: bound on the scale: the standard deviation of normal observations, half the range of
            bounded ones (Hoeffding); above 0.
        best_at: number of rows at which the interval is to be narrowest, at least 1.
        alpha: the error of the whole sequence, in (0, 1).

    Returns:
        The intervals[..., n] after each row, not intersected: each is centred at its average.

    Raises:
        UsageError: ``sigma`` or ``best_at`` out of range.

    Source:
        Robbins (1970), Statistical methods related to the law of the iterated logarithm, Annals of
        Mathematical Statistics 41; Howard, Ramdas, McAuliffe and Sekhon (2021), Time-uniform,
        nonparametric, nonasymptotic confidence sequences, Annals of Statistics 49, equations (14)
        and section 3.5 for r.
    """
    if not (sigma > 0 and best_at >= 1):
        raise UsageError(f"sigma must be above 0 and best_at at least 1, got {sigma}, {best_at}")
    values = np.asarray(x, dtype=np.float64)
    t = np.arange(1, values.shape[-1] + 1)
    half = normal_mixture_half_width(
        sigma / np.sqrt(t), best_at=sigma / math.sqrt(best_at), alpha=alpha
    )
    average = np.cumsum(values, axis=-1) / t
    return Intervals(average - half, average + half)


def normal_mixture_half_width(
    errors: npt.ArrayLike, *, best_at: float, alpha: float = 0.05
) -> FloatArray:
    """Half of the interval around an estimate that may be looked at again and again as it grows.

    For an estimate e with standard error s it is s sqrt((1 + r) log((1 + 1 / r) / alpha^2)), where
    r is proportional to s^2. For estimates that are normal with independent increments, such as
    the mean of normal rows, the intervals hold the truth at all times at once; with estimated
    errors of large samples they do so asymptotically.

    Args:
        errors: standard errors, above 0, any shape.
        best_at: the error at which the interval is to be narrowest, for its level, above 0.
        alpha: the error of the whole sequence, in (0, 1).

    Returns:
        Half of each interval, in the unit of the errors.

    Source:
        Robbins (1970), see :func:`normal_mixture_sequence`; for estimated errors Waudby-Smith,
        Arbour, Sinha, Kennedy and Ramdas (2024), Time-uniform central limit theory and asymptotic
        confidence sequences, Annals of Statistics 52, theorem 2.2 and section 2.3 for r.
    """
    from scipy.special import lambertw

    s = np.asarray(errors, dtype=np.float64)
    ratio = (s / best_at) ** 2 / (-float(lambertw(-(alpha**2) / math.e, -1).real) - 1)
    return np.asarray(s * np.sqrt((1 + ratio) * np.log((1 + 1 / ratio) / alpha**2)))


def _delayed(values: FloatArray, first: float) -> FloatArray:
    """The values one step later, after ``first``: what was known before each row."""
    before = np.full_like(values, first)
    before[..., 1:] = values[..., :-1]
    return before


def _intersected(low: FloatArray, high: FloatArray, lowest: float, highest: float) -> Intervals:
    low = np.maximum(np.maximum.accumulate(low, axis=-1), lowest)
    high = np.minimum(np.minimum.accumulate(high, axis=-1), highest)
    crossed = low > high
    middle = (low + high) / 2
    return Intervals(np.where(crossed, middle, low), np.where(crossed, middle, high))
