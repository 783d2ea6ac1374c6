"""What is common to divergences between the shares of two samples: bias, interval and p-value.

Every smooth divergence that is zero for equal shares is near them c times the chi-square statistic
times (1/n + 1/m), with c half its curvature there (1 for the PSI, 1/8 for Jensen-Shannon and the
squared Hellinger distance; Pardo 2006, Statistical Inference Based on Divergence Measures, chapter
3). Further away it is normal by the delta method. A noncentral chi-square with a scale that meets
both serves for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.stats.batches import FloatArray, IntArray, Intervals
from gyroscope.stats.counts import paired_count_batches, sizes
from gyroscope.stats.noncentral_chi_square import (
    chi_square_tail_batch,
    noncentrality_interval_batch,
)


class Samples(msgspec.Struct, frozen=True):
    """Counts of two samples with their sizes, made safe to divide by."""

    q_counts: FloatArray  # [..., cells] of the reference sample
    p_counts: FloatArray  # [..., cells] of the current sample
    m: FloatArray  # [..., 1] size of the reference, 1 if that is empty
    n: FloatArray  # [..., 1] size of the current sample, 1 if that is empty
    held: npt.NDArray[np.bool_]  # [..., cells] that hold anything
    empty: npt.NDArray[np.bool_]  # [...] where one of the samples is

    @property
    def df(self) -> IntArray:
        """Cells that hold anything, less one."""
        return np.asarray(self.held.sum(axis=-1) - 1)

    @property
    def unit(self) -> FloatArray:
        """1/n + 1/m."""
        return (1 / self.n + 1 / self.m)[..., 0]


Slopes = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


class DivergenceResult(msgspec.Struct, frozen=True, kw_only=True):
    """How far the shares of two samples are apart."""

    value: float  # as observed, >= 0
    bias: float  # what two samples of one population have on average, first order
    interval: Interval  # for the populations
    p_value: float  # of no change
    n_reference: int
    n_current: int


class DivergenceBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of :class:`DivergenceResult` for many pairs of samples, each an array[...]."""

    value: FloatArray
    bias: FloatArray
    interval: Intervals
    p_value: FloatArray
    n_reference: IntArray
    n_current: IntArray


def two_samples(reference: npt.ArrayLike, current: npt.ArrayLike) -> Samples:
    """Counts[..., cells] of two samples, checked; leading axes broadcast.

    Raises:
        DataError: the counts cannot be used.
    """
    q_counts, p_counts = paired_count_batches(reference, current)
    m, n = (x.sum(axis=-1, keepdims=True) for x in (q_counts, p_counts))
    return Samples(
        q_counts,
        p_counts,
        np.where(m > 0, m, 1.0),
        np.where(n > 0, n, 1.0),
        (q_counts + p_counts) > 0,
        ((m == 0) | (n == 0))[..., 0],
    )


def judge(
    samples: Samples,
    value: FloatArray,
    slopes: Slopes,
    *,
    curvature: float,
    alpha: float,
    most: float = math.inf,
) -> DivergenceBatch:
    """Bias, interval and p-value of a divergence.

    Args:
        samples: the two samples.
        value: value[...] of the divergence, >= 0.
        slopes: the derivatives by the shares p of the current and q of the reference sample, from
            shares that are above 0.
        curvature: c, see the head of the module.
        alpha: the two-sided error of each interval, in (0, 1).
        most: the largest value that there is, that of samples with nothing in common.

    Returns:
        The result; with an empty sample value 0, interval from 0 to infinity and p-value 1, with a
        single cell the same but for an interval from 0 to 0.
    """
    df, unit = samples.df, samples.unit * curvature
    said = ~samples.empty & (df > 0)
    scale = _scale(samples, value, slopes, unit)
    bounds = noncentrality_interval_batch((value - df * unit) / scale + df, df, alpha=alpha)
    p_value = chi_square_tail_batch(value / unit, np.maximum(df, 1))
    unknown = np.where(samples.empty, np.inf, 0.0)  # the upper end where nothing can be said
    return DivergenceBatch(
        value=np.where(said, value, 0.0),
        bias=np.where(said, df * unit, 0.0),
        interval=Intervals(
            np.where(said, np.minimum(bounds.low * scale, most), 0.0),
            np.where(said, np.minimum(bounds.high * scale, most), unknown),
        ),
        p_value=np.where(said, p_value, 1.0),
        n_reference=sizes(samples.q_counts.sum(axis=-1), df.shape),
        n_current=sizes(samples.p_counts.sum(axis=-1), df.shape),
    )


def delta_variance(
    samples: Samples, p: FloatArray, q: FloatArray, by_p: FloatArray, by_q: FloatArray
) -> FloatArray:
    """First-order variance of a function of the shares p and q with these derivatives, [...]."""
    return _variance(p, by_p) / samples.n[..., 0] + _variance(q, by_q) / samples.m[..., 0]


def _scale(samples: Samples, value: FloatArray, slopes: Slopes, unit: FloatArray) -> FloatArray:
    """What one unit of a chi-square statistic is worth in the divergence.

    Near no change it is curvature (1/n + 1/m). Further away the variance by the delta method, set
    against the 4 * value * scale of a noncentral chi-square, gives it. Half a count in every cell
    keeps the derivatives finite.
    """
    half = samples.held.sum(axis=-1, keepdims=True) / 2
    p = (samples.p_counts + 0.5) / (samples.n + half)
    q = (samples.q_counts + 0.5) / (samples.m + half)
    by_p, by_q = slopes(p, q)
    p, q = np.where(samples.held, p, 0.0), np.where(samples.held, q, 0.0)
    near = value <= unit * 1e-6
    variance = delta_variance(samples, p, q, by_p, by_q)
    far = np.maximum(variance / (4 * np.where(near, 1.0, value)), unit * 0.1)
    return np.asarray(np.where(near, unit, far))


def _variance(shares: FloatArray, values: FloatArray) -> FloatArray:
    weighted = shares * values
    return np.asarray((weighted * values).sum(axis=-1) - weighted.sum(axis=-1) ** 2)
