"""Chi-square and likelihood-ratio tests that two samples of categories are from one population."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.stats.batches import FloatArray, IntArray, Intervals, row
from gyroscope.stats.counts import paired_count_batches, paired_counts, sizes
from gyroscope.stats.noncentral_chi_square import (
    chi_square_tail_batch,
    noncentrality_interval_batch,
)


class ChiSquareResult(msgspec.Struct, frozen=True, kw_only=True):
    """A test of homogeneity of two samples."""

    value: (
        float  # the statistic, about chi-square with ``df`` degrees of freedom if nothing changed
    )
    df: int  # cells that hold anything, less one
    effect: float  # (value - df)(1/n + 1/m): a distance free of sample size; near the PSI if small
    interval: Interval  # for the effect in the populations
    p_value: float  # of no change
    n_reference: int
    n_current: int


def chi_square(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> ChiSquareResult:
    """Pearson's chi-square test of homogeneity, without continuity correction.

    Its p-value can be trusted as long as every cell is expected to hold about five of the smaller
    sample (``pool_rare_cells``).

    Args:
        reference: counts[cells] of the reference sample.
        current: counts[cells] of the current sample.
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        The result; with an empty sample or a single cell the statistic is 0 and the p-value 1.

    Raises:
        DataError: the counts cannot be used.

    Source:
        Pearson (1900), Philosophical Magazine 50; Cochran (1954), Biometrics 10.
    """
    pair = paired_counts(reference, current)
    return row(chi_square_batch(*pair, alpha=alpha), ChiSquareResult)


def g_test(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> ChiSquareResult:
    """The likelihood-ratio (G) test of homogeneity; arguments and result as :func:`chi_square`.

    Source:
        Wilks (1935), The likelihood test of independence in contingency tables, Annals of
        Mathematical Statistics 6.
    """
    pair = paired_counts(reference, current)
    return row(g_test_batch(*pair, alpha=alpha), ChiSquareResult)


class ChiSquareBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of :class:`ChiSquareResult` for many pairs of samples, each an array[...]."""

    value: FloatArray
    df: IntArray
    effect: FloatArray
    interval: Intervals
    p_value: FloatArray
    n_reference: IntArray
    n_current: IntArray


def chi_square_batch(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> ChiSquareBatch:
    """Pearson's test for many pairs of samples; see :func:`chi_square`.

    Args:
        reference: counts[..., cells] of the reference samples. Cells that are empty in both
            samples of a pair do not count there, so that pairs may differ in their ``df``.
        current: counts[..., cells] of the current samples; leading axes broadcast.
        alpha: the two-sided error of each interval, in (0, 1).

    Raises:
        DataError: the counts cannot be used.
    """
    return _homogeneity(reference, current, _pearson, alpha)


def g_test_batch(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> ChiSquareBatch:
    """The G test for many pairs of samples; see :func:`g_test` and :func:`chi_square_batch`."""
    return _homogeneity(reference, current, _likelihood_ratio, alpha)


def _homogeneity(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    cell_terms: Callable[[FloatArray, FloatArray], FloatArray],
    alpha: float,
) -> ChiSquareBatch:
    a, b = paired_count_batches(reference, current)
    m, n, total = a.sum(axis=-1), b.sum(axis=-1), a + b
    df = np.maximum((total > 0).sum(axis=-1) - 1, 0)
    empty = (m == 0) | (n == 0)
    said = ~empty & (df > 0)
    unit = 1 / np.where(m > 0, m, 1.0) + 1 / np.where(n > 0, n, 1.0)
    shares = total / np.where(m + n > 0, m + n, 1.0)[..., None]
    terms = sum(cell_terms(x, shares * x.sum(axis=-1, keepdims=True)) for x in (a, b))
    value = np.maximum(np.sum(terms, axis=-1), 0.0)  # rounding alone can make it negative
    bounds = noncentrality_interval_batch(value, df, alpha=alpha)
    unknown = np.where(empty, np.inf, 0.0)  # the upper end where nothing can be said
    return ChiSquareBatch(
        value=np.where(said, value, 0.0),
        df=df,
        effect=np.where(said, (value - df) * unit, 0.0),
        interval=Intervals(
            np.where(said, bounds.low * unit, 0.0), np.where(said, bounds.high * unit, unknown)
        ),
        p_value=np.where(said, chi_square_tail_batch(value, np.maximum(df, 1)), 1.0),
        n_reference=sizes(m, df.shape),
        n_current=sizes(n, df.shape),
    )


def _pearson(observed: FloatArray, expected: FloatArray) -> FloatArray:
    return np.asarray((observed - expected) ** 2 / np.where(expected > 0, expected, 1.0))


def _likelihood_ratio(observed: FloatArray, expected: FloatArray) -> FloatArray:
    held = (observed > 0) & (expected > 0)
    ratio = np.where(held, observed, 1.0) / np.where(held, expected, 1.0)
    return np.asarray(2 * observed * np.log(ratio))
