"""The population stability index (PSI) with its sampling distribution."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.stats.counts import FloatArray, paired_counts
from gyroscope.stats.intervals import normal_quantile
from gyroscope.stats.noncentral_chi_square import chi_square_tail, noncentrality_interval


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
    q_counts, p_counts = paired_counts(reference, current)
    held = (q_counts + p_counts) > 0
    q_counts, p_counts = q_counts[held], p_counts[held]
    m, n, df = float(q_counts.sum()), float(p_counts.sum()), q_counts.size - 1
    value, effect, interval, p_value = 0.0, 0.0, Interval(0.0, 0.0), 1.0
    if m == 0 or n == 0:
        interval = Interval(0.0, math.inf)
    elif df > 0:
        unit = 1 / n + 1 / m
        gaps = (p_counts / n - q_counts / m) * _log_ratio(p_counts, q_counts)
        value = max(float(gaps.sum()), 0.0)
        effect = value - df * unit
        scale = float(_scale(p_counts, q_counts, value))
        bounds = noncentrality_interval(effect / scale + df, df, alpha=alpha)
        interval = Interval(bounds.low * scale, bounds.high * scale)
        p_value = chi_square_tail(value / unit, df)
    return PsiResult(
        value=value,
        effect=effect,
        interval=interval,
        p_value=p_value,
        cells=q_counts.size,
        n_reference=round(m),
        n_current=round(n),
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


def sure_effects(reference: FloatArray, current: FloatArray, *, alpha: float = 0.05) -> FloatArray:
    """The effect of :func:`psi` for many pairs of samples at once, where it is surely not 0.

    Args:
        reference: counts[pairs, cells], two or more cells.
        current: the same of the other samples; no cell of any pair is empty in both.
        alpha: the two-sided error of the intervals, in (0, 1).

    Returns:
        float64[pairs]: the debiased effect where its interval begins above 0, elsewhere 0.
    """
    m, n, df = reference.sum(axis=-1), current.sum(axis=-1), reference.shape[-1] - 1
    gaps = (current / n[:, None] - reference / m[:, None]) * _log_ratio(current, reference)
    value = np.maximum(gaps.sum(axis=-1), 0.0)
    effect = value - df * (1 / n + 1 / m)
    shift = (df - 1) / 2
    statistic = effect / _scale(current, reference, value) + df
    root = np.sqrt(np.maximum(statistic - shift, 0.0)) - normal_quantile(1 - alpha / 2)
    return np.where(root * np.abs(root) > shift, effect, 0.0)


def _log_ratio(p_counts: FloatArray, q_counts: FloatArray) -> FloatArray:
    shift = np.log(q_counts.sum(axis=-1, keepdims=True) / p_counts.sum(axis=-1, keepdims=True))
    return np.asarray(np.log((p_counts + 0.5) / (q_counts + 0.5)) + shift)


def _scale(p_counts: FloatArray, q_counts: FloatArray, value: FloatArray | float) -> FloatArray:
    """What one unit of a chi-square statistic is worth in PSI.

    Near no change it is 1/n + 1/m. Further away the variance of the PSI by the delta method,
    set against the 4 * PSI * scale of a noncentral chi-square, gives it.
    """
    n, m = p_counts.sum(axis=-1, keepdims=True), q_counts.sum(axis=-1, keepdims=True)
    cells = p_counts.shape[-1]
    unit = (1 / n + 1 / m)[..., 0]
    p, q = (p_counts + 0.5) / (n + cells / 2), (q_counts + 0.5) / (m + cells / 2)
    log_ratio = np.log(p / q)
    by_p, by_q = log_ratio + 1 - q / p, 1 - p / q - log_ratio
    variance = _variance(p, by_p) / n[..., 0] + _variance(q, by_q) / m[..., 0]
    near = value <= unit * 1e-6
    return np.asarray(
        np.where(near, unit, np.maximum(variance / np.where(near, 1.0, 4 * value), unit * 0.1))
    )


def _variance(shares: FloatArray, values: FloatArray) -> FloatArray:
    return np.asarray((shares * values**2).sum(axis=-1) - (shares * values).sum(axis=-1) ** 2)
