"""Chi-square and likelihood-ratio tests that two samples of categories are from one population."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.stats.counts import FloatArray, paired_counts
from gyroscope.stats.noncentral_chi_square import chi_square_tail, noncentrality_interval


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
    return _homogeneity(reference, current, _pearson, alpha)


def g_test(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> ChiSquareResult:
    """The likelihood-ratio (G) test of homogeneity; arguments and result as :func:`chi_square`.

    Source:
        Wilks (1935), The likelihood test of independence in contingency tables, Annals of
        Mathematical Statistics 6.
    """
    return _homogeneity(reference, current, _likelihood_ratio, alpha)


def _homogeneity(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    statistic: Callable[[FloatArray, FloatArray], float],
    alpha: float,
) -> ChiSquareResult:
    a, b = paired_counts(reference, current)
    held = (a + b) > 0
    a, b = a[held], b[held]
    m, n, df = float(a.sum()), float(b.sum()), max(a.size - 1, 0)
    if df == 0 or m == 0 or n == 0:
        value, effect, interval, p_value = 0.0, 0.0, Interval(0.0, 0.0), 1.0
        if m == 0 or n == 0:
            interval = Interval(0.0, float("inf"))
    else:
        unit = 1 / n + 1 / m
        value = statistic(np.array([a, b]), _expected(a, b))
        effect = (value - df) * unit
        bounds = noncentrality_interval(value, df, alpha=alpha)
        interval = Interval(bounds.low * unit, bounds.high * unit)
        p_value = chi_square_tail(value, df)
    return ChiSquareResult(
        value=value,
        df=df,
        effect=effect,
        interval=interval,
        p_value=p_value,
        n_reference=round(m),
        n_current=round(n),
    )


def _expected(a: FloatArray, b: FloatArray) -> FloatArray:
    sizes = np.array([a.sum(), b.sum()])
    return np.asarray(np.outer(sizes, (a + b) / sizes.sum()))


def _pearson(observed: FloatArray, expected: FloatArray) -> float:
    return float(((observed - expected) ** 2 / expected).sum())


def _likelihood_ratio(observed: FloatArray, expected: FloatArray) -> float:
    held = observed > 0
    g = 2 * float((observed[held] * np.log(observed[held] / expected[held])).sum())
    return max(g, 0.0)  # rounding alone can make it negative
