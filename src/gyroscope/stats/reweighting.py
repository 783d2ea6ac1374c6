"""The price of the drift of one column, from labelled rows counted by its cells alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError, UsageError
from gyroscope.records import ArrayRecord
from gyroscope.stats.counts import paired_counts
from gyroscope.stats.intervals import Estimate, normal_interval, undefined
from gyroscope.stats.losses import EPSILON, held
from gyroscope.stats.metrics import LOWER_IS_BETTER

FloatArray = npt.NDArray[np.float64]

_NAMES = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier")
_AUC = _NAMES.index("roc_auc")
_ENDS = dict.fromkeys(("accuracy", "precision", "recall", "f1", "roc_auc"), 1.0)
_DEGREES = np.array([2.0 if name == "roc_auc" else 1.0 for name in _NAMES])  # in the shares
_SIGNS = np.array([1.0 if name in LOWER_IS_BETTER else -1.0 for name in _NAMES])


class DriftPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What the changed mix of one column does to the metrics, if all else stays."""

    costs: Mapping[str, Estimate]  # by metric; positive is worse, in the metric's own unit
    unsupported: float  # share of the window in cells without a labelled reference row
    effective_rows: float  # independent labelled rows that the weighted ones are worth (Kish)


class ExpectedLosses(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics to expect of a window, and what they rest on."""

    metrics: Mapping[str, Estimate]
    unsupported: float  # as of :class:`DriftPrice`
    effective_rows: float  # likewise


class CellLosses(ArrayRecord, frozen=True, kw_only=True, eq=False):
    """What labelled rows lost in each cell of a column; those of two parts add up."""

    rows: npt.NDArray[np.int64]  # int64[cells]
    sums: npt.NDArray[np.float64]  # float64[losses, cells]
    squares: npt.NDArray[np.float64]  # float64[losses, cells], sums of squares


class ClassRanks(ArrayRecord, frozen=True, kw_only=True, eq=False):
    """How the scores of labelled rows rank them, by cell of a column and class."""

    own: npt.NDArray[np.int64]  # int64[classes, cells], rows of the class
    # float64[classes, cells, cells], pairs of a row of the class in the first cell and one of
    # another in the second, of which the first scores higher, or half if they score alike
    won: npt.NDArray[np.float64]
    influence: CellLosses  # what each row adds to the macro AUC, as one loss


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
    unsupported = _share(n_counts, ~held_cells)
    m_counts, n_counts, labelled = (x[held_cells] for x in (m_counts, n_counts, labelled))
    if m_counts.sum() == 0 or n_counts.sum() == 0:
        return _nothing(_NAMES, unsupported)
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
        effective_rows=_effective_rows(now, labelled),
    )


def loss_price(
    losses: CellLosses,
    names: Sequence[str],
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    alpha: float = 0.05,
) -> DriftPrice:
    """:func:`drift_price` for metrics that are means of a loss of each row, of any task.

    Args:
        losses: of the labelled reference rows by cell of the column.
        names: the metric of each loss; "rmse" is the root of its mean, all others the mean.
        reference: counts[cells] of the reference.
        current: counts[cells] of the window.
        alpha: the two-sided error of each interval.

    Returns:
        The costs; undefined without rows that both mixes can stand on. The spread within a cell of
        few rows is that of all rows in part, as if the cell had one row more of it: a cell of a
        single row is not known without error.

    Raises:
        DataError: counts or losses that cannot be used or do not fit each other.

    Source:
        As :func:`drift_price`.
    """
    m_counts, n_counts = paired_counts(reference, current)
    known = _checked_losses(losses, len(names), m_counts.size)
    unsupported = _share(n_counts, ~known.held)
    m_counts, n_counts = m_counts[known.held], n_counts[known.held]
    if m_counts.sum() == 0 or n_counts.sum() == 0:
        return _nothing(names, unsupported)
    was, now = m_counts / m_counts.sum(), n_counts / n_counts.sum()
    value_was, slope_was = _metrics_of_means(names, known.means @ was)
    value_now, slope_now = _metrics_of_means(names, known.means @ now)
    weights = np.outer(slope_now, now) - np.outer(slope_was, was)
    variance = (
        (weights**2 * known.variances / known.rows).sum(axis=1)
        + slope_now**2 * _variance(known.means, now) / n_counts.sum()
        + slope_was**2 * _variance(known.means, was) / m_counts.sum()
    )
    rows = round(float(n_counts.sum()))
    return DriftPrice(
        costs={
            name: _estimate(name, float(cost), math.sqrt(square), rows, alpha)
            for name, cost, square in zip(names, value_now - value_was, variance, strict=True)
        },
        unsupported=unsupported,
        effective_rows=_effective_rows(now, known.rows),
    )


def macro_auc_price(
    ranks: ClassRanks, reference: npt.ArrayLike, current: npt.ArrayLike, *, alpha: float = 0.05
) -> Estimate:
    """:func:`drift_price` for the mean, over classes, of the ROC AUC of each against the rest.

    Args:
        ranks: of the labelled reference rows by cell of the column.
        reference: counts[cells] of the reference.
        current: counts[cells] of the window.
        alpha: the two-sided error of the interval. For the noise within cells a row is taken to
            add to the AUC in the window what it does in the reference's mix.

    Returns:
        How much lower the AUC gets; of the classes that both mixes hold, and undefined without any.

    Raises:
        DataError: counts or ranks that cannot be used or do not fit each other.

    Source:
        As :func:`drift_price`, for :func:`gyroscope.stats.class_metrics.macro_roc_auc`.
    """
    m_counts, n_counts = paired_counts(reference, current)
    known = _checked_losses(ranks.influence, 1, m_counts.size)
    m_counts, n_counts = m_counts[known.held], n_counts[known.held]
    if m_counts.sum() == 0 or n_counts.sum() == 0:
        return undefined(low=-1.0)
    own = ranks.own[:, known.held] / known.rows  # [classes, cells], shares of the cells' rows
    won = ranks.won[:, known.held][:, :, known.held] / np.outer(known.rows, known.rows)
    was, now = m_counts / m_counts.sum(), n_counts / n_counts.sum()
    (value_was, slope_was), (value_now, slope_now) = (_class_aucs(own, won, x) for x in (was, now))
    both = ~np.isnan(value_was) & ~np.isnan(value_now)
    if not both.any():
        return undefined(low=-1.0)
    mean_was, mean_now = (x[both].mean(axis=0) for x in (slope_was, slope_now))
    variance = (
        ((now - was) ** 2 * known.variances[0] / known.rows).sum()
        + _variance(mean_now, now) / n_counts.sum()
        + _variance(mean_was, was) / m_counts.sum()
    )
    cost = float((value_was - value_now)[both].mean())
    return _estimate("roc_auc", cost, math.sqrt(variance), round(float(n_counts.sum())), alpha)


def _class_aucs(
    own: FloatArray, won: FloatArray, shares: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The AUC[classes] at the shares of cells, nan where a class has no row or all, and the slopes
    [classes, cells] to the shares."""
    with_it, without = own @ shares, (1 - own) @ shares
    pairs = with_it * without
    pairs[pairs <= 0] = math.nan
    above, below = won @ shares, shares @ won
    value = (above @ shares) / pairs
    rows = own / with_it[:, None] + (1 - own) / without[:, None]
    return value, (above + below) / pairs[:, None] - value[:, None] * rows


def expected_losses(
    losses: CellLosses, names: Sequence[str], current: npt.ArrayLike, *, alpha: float = 0.05
) -> ExpectedLosses:
    """The metrics to expect of the rows of a window, if each loses what its cell used to.

    Of predicted numbers nothing is promised about their error; what rows with such predictions
    lost when labels were there is the best that is known before labels.

    Args:
        losses: of the labelled reference rows by cell of the predictions.
        names: as for :func:`loss_price`.
        current: counts[cells] of the window.
        alpha: the two-sided error of each interval, which is for what labels will show on exactly
            these rows: it holds the noise of the reference's rows and that of the labels to come.

    Raises:
        DataError: counts or losses that cannot be used or do not fit each other.

    Source:
        As :func:`drift_price`.
    """
    counts, _ = paired_counts(current, current)
    known = _checked_losses(losses, len(names), counts.size)
    unsupported = _share(counts, ~known.held)
    counts = counts[known.held]
    n = float(counts.sum())
    if n == 0:
        nothing = _nothing(names, unsupported)
        return ExpectedLosses(metrics=nothing.costs, unsupported=unsupported, effective_rows=0.0)
    now = counts / n
    values, slopes = _metrics_of_means(names, known.means @ now)
    variance = slopes**2 * (known.variances * (now**2 / known.rows + now / n)).sum(axis=1)
    return ExpectedLosses(
        metrics={
            name: Estimate(
                value=float(value),
                standard_error=math.sqrt(square),
                interval=normal_interval(float(value), math.sqrt(square), alpha=alpha, low=0.0),
                n=round(n),
            )
            for name, value, square in zip(names, values, variance, strict=True)
        },
        unsupported=unsupported,
        effective_rows=_effective_rows(now, known.rows),
    )


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """The losses in the cells that hold labelled rows."""

    held: npt.NDArray[np.bool_]  # [all cells]
    rows: FloatArray  # [cells]
    means: FloatArray  # [losses, cells]
    variances: FloatArray  # [losses, cells]


def _checked_losses(losses: CellLosses, count: int, cells: int) -> _Known:
    rows, sums, squares = (
        np.asarray(x, dtype=np.float64) for x in (losses.rows, losses.sums, losses.squares)
    )
    if rows.shape != (cells,) or not sums.shape == squares.shape == (count, cells):
        raise DataError(
            f"losses must be sums[{count} losses, {cells} cells], got shapes {rows.shape}, "
            f"{sums.shape} and {squares.shape}"
        )
    if not all(np.isfinite(x).all() for x in (sums, squares)) or not np.all(rows >= 0):
        raise DataError("losses must be finite, of 0 rows or more")
    held = rows > 0
    n, sums, squares = rows[held], sums[:, held], squares[:, held]
    means = sums / n
    total = max(float(n.sum()), 1.0)
    overall = squares.sum(axis=1) / total - (sums.sum(axis=1) / total) ** 2
    spread = np.maximum(squares - n * means**2, 0.0)
    variances = (spread + np.maximum(overall, 0.0)[:, None]) / n
    return _Known(held=held, rows=n, means=means, variances=variances)


def _metrics_of_means(names: Sequence[str], means: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Metrics[losses] and their slopes[losses] to the mean losses."""
    rooted = np.array([name == "rmse" for name in names])
    values = np.where(rooted, np.sqrt(means), means)
    slopes = np.where(rooted, 0.5 / np.where(values > 0, values, 1.0), 1.0)
    return values, slopes


def _share(counts: FloatArray, which: npt.NDArray[np.bool_]) -> float:
    n = counts.sum()
    return float(counts[which].sum() / n) if n else math.nan


def _effective_rows(shares: FloatArray, labelled: FloatArray) -> float:
    """Kish's (sum w)^2 / sum w^2 of labelled rows, each of which has its part of a cell's share."""
    return float(1 / (shares**2 / labelled).sum())


def _nothing(names: Sequence[str], unsupported: float) -> DriftPrice:
    nothing = {name: undefined(low=-math.inf, high=math.inf) for name in names}
    return DriftPrice(costs=nothing, unsupported=unsupported, effective_rows=0.0)


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
    end = _ENDS.get(name, math.inf)
    if math.isnan(cost):
        return undefined(low=-end, high=end)
    interval = normal_interval(cost, error, alpha=alpha, low=-end, high=end)
    return Estimate(value=cost, standard_error=error, interval=interval, n=n)
