"""The chi-square distribution under no change, and under change (noncentral)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.stats.batches import FloatArray, Intervals, row
from gyroscope.stats.intervals import normal_quantile
from gyroscope.stats.tails import chi_square_upper


def chi_square_tail(statistic: float, df: int) -> float:
    """P(X > statistic) for a chi-square X with ``df`` degrees of freedom."""
    return float(chi_square_tail_batch(statistic, df))


def chi_square_tail_batch(statistic: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """P(X > statistic) for each statistic[...] and its df[...], 1 or more."""
    return chi_square_upper(statistic, df)


def noncentrality_interval(statistic: float, df: int, *, alpha: float = 0.05) -> Interval:
    """Interval of level 1 - alpha for the noncentrality of a chi-square statistic.

    A noncentral chi-square X with ``df`` degrees of freedom and noncentrality L has mean df + L
    and variance 2 df + 4 L, so that sqrt(X - (df - 1) / 2) has nearly unit variance around
    sqrt(L + (df - 1) / 2); with one degree of freedom it is the absolute value of a normal and the
    interval is exact but for its lower end at 0. Solved for L this is a closed form that is good
    from df = 1 to thousands and L = 0 to millions, where series for the exact law are slow.

    The upper end is never below that of a statistic at its expectation under no change: an
    unusually small statistic does not make the interval short.

    Args:
        statistic: the chi-square statistic, any real number (a debiased one may be negative).
        df: degrees of freedom, 1 or more.
        alpha: the two-sided error of the interval, in (0, 1).

    Source:
        Johnson, Kotz and Balakrishnan (1995), Continuous Univariate Distributions 2, chapter 29
        (approximations to the noncentral chi-square distribution).
    """
    return row(noncentrality_interval_batch(statistic, df, alpha=alpha), Interval)


def noncentrality_interval_batch(
    statistic: npt.ArrayLike, df: npt.ArrayLike, *, alpha: float = 0.05
) -> Intervals:
    """The intervals for statistic[...] with df[...]; see :func:`noncentrality_interval`."""
    z = normal_quantile(1 - alpha / 2)
    x, degrees = np.asarray(statistic, dtype=np.float64), np.asarray(df, dtype=np.float64)
    shift = (degrees - 1) / 2
    low = np.sqrt(np.maximum(x - shift, 0.0)) - z
    high = np.sqrt(np.maximum(x, degrees) - shift) + z
    return Intervals(np.maximum(low * np.abs(low) - shift, 0.0), high * high - shift)
