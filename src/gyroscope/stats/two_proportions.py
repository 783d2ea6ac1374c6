"""Two independent proportions: their difference with a score interval, and a test."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.findings import Interval
from gyroscope.stats.batches import FloatArray, IntArray, Intervals, row
from gyroscope.stats.intervals import two_tails, wilson_intervals

EXACT = 30.0  # expected count of a cell below which p-values are exact
_BLOCK = 2000  # rows whose exact tails are summed in one table
_BEYOND = 100  # terms beyond observed one and mean: with a mean below 30 those left out say nothing


class TwoProportionsResult(msgspec.Struct, frozen=True, kw_only=True):
    """How far two proportions are apart."""

    value: float  # share in the current sample less share in the reference, in [-1, 1]
    interval: Interval  # for the difference in the populations
    p_value: float  # of no change, two-sided
    reference: float  # share in the reference sample, nan if that is empty
    current: float  # share in the current sample, nan if that is empty
    n_reference: int
    n_current: int


def two_proportions(
    successes_reference: int,
    n_reference: int,
    successes_current: int,
    n_current: int,
    *,
    alpha: float = 0.05,
) -> TwoProportionsResult:
    """Compare two independent proportions.

    The interval combines the two Wilson intervals (Newcombe 1998, method 10). The p-value is that
    of the pooled score test, with the tail of a gamma distribution that is as skewed as the count
    is under no change: one in a million is far out, where the normal limit is good for thousands
    of successes only. Where a cell of the 2 x 2 table is expected to hold fewer than thirty, it is
    exact given the margins: twice the smaller tail of the hypergeometric distribution.

    Args:
        successes_reference: successes in the reference sample, in [0, n_reference].
        n_reference: size of the reference sample.
        successes_current: successes in the current sample, in [0, n_current].
        n_current: size of the current sample.
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        The result; with an empty sample the difference is 0, its interval [-1, 1] and the
        p-value 1.

    Raises:
        DataError: successes outside [0, n].

    Source:
        Newcombe (1998), Interval estimation for the difference between independent proportions,
        Statistics in Medicine 17; Fisher (1935), The logic of inductive inference, JRSS 98;
        Mielke and Berry (2007), Permutation Methods, section 2.3, for the gamma distribution.
    """
    numbers = successes_reference, n_reference, successes_current, n_current
    return row(two_proportions_batch(*numbers, alpha=alpha), TwoProportionsResult)


class TwoProportionsBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of :class:`TwoProportionsResult` for many pairs of samples, each an array[...]."""

    value: FloatArray
    interval: Intervals
    p_value: FloatArray
    reference: FloatArray
    current: FloatArray
    n_reference: IntArray
    n_current: IntArray


def two_proportions_batch(
    successes_reference: npt.ArrayLike,
    n_reference: npt.ArrayLike,
    successes_current: npt.ArrayLike,
    n_current: npt.ArrayLike,
    *,
    alpha: float = 0.05,
) -> TwoProportionsBatch:
    """Compare many pairs of independent proportions; see :func:`two_proportions`.

    Args:
        successes_reference: successes[...] in the reference samples; all arguments broadcast.
        n_reference: sizes[...] of the reference samples.
        successes_current: successes[...] in the current samples.
        n_current: sizes[...] of the current samples.
        alpha: the two-sided error of each interval, in (0, 1).

    Raises:
        DataError: successes outside [0, n].
    """
    a, m, b, n = np.broadcast_arrays(
        *(
            np.asarray(x, dtype=np.int64)
            for x in (successes_reference, n_reference, successes_current, n_current)
        )
    )
    (old, ends_old), (new, ends_new) = (_share(*x, alpha) for x in ((a, m), (b, n)))
    empty = (m == 0) | (n == 0)
    value = np.where(empty, 0.0, new - old)
    down = np.hypot(new - ends_new.low, ends_old.high - old)
    up = np.hypot(ends_new.high - new, old - ends_old.low)
    interval = Intervals(
        np.where(empty, -1.0, np.maximum(value - down, -1.0)),
        np.where(empty, 1.0, np.minimum(value + up, 1.0)),
    )
    return TwoProportionsBatch(
        value=value,
        interval=interval,
        p_value=_p_values(a, m, b, n),
        reference=old,
        current=new,
        n_reference=m,
        n_current=n,
    )


def _share(successes: IntArray, n: IntArray, alpha: float) -> tuple[FloatArray, Intervals]:
    wrong = (successes < 0) | (successes > n)
    if wrong.any():
        at = np.unravel_index(np.argmax(wrong), wrong.shape)
        raise DataError(f"successes must lie in [0, {n[at]}], got {successes[at]}")
    share = np.where(n > 0, successes / np.maximum(n, 1), np.nan)
    return share, wilson_intervals(successes, n, alpha=alpha)


def _p_values(a: IntArray, m: IntArray, b: IntArray, n: IntArray) -> FloatArray:
    successes, total = a + b, m + n
    open_ = (successes > 0) & (successes < total) & (m > 0) & (n > 0)
    a, m, b, n, successes, total = (x[open_] for x in (a, m, b, n, successes, total))
    pooled = successes / total
    z = (b / n - a / m) / np.sqrt(pooled * (1 - pooled) * (1 / m + 1 / n))
    skewness = (1 - 2 * pooled) * (m - n) / np.sqrt(pooled * (1 - pooled) * total * m * n)
    found = two_tails(z, skewness)
    few = np.minimum(successes, total - successes) * np.minimum(m, n) / total < EXACT
    if few.any():
        found[few] = _exact_p_values(a[few], m[few], b[few], n[few])
    p_values = np.ones(open_.shape)
    p_values[open_] = found
    return p_values


def _exact_p_values(a: IntArray, m: IntArray, b: IntArray, n: IntArray) -> FloatArray:
    """Twice the smaller tail of the hypergeometric distribution of ``b``, at most 1.

    By symmetry the rarer outcome is counted in the smaller sample. There fewer than thirty are
    expected, so that the terms soon fall at least geometrically and some beyond what was observed
    are all that matter.
    """
    smaller, successes, total = np.minimum(m, n), a + b, m + n
    rarer = np.minimum(successes, total - successes)
    observed = np.where(n <= m, b, a)
    observed = np.where(successes == rarer, observed, smaller - observed)
    p_values = np.empty(a.shape)
    order = np.argsort(observed, kind="stable")  # alike ones together need no wider table
    for block in np.array_split(order, math.ceil(order.size / _BLOCK)):
        x = observed[block][:, None]
        k = np.arange(x.max() + _BEYOND)
        rare, small = rarer[block][:, None], smaller[block][:, None]
        rest = total[block][:, None] - rare - small
        ratios = np.maximum(rare - k, 0) * np.maximum(small - k, 0) / ((k + 1) * (rest + k + 1.0))
        weights = np.cumprod(np.hstack([np.ones_like(x, dtype=np.float64), ratios]), axis=1)
        cells = np.arange(weights.shape[1])
        below = np.sum(weights, axis=1, where=cells <= x)
        above = np.sum(weights, axis=1, where=cells >= x)
        p_values[block] = 2 * np.minimum(below, above) / weights.sum(axis=1)
    return np.minimum(p_values, 1.0)
