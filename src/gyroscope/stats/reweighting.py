"""The price of the drift of one column, from counts alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError, UsageError
from gyroscope.stats.counts import paired_counts
from gyroscope.stats.intervals import Estimate, normal_interval, undefined
from gyroscope.stats.losses import EPSILON, held
from gyroscope.stats.metrics import LOWER_IS_BETTER

FloatArray = npt.NDArray[np.float64]

_NAMES = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier")
_SIGNS = np.array([1.0 if name in LOWER_IS_BETTER else -1.0 for name in _NAMES])


class DriftPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What the changed mix of one column does to the metrics, if all else stays."""

    costs: Mapping[str, Estimate]  # by metric; positive is worse, in the metric's own unit
    unsupported: float  # share of the window in cells without a labelled reference row


def drift_price(
    outcomes: npt.ArrayLike,
    mean_scores: npt.ArrayLike,
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    threshold_bin: int,
    alpha: float = 0.05,
) -> DriftPrice:
    """How much worse each metric gets when a column's cells are as common as in the window.

    The labelled rows of cell c stand for every row of the cell, so that they get the weight (share
    of c in the window) / (share in the reference). The price is the metric of the reweighted rows
    against that of the reference's own mix, each over the cells that have labelled rows; what lies
    in others is not guessed at but said (``unsupported``). The interval is the delta method's and
    holds the noise of the labelled rows within their cells and of both samples' shares. It is the
    price of this column alone: drifts of columns that move together may not be added, and concept
    drift has no price here.

    Args:
        outcomes: counts[cells, bins, 2] of labelled reference rows by cell of the column, bin of
            rising score, and label 0 or 1.
        mean_scores: mean score[bins] of each bin, in [0, 1], not falling.
        reference: counts[cells] of the reference.
        current: counts[cells] of the window.
        threshold_bin: the first bin decided to be positive, in 0 .. bins.
        alpha: the two-sided error of each interval.

    Returns:
        The costs; one is undefined where a mix does not determine the metric, and all are without
        rows that both mixes can stand on.

    Raises:
        DataError: counts or scores that cannot be used or do not fit each other.
        UsageError: a threshold bin out of range.

    Source:
        Post-stratification: Holt and Smith (1979), JRSS A 142; as an importance weight Shimodaira
        (2000), Journal of Statistical Planning and Inference 90. Delta method by the influence
        functions of the metrics, van der Vaart (1998), Asymptotic Statistics, chapter 20.
    """
    m_counts, n_counts = paired_counts(reference, current)
    table, middle = _checked(outcomes, mean_scores, m_counts.size)
    bins = middle.size
    if not 0 <= threshold_bin <= bins:
        raise UsageError(f"threshold_bin must lie in 0 .. {bins}, got {threshold_bin}")
    labelled = table.sum(axis=(1, 2))
    held_cells = labelled > 0
    n = n_counts.sum()
    unsupported = float(n_counts[~held_cells].sum() / n) if n else math.nan
    m_counts, n_counts, labelled = (x[held_cells] for x in (m_counts, n_counts, labelled))
    if m_counts.sum() == 0 or n_counts.sum() == 0:
        nothing = {name: undefined(low=-math.inf, high=math.inf) for name in _NAMES}
        return DriftPrice(costs=nothing, unsupported=unsupported)
    within = table[held_cells].reshape(labelled.size, -1) / labelled[:, None]  # of each cell: 1
    was, now = m_counts / m_counts.sum(), n_counts / n_counts.sum()
    value_was, slope_was = _metrics((was @ within).reshape(bins, 2), middle, threshold_bin)
    value_now, slope_now = _metrics((now @ within).reshape(bins, 2), middle, threshold_bin)
    mean_was, mean_now = slope_was @ within.T, slope_now @ within.T  # [metrics, cells]
    # Given the shares, a cell's labelled rows are a multinomial sample of their own.
    square = (slope_now[:, None] * now[:, None] - slope_was[:, None] * was[:, None]) ** 2
    spread = (square * within).sum(axis=2) - (mean_now * now - mean_was * was) ** 2
    variance = (
        (spread / labelled).sum(axis=1)
        + _variance(mean_now, now) / n_counts.sum()
        + _variance(mean_was, was) / m_counts.sum()
    )
    change, errors = _SIGNS * (value_now - value_was), np.sqrt(np.maximum(variance, 0.0))
    rows = round(float(n_counts.sum()))
    return DriftPrice(
        costs={
            name: _estimate(name, float(cost), float(error), rows, alpha)
            for name, cost, error in zip(_NAMES, change, errors, strict=True)
        },
        unsupported=unsupported,
    )


def _checked(
    outcomes: npt.ArrayLike, mean_scores: npt.ArrayLike, cells: int
) -> tuple[FloatArray, FloatArray]:
    table = np.asarray(outcomes, dtype=np.float64)
    middle = np.asarray(mean_scores, dtype=np.float64)
    if middle.ndim != 1 or table.shape != (cells, middle.size, 2):
        raise DataError(
            f"outcomes must be counts[{cells} cells, {middle.size} score bins, 2 labels], "
            f"got shape {table.shape}"
        )
    if not np.all(np.isfinite(table) & (table >= 0)):
        raise DataError("outcomes must be counts of 0 or more")
    if not np.all((middle >= 0) & (middle <= 1)) or np.any(np.diff(middle) < 0):
        raise DataError("mean scores must lie in [0, 1] and rise from bin to bin")
    return table, middle


def _metrics(
    joint: FloatArray, middle: FloatArray, threshold_bin: int
) -> tuple[FloatArray, FloatArray]:
    """Metrics[7] of the joint shares of score bin and label, and their slopes[7, bins * 2]."""
    bins = middle.size
    negative, positive = joint[:, 0], joint[:, 1]
    one = np.tile([0.0, 1.0], (bins, 1))
    selected = np.repeat(np.arange(bins) >= threshold_bin, 2).reshape(bins, 2).astype(np.float64)
    hit = selected * one
    below = np.cumsum(negative) - negative / 2
    above = positive.sum() - np.cumsum(positive) + positive / 2
    bounded = held(middle, EPSILON)
    ranked = np.stack([above, below], axis=1) / 2  # both labels of a pair share it
    pairs = np.array([[positive.sum(), negative.sum()]]) / 2
    losses = np.stack([-np.log1p(-bounded), -np.log(bounded)], axis=1)
    squares = np.stack([middle**2, (1 - middle) ** 2], axis=1)
    ones = np.ones_like(one)
    above_line = np.stack(
        [1 - selected - one + 2 * hit, hit, hit, 2 * hit, ranked, losses, squares]
    )
    below_line = np.stack(
        [ones, selected, one, selected + one, np.broadcast_to(pairs, one.shape), ones, ones]
    )
    # Each metric is a ratio of sums over the shares; those of the AUC are of second order, whose
    # slope is twice what its halves say.
    degree = np.array([1, 1, 1, 1, 2, 1, 1])[:, None]
    above_line, below_line = above_line.reshape(7, -1), below_line.reshape(7, -1)
    whole = below_line @ joint.ravel()
    whole[whole == 0] = math.nan
    value = above_line @ joint.ravel() / whole
    return value, degree * (above_line - value[:, None] * below_line) / whole[:, None]


def _variance(values: FloatArray, shares: FloatArray) -> FloatArray:
    result: FloatArray = values**2 @ shares - (values @ shares) ** 2
    return result


def _estimate(name: str, cost: float, error: float, n: int, alpha: float) -> Estimate:
    end = math.inf if name == "log_loss" else 1.0
    if math.isnan(cost):
        return undefined(low=-end, high=end)
    interval = normal_interval(cost, error, alpha=alpha, low=-end, high=end)
    return Estimate(value=cost, standard_error=error, interval=interval, n=n)
