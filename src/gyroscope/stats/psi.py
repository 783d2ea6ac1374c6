"""The population stability index (PSI) with its sampling distribution."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.stats.batches import FloatArray, IntArray, Intervals, row
from gyroscope.stats.counts import paired_counts
from gyroscope.stats.divergences import judge, two_samples
from gyroscope.stats.intervals import normal_quantile


class PsiResult(msgspec.Struct, frozen=True, kw_only=True):
    """How far two samples over the same cells are apart."""

    value: float  # the PSI as observed, >= 0
    effect: float  # the PSI of the populations, without bias; may fall below 0
    interval: Interval  # for the PSI of the populations, >= 0
    p_value: float  # of no change
    cells: int  # cells that hold anything
    n_reference: int
    n_current: int


def psi(reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05) -> PsiResult:
    """Population stability index: the sum of (p - q) ln(p / q) over cells.

    p are the shares of the current and q those of the reference sample, of sizes n and m. In the
    logarithm every count is raised by 1/2, which keeps empty cells finite and removes the bias of
    ln(count) up to the order 1/count^2 (Haldane 1956). Under no change PSI n m / (n + m) is about
    chi-square with B - 1 degrees of freedom for B cells, so that two samples of one population
    have a PSI of about (B - 1)(1/n + 1/m), not 0: ``effect`` is the PSI less that. ``interval`` is
    that of a noncentral chi-square whose scale comes from the delta method; it has its level as
    long as each cell is expected to hold about five of the smaller sample (``pool_rare_cells``).

    Args:
        reference: counts[cells] of the reference sample.
        current: counts[cells] of the current sample.
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        The result; with an empty sample or a single cell nothing can be said and it is 0 with an
        interval from 0 to infinity (0 to 0 for a single cell) and a p-value of 1.

    Raises:
        DataError: the counts cannot be used.

    Example:
        >>> round(psi([5_000_000, 5_000_000], [6_000_000, 4_000_000]).value, 6)
        0.040547

    Source:
        Yurdakul (2018), Statistical properties of population stability index, Western Michigan
        University; Haldane (1956), The estimation and significance of the logarithm of a ratio of
        frequencies, Annals of Human Genetics 20.
    """
    return row(psi_batch(*paired_counts(reference, current), alpha=alpha), PsiResult)


class PsiBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of :class:`PsiResult` for many pairs of samples, each an array[...]."""

    value: FloatArray
    effect: FloatArray
    interval: Intervals
    p_value: FloatArray
    cells: IntArray
    n_reference: IntArray
    n_current: IntArray


def psi_batch(reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05) -> PsiBatch:
    """The population stability index of many pairs of samples; see :func:`psi`.

    Args:
        reference: counts[..., cells] of the reference samples. Cells that are empty in both
            samples of a pair do not count there, so that pairs may differ in their cells.
        current: counts[..., cells] of the current samples; leading axes broadcast.
        alpha: the two-sided error of each interval, in (0, 1).

    Raises:
        DataError: the counts cannot be used.
    """
    samples = two_samples(reference, current)
    p_counts, q_counts = samples.p_counts, samples.q_counts
    log_ratio = np.log((p_counts + 0.5) / (q_counts + 0.5)) + np.log(samples.m / samples.n)
    gaps = p_counts / samples.n - q_counts / samples.m
    value = np.maximum((gaps * log_ratio).sum(axis=-1), 0.0)
    found = judge(samples, value, _slopes, curvature=1.0, alpha=alpha)
    return PsiBatch(
        value=found.value,
        effect=found.value - found.bias,
        interval=found.interval,
        p_value=found.p_value,
        cells=samples.df + 1,
        n_reference=found.n_reference,
        n_current=found.n_current,
    )


def rows_needed(
    effect: float,
    *,
    material: float,
    cells: int,
    n_reference: int,
    alpha: float = 0.05,
    power: float = 0.9,
) -> int | None:
    """Rows a window needs for a PSI of ``effect`` to be seen as above ``material``.

    Seen means that the lower end of the interval of level 1 - alpha lies above ``material`` with
    probability ``power``, by the same approximation that gives the interval.

    Args:
        effect: the PSI of the populations that should be seen.
        material: the PSI that must be surely passed, >= 0 and below ``effect``.
        cells: number of cells, 2 or more.
        n_reference: rows of the reference.
        alpha: the two-sided error of the interval, in (0, 1).
        power: the chance of seeing it, in (0, 1).

    Returns:
        The number of rows, or None if no window is large enough for so small a reference.
    """
    shift = (cells - 2) / 2
    gap = normal_quantile(1 - alpha / 2) + normal_quantile(power)

    def seen(pairs: float) -> bool:
        return math.sqrt(pairs * effect + shift) - gap >= math.sqrt(pairs * material + shift)

    low, high = 1.0, float(n_reference)  # of n m / (n + m), which never reaches m
    if not seen(high * (1 - 1e-9)):
        return None
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return math.ceil(high * n_reference / (n_reference - high))


def _slopes(p: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray]:
    ratio = p / q
    log_ratio = np.log(ratio)
    return log_ratio + 1 - 1 / ratio, 1 - ratio - log_ratio
