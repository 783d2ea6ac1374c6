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
_AUC = _NAMES.index("roc_auc")
_DEGREES = np.array([2.0 if name == "roc_auc" else 1.0 for name in _NAMES])  # in the shares
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
    ratios = _ratios(middle, threshold_bin)
    value_was, slope_was = ratios.at((was @ within).reshape(bins, 2))
    value_now, slope_now = ratios.at((now @ within).reshape(bins, 2))
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


class _Ratios(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The metrics as ratios of sums over the joint shares of score bin and label.

    The lines are [7, bins, 2]; that of the AUC depends on the shares and is written for each mix.
    """

    above: FloatArray
    below: FloatArray

    def at(self, joint: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Metrics[7] and their slopes[7, bins * 2] at the shares joint[bins, 2]."""
        negative, positive = joint[:, 0], joint[:, 1]
        negatives, positives = negative.sum(), positive.sum()
        # Each pair is counted once from its row of class 0 and once from that of class 1.
        above, below = self.above.copy(), self.below.copy()
        above[_AUC, :, 0] = (positives - np.cumsum(positive) + positive / 2) / 2
        above[_AUC, :, 1] = (np.cumsum(negative) - negative / 2) / 2
        below[_AUC, :, 0], below[_AUC, :, 1] = positives / 2, negatives / 2
        above, below = above.reshape(_DEGREES.size, -1), below.reshape(_DEGREES.size, -1)
        shares = joint.ravel()
        whole = below @ shares
        whole[whole == 0] = math.nan
        value = above @ shares / whole
        return value, (_DEGREES / whole)[:, None] * (above - value[:, None] * below)


def _ratios(middle: FloatArray, threshold_bin: int) -> _Ratios:
    above, below = np.zeros((2, _DEGREES.size, middle.size, 2))
    bounded = held(middle, EPSILON)
    above[0, :threshold_bin, 0] = above[0, threshold_bin:, 1] = 1  # decided rightly
    above[1:3, threshold_bin:, 1], above[3, threshold_bin:, 1] = 1, 2  # hits
    above[5, :, 0], above[5, :, 1] = -np.log1p(-bounded), -np.log(bounded)
    above[6, :, 0], above[6, :, 1] = middle**2, (1 - middle) ** 2
    below[[0, 5, 6]] = 1
    below[1, threshold_bin:] = 1  # decided to be positive
    below[2, :, 1] = 1  # positive
    below[3] = below[1] + below[2]
    return _Ratios(above=above, below=below)


def _variance(values: FloatArray, shares: FloatArray) -> FloatArray:
    result: FloatArray = values**2 @ shares - (values @ shares) ** 2
    return result


def _estimate(name: str, cost: float, error: float, n: int, alpha: float) -> Estimate:
    end = math.inf if name == "log_loss" else 1.0
    if math.isnan(cost):
        return undefined(low=-end, high=end)
    interval = normal_interval(cost, error, alpha=alpha, low=-end, high=end)
    return Estimate(value=cost, standard_error=error, interval=interval, n=n)
