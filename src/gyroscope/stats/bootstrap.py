"""The paired bootstrap: the difference of any metric between two scores of the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError, UsageError
from gyroscope.findings import Interval
from gyroscope.stats.binary import FloatArray, IntArray, cluster_codes

_JACKKNIFE_GROUPS = 200  # the acceleration needs no more, and each costs two metrics
_NORMAL = NormalDist()

Metric = Callable[[FloatArray, FloatArray], float]


class PairedBootstrap(msgspec.Struct, frozen=True, kw_only=True):
    """The difference of a metric, second less first."""

    value: float
    standard_error: float
    percentile: Interval
    bca: Interval  # bias-corrected and accelerated: the one to use for metrics with skewed errors
    p_value: float  # of no difference, two-sided
    replicates: int  # resamples in which the metric was defined
    n: int  # rows
    clusters: int


def paired_bootstrap(
    metric: Metric,
    y: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    clusters: npt.ArrayLike | None = None,
    replicates: int = 2000,
    alpha: float = 0.05,
) -> PairedBootstrap | None:
    """Resample rows, or whole clusters of rows, and compare a metric of two scores on each.

    Args:
        metric: of labels[n] and scores[n]; nan or infinite where it is undefined.
        y: labels[n].
        first: scores[n] of the first model.
        second: scores[n] of the second on the same rows.
        rng: draws the resamples.
        clusters: ids[n] of clusters that are drawn whole, because their rows depend on each other;
            None draws single rows. The intervals need some thirty clusters.
        replicates: number of resamples; those in which the metric is undefined do not count.
        alpha: the two-sided error of the intervals, in (0, 1).

    Returns:
        The comparison; None if the metric is undefined on the rows, with a single cluster, or when
        half of the resamples leave it undefined.

    Raises:
        DataError: the arrays differ in length, or there is not one cluster id for each row.
        UsageError: fewer than two replicates.

    Source:
        Efron (1987), Better bootstrap confidence intervals, JASA 82; Efron and Tibshirani (1993),
        An Introduction to the Bootstrap, chapters 13 to 16. p-value: twice the smaller share of
        differences on either side of 0, counting the observed one.
    """
    labels, one, two = (np.asarray(x, dtype=np.float64) for x in (y, first, second))
    if not (labels.ndim == 1 and labels.shape == one.shape == two.shape):
        raise DataError(
            f"every row needs a label and two scores, got {labels.shape}, {one.shape}, {two.shape}"
        )
    if replicates < 2:
        raise UsageError(f"replicates must be at least 2, got {replicates}")
    codes = np.arange(labels.size) if clusters is None else cluster_codes(clusters, labels.size)
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])

    def difference(rows: IntArray) -> float:
        return metric(labels[rows], two[rows]) - metric(labels[rows], one[rows])

    value = difference(np.arange(labels.size)) if labels.size else math.nan
    if not math.isfinite(value) or len(members) < 2:
        return None
    drawn = (rng.integers(len(members), size=len(members)) for _ in range(replicates))
    found = np.array([difference(_rows(members, which)) for which in drawn])
    found = np.sort(found[np.isfinite(found)])
    if 2 * found.size < replicates:
        return None
    low, high = _bca_levels(found, value, _acceleration(members, difference), alpha)
    sides = min(np.count_nonzero(found <= 0), np.count_nonzero(found >= 0))
    return PairedBootstrap(
        value=value,
        standard_error=float(found.std(ddof=1)),
        percentile=_quantiles(found, alpha / 2, 1 - alpha / 2),
        bca=_quantiles(found, low, high),
        p_value=min(1.0, 2 * (int(sides) + 1) / (found.size + 1)),
        replicates=found.size,
        n=labels.size,
        clusters=len(members),
    )


def _rows(members: list[IntArray], which: IntArray) -> IntArray:
    if len(members) == sum(map(len, members)):  # every cluster is a row
        return which
    return np.concatenate([members[k] for k in which])


def _acceleration(members: list[IntArray], difference: Callable[[IntArray], float]) -> float:
    """A sixth of the skewness of the jackknife, over single clusters or groups of them."""
    groups = np.array_split(np.arange(len(members)), min(len(members), _JACKKNIFE_GROUPS))
    everyone = np.arange(len(members))
    left_out = [
        difference(np.concatenate([members[k] for k in np.delete(everyone, group)]))
        for group in groups
    ]
    defined = np.array([value for value in left_out if math.isfinite(value)])
    influence = defined.mean() - defined if defined.size else defined
    scale = float((influence**2).sum()) ** 1.5
    return float((influence**3).sum()) / (6 * scale) if scale > 0 else 0.0


def _bca_levels(
    found: FloatArray, value: float, acceleration: float, alpha: float
) -> tuple[float, float]:
    # Ties with the value count half; kept off 0 and 1, where the normal quantile is infinite.
    share = (np.count_nonzero(found < value) + np.count_nonzero(found <= value)) / (2 * found.size)
    bias = _NORMAL.inv_cdf(min(max(share, 0.5 / found.size), 1 - 0.5 / found.size))

    def level(probability: float) -> float:
        z = bias + _NORMAL.inv_cdf(probability)
        left = 1 - acceleration * z
        # Where nothing is left the level has come to its limit.
        return _NORMAL.cdf(bias + z / left) if left > 0 else float(z > 0)

    return level(alpha / 2), level(1 - alpha / 2)


def _quantiles(found: FloatArray, low: float, high: float) -> Interval:
    ends = np.quantile(found, [low, high])
    return Interval(float(ends[0]), float(ends[1]))
