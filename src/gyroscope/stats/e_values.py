"""E-values: evidence against a null hypothesis that may be looked at as often as one likes.

An e-value is a non-negative statistic whose mean is at most 1 if the null is true, so that it
exceeds 1/alpha with chance at most alpha. The wealth of a gambler who bets against the null is one
at every moment at once (Ville's inequality). Everything here is in natural logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gyroscope.errors import UsageError
from gyroscope.stats.batches import FloatArray

# Stakes as shares of the one that could ruin: each half the last, from bold to less than 1/100.
STAKES = tuple(0.9 * 0.5**k for k in range(8))
BOLDEST = 0.95  # share of the one that could ruin, for who learns the stake
_LARGEST_LOG = 690.0  # exp of more overflows


def betting_log_e(
    x: npt.ArrayLike, *, null_mean: float, lowest: float, design_effect: float = 1.0
) -> float:
    """Log e-value against "each x has mean at most ``null_mean``, given those before it".

    The wealth of eight gamblers of equal means, each of whom stakes a constant share on every row:
    mean over k of prod_i (1 + s_k (x_i - null_mean)), s_k = stake_k / (null_mean - lowest). The
    stakes are fixed in advance, so that they are predictable whatever the data, and the product
    does not depend on the order of the rows. So it is computed afresh from all rows at each look
    rather than carried: late labels only add factors, a restart cannot count a row twice, and the
    value is the same as if it had been followed from the first row on. It may be looked at as often
    as wished. What the mixture costs against the best stake in hindsight is log 8 = 2.1 at most.

    Args:
        x: observations[n], none below ``lowest``; there is no upper bound.
        null_mean: the mean under the null.
        lowest: the lowest possible x, below ``null_mean``.
        design_effect: how many times larger the variance of the sum is than that of independent
            rows (:attr:`~gyroscope.stats.clustered.ClusteredMean.design_effect`), at least 1. Each
            gambler's wealth is raised to the power 1 / design_effect: by Jensen's inequality still
            an e-value for independent rows, and for sums that are normal with the larger variance
            one too. With an estimated design effect it is so approximately.

    Returns:
        The natural logarithm of the e-value; 0 without rows.

    Raises:
        UsageError: ``lowest`` is not below ``null_mean``, an x is below it, or the design effect
            is below 1.

    Source:
        Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting,
        JRSS B 86, section 4; the mixture is Robbins' (1970), Annals of Mathematical Statistics 41.
    """
    factors = np.log1p(np.outer(STAKES, _shares(x, null_mean, lowest)))
    if not design_effect >= 1:
        raise UsageError(f"design_effect must be at least 1, got {design_effect}")
    return log_mean_exp((factors.sum(axis=-1) / design_effect).tolist())


def adaptive_betting_log_e(x: npt.ArrayLike, *, null_mean: float, lowest: float) -> FloatArray:
    """Path of the log e-value of one gambler who learns the best stake as rows arrive (aGRAPA).

    The null is that of :func:`betting_log_e`. Before each row the stake is the approximately best
    one for the mean and variance of the rows before it, (mean - null_mean) / (variance + (mean -
    null_mean)^2), between 0 and half of the one that could ruin. Against the mixture it gains where
    the mean is far above the null and loses on short streams; it depends on the order of the rows.

    Args:
        x: observations[..., n], none below ``lowest``, in order of arrival; leading axes are
            streams.
        null_mean: the mean under the null.
        lowest: the lowest possible x, below ``null_mean``.

    Returns:
        The natural logarithms[..., n] of the e-value after each row.

    Raises:
        UsageError: ``lowest`` is not below ``null_mean``, or an x is below it.

    Source:
        Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting,
        JRSS B 86, section B.3.
    """
    # In units of the distance to the bound, so that a stake of 1 could ruin.
    y = _shares(x, null_mean, lowest)
    t = np.arange(1, y.shape[-1] + 1)
    means = np.cumsum(y, axis=-1) / (t + 1)  # one row at the null, of variance 1/4, to begin with
    variances = (0.25 + np.cumsum((y - means) ** 2, axis=-1)) / (t + 1)
    best = means / (variances + means**2)
    stakes = np.zeros_like(y)  # known before the row
    stakes[..., 1:] = np.clip(best[..., :-1], 0.0, 0.5)
    return np.asarray(np.cumsum(np.log1p(stakes * y), axis=-1))


def shift_log_factors(
    x: npt.ArrayLike, *, null_mean: float, lowest: float, sizes: Sequence[float]
) -> FloatArray:
    """Log factors by which each row multiplies the wealth of gamblers on shifts of given sizes.

    The null is that of :func:`betting_log_e`. Who expects a mean of size d standard deviations
    above the null wins most, while the shift is small, with a stake of d / sd. The standard
    deviation is that of the rows before around the null, so that each stake is fixed before its row
    and the factors have mean at most 1 whatever the law; a law that is narrower than it might be
    is bet on as boldly as that allows.

    Args:
        x: observations[n], none below ``lowest``, in order of arrival.
        null_mean: the mean under the null.
        lowest: the lowest possible x, below ``null_mean``.
        sizes: shifts in standard deviations, above 0.

    Returns:
        The natural logarithms[sizes, n] of the factors.

    Raises:
        UsageError: ``lowest`` is not below ``null_mean``, or an x is below it.

    Source:
        Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting,
        JRSS B 86, section 3: predictable plug-in of the variance.
    """
    y = _shares(x, null_mean, lowest)
    # One row at the bound to begin with: the variance of a coin that decides between 0 and twice
    # the distance.
    squares = np.cumsum(np.append(1.0, y[:-1] ** 2))[: y.size] / np.arange(1, y.size + 1)
    stakes = np.minimum(np.outer(sizes, 1 / np.sqrt(squares)), BOLDEST)
    return np.asarray(np.log1p(stakes * y))


def _shares(x: npt.ArrayLike, null_mean: float, lowest: float) -> FloatArray:
    """The observations less the mean under the null, by the distance to the bound: at least -1."""
    values = np.asarray(x, dtype=np.float64)
    if not lowest < null_mean:
        raise UsageError(f"lowest must be below null_mean, got {lowest} and {null_mean}")
    if values.size and values.min() < lowest - 1e-9:
        raise UsageError(f"an observation is {values.min()}, below the lowest possible {lowest}")
    return (values - null_mean) / (null_mean - lowest)


def log_mean_exp(log_values: Sequence[float]) -> float:
    """The logarithm of the mean of e-values, which is an e-value again.

    Args:
        log_values: natural logarithms of e-values, at least one.
    """
    top = max(log_values)
    return top + math.log(sum(math.exp(v - top) for v in log_values) / len(log_values))


def e_value(log_e: float) -> float:
    """The e-value of its logarithm, kept between 1e-299 and 1e299 so that it stays a number."""
    return math.exp(max(-_LARGEST_LOG, min(_LARGEST_LOG, log_e)))
