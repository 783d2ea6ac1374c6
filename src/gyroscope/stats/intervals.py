"""Confidence intervals for proportions and means, and the value type they come in."""

from __future__ import annotations

import math
from statistics import NormalDist

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.kernels.special import erfc, gammainc, gammaincc
from gyroscope.stats.batches import FloatArray, Intervals, row

_NORMAL = NormalDist()


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A value with its uncertainty.

    A statistic that is undefined on the rows given (the precision of no positive decision, the AUC
    of one class) has the value and standard error nan, and an interval over its whole range.
    """

    value: float
    standard_error: float
    interval: Interval
    n: int  # observations it rests on

    @property
    def defined(self) -> bool:
        """Whether the rows given determine a value at all."""
        return not math.isnan(self.value)


def undefined(*, low: float = 0.0, high: float = 1.0) -> Estimate:
    """The estimate of a statistic in [low, high] about which the rows say nothing."""
    return Estimate(value=math.nan, standard_error=math.nan, interval=Interval(low, high), n=0)


def normal_quantile(probability: float) -> float:
    """The standard normal quantile of a probability in (0, 1)."""
    return _NORMAL.inv_cdf(probability)


def upper_tail(z: float) -> float:
    """P(Z > z) for a standard normal Z, exact to rounding in the far tail too."""
    return math.erfc(z / math.sqrt(2)) / 2


def normal_interval(
    value: float,
    standard_error: float,
    *,
    alpha: float = 0.05,
    low: float = -math.inf,
    high: float = math.inf,
) -> Interval:
    """Two-sided normal-theory interval of level 1 - alpha, cut to the range [low, high]."""
    half = normal_quantile(1 - alpha / 2) * standard_error
    return Interval(max(low, value - half), min(high, value + half))


def proportion(successes: float, n: float, *, alpha: float = 0.05) -> Estimate:
    """A binomial proportion with its score interval.

    Args:
        successes: how many of the n trials succeeded, in [0, n].
        n: trials; with 0 the proportion is undefined.
        alpha: the two-sided error of the interval, in (0, 1).

    Source:
        Wilson (1927), Probable inference, the law of succession, and statistical inference,
        JASA 22; recommended for all n by Brown, Cai and DasGupta (2001), Statistical Science 16.
    """
    if n == 0:
        return undefined()
    share = successes / n
    interval = row(wilson_intervals(successes, n, alpha=alpha), Interval)
    error = math.sqrt(share * (1 - share) / n)
    return Estimate(value=share, standard_error=error, interval=interval, n=round(n))


def wilson_intervals(
    successes: npt.ArrayLike, n: npt.ArrayLike, *, alpha: float = 0.05
) -> Intervals:
    """The score intervals of many proportions; see :func:`proportion`.

    Args:
        successes: successes[...] of the trials, in [0, n].
        n: trials[...]; without any the interval is [0, 1].
        alpha: the two-sided error of each interval, in (0, 1).
    """
    z2 = normal_quantile(1 - alpha / 2) ** 2
    trials = np.asarray(n, dtype=np.float64)
    some = np.where(trials > 0, trials, 1.0)
    share = np.asarray(successes, dtype=np.float64) / some
    middle = (share + z2 / (2 * some)) / (1 + z2 / some)
    half = np.sqrt(z2 * (share * (1 - share) / some + z2 / (4 * some**2))) / (1 + z2 / some)
    # At the ends the formula is exact only up to rounding; the share must lie inside.
    low, high = np.minimum(share, np.maximum(0, middle - half)), np.minimum(1, middle + half)
    return Intervals(
        np.where(trials > 0, low, 0.0), np.where(trials > 0, np.maximum(share, high), 1.0)
    )


def mean(values: npt.ArrayLike, *, alpha: float = 0.05) -> Estimate:
    """The mean of independent values[n] with its normal-theory interval.

    With fewer than two values there is no standard error and the interval is the whole line.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size < 2:
        value = float(x[0]) if x.size else math.nan
        line = Interval(-math.inf, math.inf)
        return Estimate(value=value, standard_error=math.nan, interval=line, n=x.size)
    value = float(x.mean())
    error = float(x.std(ddof=1) / math.sqrt(x.size))
    interval = normal_interval(value, error, alpha=alpha)
    return Estimate(value=value, standard_error=error, interval=interval, n=x.size)


def two_tails(z: npt.ArrayLike, skewness: npt.ArrayLike) -> FloatArray:
    """Twice the smaller tail, at most 1, of standardised statistics[...] of known skewness[...].

    By a gamma distribution (Pearson's type III) of that skewness; the normal one where it is 0.
    """
    deviate, skew = np.broadcast_arrays(np.asarray(z, dtype=np.float64), skewness)
    deviate = np.where(skew < 0, -deviate, deviate)  # now skewed to the right
    skewed = np.abs(skew) > 1e-6
    shape = 4 / np.where(skewed, skew, 1.0) ** 2
    at = np.maximum(shape + deviate * np.sqrt(shape), 0.0)
    tails = np.minimum(gammainc(shape, at), gammaincc(shape, at))
    # Below its least value a gamma distribution has nothing, and its likeness nothing to say.
    tails = np.where(skewed & (at > 0), tails, erfc(np.abs(deviate) / math.sqrt(2)) / 2)
    return np.asarray(np.minimum(2 * tails, 1.0))
