"""Change of location and spread of an ordered column, by normal scores of its ranks.

Ranks know no unit and no outlier, and their normal scores lose next to nothing against means and
variances where those are right (Hajek and Sidak 1967). All comes from counts over
common ascending cells: values of one cell are ties.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import UsageError
from gyroscope.findings import Interval
from gyroscope.kernels.special import ndtri
from gyroscope.stats.batches import FloatArray, IntArray, Intervals, row, row_blocks
from gyroscope.stats.counts import paired_count_batches, paired_counts, sizes
from gyroscope.stats.intervals import normal_quantile
from gyroscope.stats.tails import normal_two_tails


class RankEffect(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of change: its test and its size."""

    z: float  # the rank statistic, standard normal if nothing changed; positive: current is larger
    p_value: float  # of no change, two-sided
    value: float  # size of the change, 0 for none
    standard_error: float  # of the size
    interval: Interval  # for the size in the populations


class RankScoresResult(msgspec.Struct, frozen=True, kw_only=True):
    """How far the location and the spread of two samples are apart."""

    shift: RankEffect  # location: van der Waerden; size in standard deviations
    spread: RankEffect  # spread: Klotz; size as the natural log of the ratio of the spreads
    n_reference: int
    n_current: int


class RankEffectBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of :class:`RankEffect` for many pairs of samples, each an array[...]."""

    z: FloatArray
    p_value: FloatArray
    value: FloatArray
    standard_error: FloatArray
    interval: Intervals


class RankScoresBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of :class:`RankScoresResult` for many pairs of samples."""

    shift: RankEffectBatch
    spread: RankEffectBatch
    n_reference: IntArray
    n_current: IntArray


def rank_scores(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    overdispersion: float = 1.0,
) -> RankScoresResult:
    """Test and size of a change of location and of spread, from counts over ascending cells.

    Each cell scores the normal quantile of R / (N + 1), with R the mid-rank of its values in the
    pooled sample of N. The test of location is van der Waerden's, the standardised sum of the
    current sample's scores; that of spread is Klotz's, of the squared scores; both against the
    permutation variance, which knows the ties. Their normal limit holds from about ten rows in the
    smaller sample at a level of 0.05, from some hundred far out in the tails, and as long as the
    largest cell leaves a few dozen rows outside it. Klotz's test takes the locations for equal:
    where they differ, look at the size, which does not.

    The size of a shift is the difference of the mean scores over the standard deviation of scores
    within the samples: for normals of equal spread it estimates how many standard deviations their
    means are apart, within 5 % up to half of one (and beyond where the reference is much the larger
    sample). The size of a change of spread is the logarithm of the ratio of the standard deviations
    of the scores within the samples; ranks draw it a tenth or so towards 0.

    Args:
        reference: counts[cells] of the reference sample.
        current: counts[cells] of the current sample.
        alpha: the two-sided error of the intervals, in (0, 1).
        overdispersion: how many times larger all variances are than those of independent rows, at
            least 1.

    Returns:
        The result. With an empty sample nothing can be said: sizes 0 with infinite standard error
        and p-values of 1. A single cell cannot change: the same, with a standard error of 0. Two
        samples that do not vary in themselves but differ have an infinite shift, and where a sample
        does not vary the change of spread is 0 with an infinite standard error.

    Raises:
        DataError: the counts cannot be used.
        UsageError: the overdispersion is below 1.

    Source:
        van der Waerden (1952), Order tests for the two-sample problem and their power,
        Indagationes Mathematicae 14; Klotz (1962), Nonparametric tests for scale, Annals of
        Mathematical Statistics 33; Hajek and Sidak (1967), Theory of Rank Tests, section II.3.1,
        for mean and variance; Hedges and Olkin (1985), Statistical Methods for Meta-Analysis,
        chapter 5, for the part of the error that grows with the shift.
    """
    pair = paired_counts(reference, current)
    found = rank_scores_batch(*pair, alpha=alpha, overdispersion=overdispersion)
    return row(found, RankScoresResult)


def rank_scores_batch(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    overdispersion: npt.ArrayLike = 1.0,
) -> RankScoresBatch:
    """The tests for many pairs of samples; see :func:`rank_scores`.

    Args:
        reference: counts[..., cells] of the reference samples, cells in ascending order.
        current: counts[..., cells] of the current samples; leading axes broadcast.
        alpha: the two-sided error of each interval, in (0, 1).
        overdispersion: factor[...] of the variances, at least 1; broadcasts too.

    Raises:
        DataError: the counts cannot be used.
        UsageError: an overdispersion is below 1.
    """
    factor = np.asarray(overdispersion, dtype=np.float64)
    if not np.all(factor >= 1):
        raise UsageError(f"overdispersion must be at least 1, got {factor.min()}")
    a, b = np.broadcast_arrays(*paired_count_batches(reference, current))
    m, n = a.sum(axis=-1), b.sum(axis=-1)
    of_a, of_b = _moments(a, b)
    single = (of_a[1] + of_b[1]) == 0  # one cell has the score 0
    empty = (m == 0) | (n == 0)
    undecided = empty | single
    size = np.where(undecided, 2.0, m + n)  # of the pooled sample, where it matters
    m_, n_ = np.where(undecided, 1.0, m), np.where(undecided, 1.0, n)
    tests = [
        _z(of_a[k] + of_b[k], of_a[2 * k + 1] + of_b[2 * k + 1], of_b[k], n_, size) for k in (0, 1)
    ]
    effects = _shift(of_a / m_, of_b / n_, m_, n_), _spread(of_a / m_, of_b / n_, m_, n_)
    unknown = np.where(empty, np.inf, 0.0)
    shift, spread = (
        _effect(
            np.where(undecided, 0.0, z / np.sqrt(factor)),
            np.where(undecided, 0.0, value),
            np.where(undecided, unknown, np.sqrt(variance * factor)),
            alpha,
        )
        for z, (value, variance) in zip(tests, effects, strict=True)
    )
    return RankScoresBatch(
        shift=shift, spread=spread, n_reference=sizes(m, m.shape), n_current=sizes(n, n.shape)
    )


def normal_scores(counts: FloatArray) -> FloatArray:
    """The normal quantile of R / (N + 1), R the mid-rank of each cell, for counts[..., cells]."""
    upto = np.cumsum(counts, axis=-1)
    return ndtri((upto - counts / 2 + 0.5) / (upto[..., -1:] + 1))


def _moments(a: FloatArray, b: FloatArray) -> FloatArray:
    """Sums of the powers 1 to 4 of the normal scores: [sample, power - 1, ...]."""
    found = np.zeros((2, 4, math.prod(a.shape[:-1])))
    for rows, *block in row_blocks(a, b):
        scores = normal_scores(block[0] + block[1])
        squares = scores * scores
        powers = scores, squares, scores * squares, squares * squares
        for sample, counts in enumerate(block):
            for k, power in enumerate(powers):
                found[sample, k, rows] = np.vecdot(counts, power)
    return found.reshape(2, 4, *a.shape[:-1])


def _z(
    total: FloatArray,
    total_squares: FloatArray,
    current: FloatArray,
    n: FloatArray,
    size: FloatArray,
) -> FloatArray:
    """The sum of the current sample's scores, less its mean, over its error under permutations."""
    mean = total / size
    variance = total_squares / size - mean**2
    # Two cells of equal size have one and the same squared score, up to rounding.
    flat = variance <= 1e-12 * total_squares / size
    error = np.sqrt(n * (size - n) / (size - 1) * np.where(flat, 1.0, variance))
    return np.where(flat, 0.0, (current - n * mean) / error)


def _shift(
    a: FloatArray, b: FloatArray, m: FloatArray, n: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Size of the shift and its variance, from the mean powers of the scores of each sample."""
    spread_a, spread_b = np.maximum(a[1] - a[0] ** 2, 0.0), np.maximum(b[1] - b[0] ** 2, 0.0)
    within = (m * spread_a + n * spread_b) / np.maximum(m + n - 2, 1.0)
    difference = b[0] - a[0]
    apart = within <= 1e-12 * (a[1] + b[1])  # neither sample varies
    within = np.where(apart, 1.0, within)
    value = difference / np.sqrt(within)
    # Few rows of which none happens to lie far off show too little spread of their own.
    error_a = np.maximum(spread_a / within, 1.0) / m
    error_b = np.maximum(spread_b / within, 1.0) / n
    variance = error_a + error_b + value**2 / (2 * (m + n))
    never = np.copysign(np.inf, difference)
    return np.where(apart, never, value), np.where(apart, np.inf, variance)


def _spread(
    a: FloatArray, b: FloatArray, m: FloatArray, n: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Log ratio of the spreads and its variance by the delta method, from the mean powers."""
    logs, variances = [], []
    for x, size in ((a, m), (b, n)):
        spread = x[1] - x[0] ** 2
        constant = (spread <= 1e-12 * x[1]) | (size < 2)
        spread = np.where(constant, 1.0, spread)
        fourth = x[3] - 4 * x[2] * x[0] + 6 * x[1] * x[0] ** 2 - 3 * x[0] ** 4
        # The second term is what is left for a fair coin, whose kurtosis is 1.
        variance = (np.maximum(fourth / spread**2, 1.0) - 1) / (4 * size) + 2 / size**2
        logs.append(np.log(spread * size / np.maximum(size - 1, 1.0)) / 2)
        variances.append(np.where(constant, np.inf, variance))
    variance = variances[0] + variances[1]
    return np.where(np.isinf(variance), 0.0, logs[1] - logs[0]), variance


def _effect(
    z: FloatArray, value: FloatArray, standard_error: FloatArray, alpha: float
) -> RankEffectBatch:
    half = normal_quantile(1 - alpha / 2) * standard_error
    known = np.isfinite(half)
    middle, half = np.where(known, value, 0.0), np.where(known, half, np.inf)
    return RankEffectBatch(
        z=z,
        p_value=normal_two_tails(z),
        value=value,
        standard_error=standard_error,
        interval=Intervals(middle - half, middle + half),
    )
