"""Distances between two samples: Jensen-Shannon, Hellinger, total variation and Wasserstein."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.findings import Interval
from gyroscope.stats.batches import FloatArray, Intervals, row
from gyroscope.stats.counts import paired_counts, sizes
from gyroscope.stats.divergences import (
    DivergenceBatch,
    DivergenceResult,
    delta_variance,
    judge,
    two_samples,
)
from gyroscope.stats.intervals import normal_quantile


def jensen_shannon_divergence(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> DivergenceResult:
    """Jensen-Shannon divergence in nats: the mean of KL(p | s) and KL(q | s), s = (p + q) / 2.

    Under no change 8 JS n m / (n + m) is about chi-square with B - 1 degrees of freedom for B cells
    that hold anything, which gives bias and p-value; the interval is that of a noncentral
    chi-square with a scale from the delta method. All of it needs about five expected in every cell
    of the smaller sample (``pool_rare_cells``).

    Args:
        reference: counts[cells] of the reference sample.
        current: counts[cells] of the current sample.
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        The result; nothing can be said with an empty sample (0, interval from 0 to infinity,
        p-value 1) or a single cell (the same, interval from 0 to 0).

    Raises:
        DataError: the counts cannot be used.

    Source:
        Lin (1991), Divergence measures based on the Shannon entropy, IEEE Transactions on
        Information Theory 37; Pardo (2006), Statistical Inference Based on Divergence Measures,
        chapter 3.
    """
    pair = paired_counts(reference, current)
    return row(jensen_shannon_divergence_batch(*pair, alpha=alpha), DivergenceResult)


def jensen_shannon_divergence_batch(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> DivergenceBatch:
    """The divergence of many pairs, counts[..., cells]; see :func:`jensen_shannon_divergence`."""
    samples = two_samples(reference, current)
    p, q = samples.p_counts / samples.n, samples.q_counts / samples.m
    middle = (p + q) / 2
    value = np.maximum((_relative(p, middle) + _relative(q, middle)).sum(axis=-1) / 2, 0.0)
    return judge(
        samples, value, _jensen_shannon_slopes, curvature=1 / 8, alpha=alpha, most=math.log(2)
    )


def jensen_shannon_distance(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> DivergenceResult:
    """The root of :func:`jensen_shannon_divergence`, a metric; ``bias`` is the root of its bias.

    Source:
        Endres and Schindelin (2003), A new metric for probability distributions, IEEE Transactions
        on Information Theory 49.
    """
    pair = paired_counts(reference, current)
    return row(jensen_shannon_distance_batch(*pair, alpha=alpha), DivergenceResult)


def jensen_shannon_distance_batch(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> DivergenceBatch:
    """The distance of many pairs, counts[..., cells]; see :func:`jensen_shannon_distance`."""
    return _root(jensen_shannon_divergence_batch(reference, current, alpha=alpha))


def hellinger(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> DivergenceResult:
    """Hellinger distance in [0, 1]: the root of 1 - sum of sqrt(p q) over cells.

    Its square behaves as the Jensen-Shannon divergence does: arguments, result and conditions are
    those of :func:`jensen_shannon_divergence`, ``bias`` is the root of the bias of the square.

    Source:
        Hellinger (1909), Journal fuer die reine und angewandte Mathematik 136; Pardo (2006).
    """
    return row(hellinger_batch(*paired_counts(reference, current), alpha=alpha), DivergenceResult)


def hellinger_batch(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> DivergenceBatch:
    """The distance of many pairs, counts[..., cells]; see :func:`hellinger`."""
    samples = two_samples(reference, current)
    p, q = samples.p_counts / samples.n, samples.q_counts / samples.m
    square = ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(axis=-1) / 2
    return _root(judge(samples, square, _hellinger_slopes, curvature=1 / 8, alpha=alpha, most=1.0))


def total_variation(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> DivergenceResult:
    """Total variation distance in [0, 1]: half the sum of |p - q| over cells.

    The bias is the mean of as many independent normals' absolute values as there are cells. The
    interval is normal, by the delta method, its lower end moved down by the bias. The p-value is a
    bound that holds for every number of rows and cells: changing a row moves the distance by 1/n at
    most, so that it passes its mean by t with chance exp(-2 t^2 / (1/n + 1/m)) at most, and its
    mean is at most half the sum of the cells' standard errors (here those of the pooled shares).
    For a sharper one see :func:`permutation_p_value`.

    Args:
        reference: counts[cells] of the reference sample.
        current: counts[cells] of the current sample.
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        The result; with an empty sample value 0, interval [0, 1] and p-value 1.

    Raises:
        DataError: the counts cannot be used.

    Source:
        McDiarmid (1989), On the method of bounded differences, Surveys in Combinatorics, for the
        bound.
    """
    pair = paired_counts(reference, current)
    return row(total_variation_batch(*pair, alpha=alpha), DivergenceResult)


def total_variation_batch(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> DivergenceBatch:
    """The distance of many pairs, counts[..., cells]; see :func:`total_variation`."""
    samples = two_samples(reference, current)
    p, q = samples.p_counts / samples.n, samples.q_counts / samples.m
    value = np.where(samples.empty, 0.0, np.abs(p - q).sum(axis=-1) / 2)
    pooled = (samples.p_counts + samples.q_counts) / (samples.n + samples.m)
    largest_mean = np.sqrt(pooled * (1 - pooled)).sum(axis=-1) * np.sqrt(samples.unit) / 2
    bias = np.where(samples.empty, 0.0, largest_mean * math.sqrt(2 / math.pi))
    by_p = np.sign(p - q) / 2
    half = normal_quantile(1 - alpha / 2) * np.sqrt(
        np.maximum(delta_variance(samples, p, q, by_p, -by_p), 0.0)
    )
    beyond = np.maximum(value - largest_mean, 0.0)
    high = np.where(samples.empty, 1.0, np.minimum(np.maximum(value, bias) + half, 1.0))
    return DivergenceBatch(
        value=value,
        bias=bias,
        interval=Intervals(np.maximum(value - bias - half, 0.0), high),
        p_value=np.where(samples.empty, 1.0, np.exp(-2 * beyond**2 / samples.unit)),
        n_reference=sizes(samples.q_counts.sum(axis=-1), value.shape),
        n_current=sizes(samples.p_counts.sum(axis=-1), value.shape),
    )


class WassersteinResult(msgspec.Struct, frozen=True, kw_only=True):
    """How far values have to be moved on average to make one sample of the other."""

    value: float  # in the unit of the column, >= 0
    error: float  # that of the values lies within value -+ error; 0 when computed from values
    bias: float  # what two samples of one population have on average, first order
    interval: Interval  # for the populations
    p_value: float  # of no change, by permutation
    n_reference: int
    n_current: int


def wasserstein(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    permutations: int = 999,
    alpha: float = 0.05,
) -> WassersteinResult:
    """Wasserstein-1 distance of two samples: the area between their distribution functions.

    Args:
        reference: values[m], finite.
        current: values[n], finite.
        rng: draws the permutations.
        permutations: how many; the smallest p-value is 1 / (permutations + 1).
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        The result as of :func:`wasserstein_from_counts`, without error.

    Raises:
        DataError: a value is missing or infinite.
    """
    samples = []
    for values, name in ((reference, "reference"), (current, "current")):
        x = np.asarray(values, dtype=np.float64).ravel()
        if not np.isfinite(x).all():
            raise DataError(f"the {name} sample holds missing or infinite values; leave them out")
        samples.append(x)
    positions, codes = np.unique(np.concatenate(samples), return_inverse=True)
    old, new = (
        np.bincount(x, minlength=positions.size) for x in np.split(codes, [samples[0].size])
    )
    return wasserstein_from_counts(old, new, positions, rng, permutations=permutations, alpha=alpha)


def wasserstein_from_counts(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    positions: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    radius: npt.ArrayLike = 0.0,
    permutations: int = 999,
    alpha: float = 0.05,
) -> WassersteinResult:
    """Wasserstein-1 distance from counts over common cells.

    All values of a cell are taken to lie at its position; the error of that is at most the mean
    radius of the cells, over both samples. The interval is normal: the distance is the difference
    of the means of the Kantorovich potential, the function of slope 1 where the reference lies to
    the left and -1 where it lies to the right, and its error is theirs. Its lower end is moved
    down by the bias, sqrt(2 / pi) times the integral of the standard error of the difference of the
    distribution functions; both ends are moved out by the error.

    Args:
        reference: counts[cells] of the reference sample.
        current: counts[cells] of the current sample.
        positions: ascending positions[cells], finite, in the unit of the column.
        rng: draws the permutations.
        radius: largest distance radius[cells] of a value of each cell from its position.
        permutations: how many; the smallest p-value is 1 / (permutations + 1).
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        The result; with an empty sample value 0, interval from 0 to infinity and p-value 1.

    Raises:
        DataError: the counts or positions cannot be used.

    Source:
        Vallender (1974), Calculation of the Wasserstein distance between probability distributions
        on the line, Theory of Probability 18; del Barrio, Gine and Matran (1999), Central limit
        theorems for the Wasserstein distance, Annals of Probability 27.
    """
    a, b = paired_counts(reference, current)
    x = np.asarray(positions, dtype=np.float64)
    if x.shape != a.shape or not (np.isfinite(x).all() and np.all(np.diff(x) >= 0)):
        raise DataError(f"positions must be {a.size} finite ascending numbers, got {x}")
    m, n = round(a.sum()), round(b.sum())
    if not (m and n):
        value, error, bias, interval, p_value = 0.0, 0.0, 0.0, Interval(0.0, math.inf), 1.0
    else:
        gaps = np.diff(x)
        p, q = a / m, b / n
        ahead = np.cumsum(p - q)[:-1]
        value = float(np.abs(ahead) @ gaps)
        error = float((p + q) @ np.broadcast_to(np.asarray(radius, dtype=np.float64), a.shape))
        below = np.cumsum((a + b) / (m + n))[:-1]
        spread = float(np.sqrt(np.maximum(below * (1 - below), 0.0)) @ gaps)
        bias = math.sqrt(2 / math.pi * (1 / m + 1 / n)) * spread
        potential = np.append(0.0, np.cumsum(np.sign(ahead) * gaps))
        variance = _weighted_variance(p, potential) / m + _weighted_variance(q, potential) / n
        half = normal_quantile(1 - alpha / 2) * math.sqrt(variance)
        high = max(value, bias) + half + error
        interval = Interval(max(value - bias - half - error, 0.0), high)

        def statistic(reference: FloatArray, current: FloatArray) -> FloatArray:
            ahead = np.cumsum(reference / m - current / n, axis=-1)[..., :-1]
            return np.asarray(np.abs(ahead) @ gaps)

        p_value = permutation_p_value(statistic, a, b, rng, permutations=permutations)
    return WassersteinResult(
        value=value,
        error=error,
        bias=bias,
        interval=interval,
        p_value=p_value,
        n_reference=m,
        n_current=n,
    )


def permutation_p_value(
    statistic: Callable[[FloatArray, FloatArray], FloatArray],
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    permutations: int = 999,
) -> float:
    """The exact p-value of no change of any statistic of counts, larger meaning further apart.

    Rows are dealt anew to the two samples: counts of the current one are multivariate
    hypergeometric given the pooled counts.

    Args:
        statistic: of counts[permutations, cells] of the two samples, one number for each row.
        reference: counts[cells] of the reference sample.
        current: counts[cells] of the current sample.
        rng: draws the permutations.
        permutations: how many.

    Raises:
        DataError: the counts cannot be used.

    Source:
        Phipson and Smyth (2010), Permutation p-values should never be zero, Statistical
        Applications in Genetics and Molecular Biology 9.
    """
    a, b = (np.rint(x).astype(np.int64) for x in paired_counts(reference, current))
    pooled = a + b
    dealt = rng.multivariate_hypergeometric(pooled, int(b.sum()), permutations, method="marginals")
    observed = float(statistic(a[None].astype(np.float64), b[None].astype(np.float64))[0])
    others = statistic((pooled - dealt).astype(np.float64), dealt.astype(np.float64))
    reached = np.count_nonzero(others >= observed * (1 - 1e-9))  # ties up to rounding
    return (1 + int(reached)) / (permutations + 1)


def _root(square: DivergenceBatch) -> DivergenceBatch:
    return msgspec.structs.replace(
        square,
        value=np.sqrt(square.value),
        bias=np.sqrt(square.bias),
        interval=Intervals(np.sqrt(square.interval.low), np.sqrt(square.interval.high)),
    )


def _relative(shares: FloatArray, others: FloatArray) -> FloatArray:
    """The terms p ln(p / s), 0 where p is."""
    held = shares > 0
    return np.asarray(shares * np.log(np.where(held, shares, 1.0) / np.where(held, others, 1.0)))


def _jensen_shannon_slopes(p: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray]:
    middle = (p + q) / 2
    return np.log(p / middle) / 2, np.log(q / middle) / 2


def _hellinger_slopes(p: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray]:
    root = np.sqrt(q / p)
    return -root / 2, -1 / (2 * root)


def _weighted_variance(shares: FloatArray, values: FloatArray) -> float:
    return max(float(shares @ values**2 - (shares @ values) ** 2), 0.0)
