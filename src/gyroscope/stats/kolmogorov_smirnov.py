"""The two-sample Kolmogorov-Smirnov test, from values and from counts over common cells."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.findings import Interval
from gyroscope.stats.counts import paired_counts


class KolmogorovSmirnovResult(msgspec.Struct, frozen=True, kw_only=True):
    """The largest distance between two distribution functions."""

    value: float  # the distance D of the samples, in [0, 1]; from counts a lower bound of it
    error: float  # D of the values lies in [value, value + error]; 0 when computed from values
    interval: Interval  # for the distance of the populations
    p_value: float  # of no change; too large rather than too small with ties and from counts
    n_reference: int
    n_current: int


def kolmogorov_smirnov(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> KolmogorovSmirnovResult:
    """Two-sample Kolmogorov-Smirnov test from values.

    Args:
        reference: values[m], finite or infinite, not missing; ties are allowed.
        current: values[n], likewise.
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        The result; with an empty sample D is 0, its interval [0, 1] and the p-value 1.

    Raises:
        DataError: a value is missing.

    Source:
        Stephens (1970), Use of the Kolmogorov-Smirnov, Cramer-von Mises and related statistics
        without extensive tables, JRSS B 32, for the p-value; Massart (1990), The tight constant in
        the Dvoretzky-Kiefer-Wolfowitz inequality, Annals of Probability 18, for the interval.
    """
    a, b = _sorted(reference, "reference"), _sorted(current, "current")
    if a.size == 0 or b.size == 0:
        return _result(0.0, 0.0, a.size, b.size, alpha)
    values = np.concatenate([a, b])
    below_a = np.searchsorted(a, values, side="right") / a.size
    below_b = np.searchsorted(b, values, side="right") / b.size
    return _result(float(np.abs(below_a - below_b).max()), 0.0, a.size, b.size, alpha)


def kolmogorov_smirnov_from_counts(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> KolmogorovSmirnovResult:
    """Two-sample Kolmogorov-Smirnov test from counts over common cells in ascending order.

    The distance is looked for at the cells' ends only. Between two ends the distribution functions
    can part by at most the smaller of the two samples' shares of that cell, and the largest of
    these is the stated ``error``: at most 0.004 with 250 cells of equal reference share. (It is
    needlessly large where a cell holds one value only, which counts do not show.)

    Args:
        reference: counts[cells] of the reference sample.
        current: counts[cells] of the current sample.
        alpha: the two-sided error of the interval, in (0, 1).

    Raises:
        DataError: the counts cannot be used.
    """
    a, b = paired_counts(reference, current)
    m, n = a.sum(), b.sum()
    if m == 0 or n == 0:
        return _result(0.0, 0.0, m, n, alpha)
    distance = float(np.abs(np.cumsum(a) / m - np.cumsum(b) / n).max())
    error = min(float(np.minimum(a / m, b / n).max()), 1 - distance)
    return _result(distance, error, m, n, alpha)


def _sorted(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    x = np.sort(np.asarray(values, dtype=np.float64), axis=None)
    if x.size and math.isnan(x[-1]):  # NaN sorts last
        raise DataError(f"the {name} sample holds missing values; leave them out first")
    return x


def _result(
    distance: float, error: float, m: float, n: float, alpha: float
) -> KolmogorovSmirnovResult:
    if m == 0 or n == 0:
        interval, p_value = Interval(0.0, 1.0), 1.0
    else:
        # Each sample is within its own half of the allowance with probability 1 - alpha / 2.
        allowance = sum(math.sqrt(math.log(4 / alpha) / (2 * size)) for size in (m, n))
        interval = Interval(max(distance - allowance, 0.0), min(distance + error + allowance, 1.0))
        p_value = _p_value(distance, m * n / (m + n))
    return KolmogorovSmirnovResult(
        value=distance,
        error=error,
        interval=interval,
        p_value=p_value,
        n_reference=round(m),
        n_current=round(n),
    )


def _p_value(distance: float, pairs: float) -> float:
    """Kolmogorov's limit with the small-sample factor of Stephens (1970)."""
    from scipy.special import kolmogorov

    root = math.sqrt(pairs)
    return float(kolmogorov((root + 0.12 + 0.11 / root) * distance))
