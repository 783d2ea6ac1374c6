"""Performance before labels: what metrics to expect if the scores are calibrated (CBPE).

Everything here rests on the relation of features and label having stayed as it was. A changed
relation (concept drift) is invisible without labels, and nothing here claims to see it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.stats.binary import FloatArray, scores
from gyroscope.stats.calibration_map import CalibrationMap, Support, support
from gyroscope.stats.intervals import Estimate, normal_interval, undefined
from gyroscope.stats.losses import EPSILON, held

_ROUNDING = 1e-12  # of a metric, at most


class ExpectedPerformance(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics to expect on a window, and how much of it the reference can vouch for."""

    metrics: Mapping[str, Estimate]
    support: Support
    calibrated: bool  # whether the scores went through the map; else they were good as they were


class _Linear(msgspec.Struct, frozen=True, kw_only=True):
    """A metric at the chances given and its derivative to each."""

    name: str
    value: float
    slope: FloatArray
    high: float = 1.0


def expected_metrics(
    p: npt.ArrayLike, threshold: float, *, alpha: float = 0.05
) -> Mapping[str, Estimate]:
    """Accuracy, precision, recall, F1, ROC AUC, log-loss and Brier score promised by the scores.

    If each label is 1 with the chance p, independently, a metric of the labels to come has an
    expectation and a variance that are functions of p alone. AUC, recall and F1 are ratios: their
    expectation is the ratio of expectations and their variance the delta method's. So the interval
    is for the metric that labels will show on exactly these rows. It holds as long as the relation
    of features and label stays that of the calibration: a changed relation (concept drift) is
    invisible here.

    Args:
        p: calibrated scores[n] in [0, 1].
        threshold: rows scoring at least this are decided to be positive.
        alpha: the two-sided error of each interval.

    Returns:
        Name to estimate; undefined without rows, the AUC where all scores are 0 or all 1, and
        precision, recall and F1 where nothing is selected or expected.

    Raises:
        DataError: scores that cannot be used.

    Source:
        Białek, Kuberski, Perrakis and Bifet (2024), Estimating model performance under covariate
        shift without labels, arXiv 2401.08348, for the expectations; the variances are those of
        sums of independent Bernoulli variables.
    """
    q = np.sort(scores(p))
    return {m.name: _estimate(m, q, 0.0, alpha) for m in _linear_metrics(q, q, threshold)}


def expected_performance(
    p: npt.ArrayLike, threshold: float, calibration: CalibrationMap, *, alpha: float = 0.05
) -> ExpectedPerformance:
    """The metrics that labels will show on a window, by what a labelled reference taught.

    As :func:`expected_metrics`, with the chances that the calibration gives to the scores, and
    intervals that hold two errors: the chance of the labels to come, and what a finite reference
    does not know of the map. The chance in a block of the map is a share among its effective rows,
    which are independent of the others'. If the map is not used because it does not improve on
    the scores, the error is instead the difference that it would make to the metric.

    Concept drift, a changed relation of features and label, is invisible here. If the map comes
    from weighted rows (:mod:`gyroscope.stats.importance_weights`), a changed mix of rows that score
    alike is allowed for (PAPE); without weights it is not.

    Args:
        p: scores[n] as served, in [0, 1].
        threshold: rows scoring at least this are decided to be positive.
        calibration: the map from labelled reference rows.
        alpha: the two-sided error of each interval.

    Returns:
        The metrics of the scores as served, with the support that the reference gives.

    Raises:
        DataError: scores that cannot be used.

    Source:
        As :func:`expected_metrics`; the error of the map by the delta method.
    """
    q = np.sort(scores(p))
    chance = calibration.chances(q)
    error = _MapError(q, calibration)
    return ExpectedPerformance(
        metrics={
            m.name: _estimate(m, chance, error.variance(m.slope), alpha)
            for m in _linear_metrics(q, chance, threshold)
        },
        support=support(q, calibration),
        calibrated=calibration.improves,
    )


def expected_auc(p: npt.ArrayLike, *, alpha: float = 0.05) -> Estimate:
    """The ROC AUC that calibrated scores promise on their rows; see :func:`expected_metrics`.

    Raises:
        DataError: scores that cannot be used.
    """
    q = np.sort(scores(p))
    return _estimate(_auc(q, q), q, 0.0, alpha)


def expected_auc_and_slope(p: npt.ArrayLike) -> tuple[float, FloatArray]:
    """The value of :func:`expected_auc` and its derivative to the chance of each row, float64[n].

    Raises:
        DataError: scores that cannot be used.
    """
    q = scores(p)
    order = np.argsort(q, kind="stable")
    linear = _auc(q[order], q[order])
    slope = np.empty_like(q)
    slope[order] = linear.slope
    return linear.value, slope


class _MapError:
    """The variance that the error of a calibration map gives to a sum over rows in score order."""

    def __init__(self, q: FloatArray, calibration: CalibrationMap) -> None:
        self._ends = np.searchsorted(q, calibration.starts[1:])
        # Half a row of each class more: a block of one class has an error too.
        shrunk = (calibration.values * calibration.rows + 0.5) / (calibration.rows + 1)
        self._variances = shrunk * (1 - shrunk) / calibration.rows
        self._gap = None if calibration.improves else calibration.fitted(q) - q

    def variance(self, slope: FloatArray) -> float:
        """Of the sum of slope times chance."""
        sums = np.concatenate([[0.0], np.cumsum(slope)])
        of_block = np.diff(sums[self._ends], prepend=0.0, append=sums[-1])
        if self._gap is not None:
            return float(slope @ self._gap) ** 2
        return float(of_block**2 @ self._variances)


def _linear_metrics(q: FloatArray, chance: FloatArray, threshold: float) -> Iterator[_Linear]:
    """All metrics of rows in order of score, with chances that need not be the scores."""
    n = q.size
    first = int(np.searchsorted(q, threshold))
    selected = (np.arange(n) >= first).astype(np.float64)
    sign = (2 * selected - 1) / n if n else selected
    hits, positives, chosen = float(chance[first:].sum()), float(chance.sum()), float(n - first)
    yield _Linear(
        name="accuracy",
        value=(hits + first - float(chance[:first].sum())) / n if n else math.nan,
        slope=sign,
    )
    yield _ratio("precision", hits, chosen, selected, np.zeros_like(q))
    yield _ratio("recall", hits, positives, selected, np.ones_like(q))
    yield _ratio("f1", 2 * hits, chosen + positives, 2 * selected, np.ones_like(q))
    yield _auc(q, chance)
    bounded = held(q, EPSILON)
    yield _mean("log_loss", chance, -np.log(bounded), -np.log1p(-bounded), high=math.inf)
    yield _mean("brier", chance, (1 - q) ** 2, q**2)


def _ratio(
    name: str, above: float, below: float, above_slope: FloatArray, below_slope: FloatArray
) -> _Linear:
    if below == 0:
        return _Linear(name=name, value=math.nan, slope=above_slope)
    value = above / below
    return _Linear(name=name, value=value, slope=(above_slope - value * below_slope) / below)


def _mean(
    name: str, chance: FloatArray, if_one: FloatArray, if_zero: FloatArray, high: float = 1.0
) -> _Linear:
    """Mean of a loss that is ``if_one`` where the label is 1 and else ``if_zero``."""
    slope = (if_one - if_zero) / max(chance.size, 1)
    value = float(if_zero.mean() + slope @ chance) if chance.size else math.nan
    return _Linear(name=name, value=value, slope=slope, high=high)


def _auc(q: FloatArray, chance: FloatArray) -> _Linear:
    """Sum of c_i (1 - c_j) k(i above j) over the same sum without k, i and j different rows."""
    none = 1 - chance
    positives, negatives = float(chance.sum()), float(none.sum())
    pairs = positives * negatives - float(chance @ none)  # a row makes no pair with itself
    if q.size < 2 or pairs <= 0:
        return _Linear(name="roc_auc", value=math.nan, slope=chance)
    starts = np.flatnonzero(np.diff(q, prepend=-1.0))
    negatives_below = _weight_below(none, starts)
    positives_above = positives - chance - _weight_below(chance, starts)
    value = float(chance @ negatives_below) / pairs
    slope = negatives_below - positives_above
    pairs_slope = (negatives - none) - (positives - chance)
    return _Linear(name="roc_auc", value=value, slope=(slope - value * pairs_slope) / pairs)


def _weight_below(weight: FloatArray, starts: npt.NDArray[np.intp]) -> FloatArray:
    """For each row in order of score, the weight of lower ones and half of others that are equal.

    ``starts`` are the first rows of each score.
    """
    of_score = np.add.reduceat(weight, starts)
    below = np.cumsum(of_score) - of_score / 2
    result: FloatArray = np.repeat(below, np.diff(starts, append=weight.size)) - weight / 2
    return result


def _estimate(metric: _Linear, chance: FloatArray, map_variance: float, alpha: float) -> Estimate:
    if math.isnan(metric.value):
        return undefined(high=metric.high)
    labels_variance = float((chance * (1 - chance)) @ metric.slope**2)
    error = math.sqrt(labels_variance + map_variance)
    value = min(max(metric.value, 0.0), metric.high)
    ends = normal_interval(value, error, alpha=alpha)
    # Where chance has no say, as with scores of 0 and 1, the truth is off by the rounding of sums.
    interval = Interval(max(ends.low - _ROUNDING, 0.0), min(ends.high + _ROUNDING, metric.high))
    return Estimate(value=value, standard_error=error, interval=interval, n=chance.size)
