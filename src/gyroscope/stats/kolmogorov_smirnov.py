"""The two-sample Kolmogorov-Smirnov test, from values and from counts over common cells."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.findings import Interval
from gyroscope.stats.batches import FloatArray, IntArray, Intervals, row, row_blocks
from gyroscope.stats.counts import paired_count_batches, paired_counts, sizes
from gyroscope.stats.tails import kolmogorov_upper

_FEW_PAIRS = 10_000  # of values, one of each sample, up to which p-values are exact


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
        The result; with an empty sample D is 0, its interval [0, 1] and the p-value 1. Up to 10,000
        pairs of values the p-value is exact, and too large with ties; beyond it is that of the
        limit.

    Raises:
        DataError: a value is missing.

    Source:
        Hodges (1958), The significance probability of the Smirnov two-sample test, Arkiv for
        Matematik 3, for the exact p-value; Stephens (1970), Use of the Kolmogorov-Smirnov,
        Cramer-von Mises and related statistics without extensive tables, JRSS B 32, for that of the
        limit; Massart (1990), The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality,
        Annals of Probability 18, for the interval.
    """
    a, b = _sorted(reference, "reference"), _sorted(current, "current")
    distance = 0.0
    if a.size and b.size:
        values = np.concatenate([a, b])
        below_a = np.searchsorted(a, values, side="right") / a.size
        below_b = np.searchsorted(b, values, side="right") / b.size
        distance = float(np.abs(below_a - below_b).max())
    found, error, m, n = np.array([distance, 0.0, a.size, b.size])
    result = row(_result(found, error, m, n, alpha), KolmogorovSmirnovResult)
    if 0 < a.size * b.size <= _FEW_PAIRS:
        result = msgspec.structs.replace(result, p_value=_exact_p_value(distance, a.size, b.size))
    return result


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
    return row(
        kolmogorov_smirnov_batch(*paired_counts(reference, current), alpha=alpha),
        KolmogorovSmirnovResult,
    )


class KolmogorovSmirnovBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of :class:`KolmogorovSmirnovResult` for many pairs, each an array[...]."""

    value: FloatArray
    error: FloatArray
    interval: Intervals
    p_value: FloatArray
    n_reference: IntArray
    n_current: IntArray


def kolmogorov_smirnov_batch(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> KolmogorovSmirnovBatch:
    """The test from counts for many pairs of samples; see :func:`kolmogorov_smirnov_from_counts`.

    Args:
        reference: counts[..., cells] of the reference samples, cells in ascending order.
        current: counts[..., cells] of the current samples; leading axes broadcast.
        alpha: the two-sided error of each interval, in (0, 1).

    Raises:
        DataError: the counts cannot be used.
    """
    a, b = np.broadcast_arrays(*paired_count_batches(reference, current))
    m, n = a.sum(axis=-1), b.sum(axis=-1)
    distance, error = np.zeros(m.size), np.zeros(m.size)
    divisors = [np.where(total > 0, total, 1.0).reshape(-1, 1) for total in (m, n)]
    for rows, *block in row_blocks(a, b):
        p, q = (x / divisor[rows] for x, divisor in zip(block, divisors, strict=True))
        error[rows] = np.minimum(p, q).max(axis=-1, initial=0.0)
        gaps = np.cumsum(np.subtract(p, q, out=p), axis=-1, out=q)
        distance[rows] = np.abs(gaps, out=gaps).max(axis=-1, initial=0.0)
    distance, error = distance.reshape(m.shape), error.reshape(m.shape)
    distance = np.where((m == 0) | (n == 0), 0.0, np.minimum(distance, 1.0))
    return _result(distance, np.minimum(error, 1 - distance), m, n, alpha)


def _sorted(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    x = np.sort(np.asarray(values, dtype=np.float64), axis=None)
    if x.size and math.isnan(x[-1]):  # NaN sorts last
        raise DataError(f"the {name} sample holds missing values; leave them out first")
    return x


def _result(
    distance: FloatArray, error: FloatArray, m: FloatArray, n: FloatArray, alpha: float
) -> KolmogorovSmirnovBatch:
    empty = (m == 0) | (n == 0)
    m_, n_ = np.where(m > 0, m, 1.0), np.where(n > 0, n, 1.0)
    # Each sample is within its own half of the allowance with probability 1 - alpha / 2.
    half = math.log(4 / alpha) / 2
    allowance = np.sqrt(half / m_) + np.sqrt(half / n_)
    low, high = np.maximum(distance - allowance, 0.0), distance + error + allowance
    return KolmogorovSmirnovBatch(
        value=distance,
        error=error,
        interval=Intervals(np.where(empty, 0.0, low), np.where(empty, 1.0, np.minimum(high, 1.0))),
        p_value=np.where(empty, 1.0, _p_value(distance, m_ * n_ / (m_ + n_))),
        n_reference=sizes(m, distance.shape),
        n_current=sizes(n, distance.shape),
    )


def _p_value(distance: FloatArray, pairs: FloatArray) -> FloatArray:
    """Kolmogorov's limit with the small-sample factor of Stephens (1970)."""
    root = np.sqrt(pairs)
    return kolmogorov_upper((root + 0.12 + 0.11 / root) * distance)


def _exact_p_value(distance: float, m: int, n: int) -> float:
    """The share of all orders of m + n different values in which the samples are so far apart.

    An order is a path from (0, 0) to (m, n), of steps to the right for values of the first sample
    and up for those of the other. Counted are the paths that have been far enough from the diagonal
    by the time they are at a point; so nothing is subtracted, and small chances are exact too.
    """
    m, n = min(m, n), max(m, n)
    far = round(distance * m * n)
    paths = np.ones(n + 1)  # to each point of this row, all and those that have been far
    been_far = (np.arange(n + 1) * m >= far).astype(np.float64)
    for i in range(1, m + 1):
        paths = np.cumsum(paths)
        low = max(math.floor((i * n - far) / m) + 1, 0)  # the points of this row that are near
        high = min(math.ceil((i * n + far) / m), n + 1)
        near = been_far[low:high].copy()
        near[:1] += paths[low - 1] if low else 0.0
        been_far = paths.copy()
        been_far[low:high] = np.cumsum(near)
    return float(been_far[-1] / paths[-1])
