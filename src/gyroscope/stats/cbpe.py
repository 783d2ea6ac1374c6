"""Performance before labels: what metrics to expect if the scores are calibrated (CBPE)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from gyroscope.stats.binary import FloatArray, scores
from gyroscope.stats.intervals import Estimate, normal_interval, undefined
from gyroscope.stats.losses import EPSILON, held, logit


def expected_metrics(
    p: npt.ArrayLike, threshold: float, *, alpha: float = 0.05
) -> Mapping[str, Estimate]:
    """Accuracy, F1, ROC AUC, log-loss and Brier score that calibrated scores promise.

    If each label is 1 with the chance p, independently, a metric of the labels to come has an
    expectation and a variance that are functions of p alone. AUC and F1 are ratios: their
    expectation is the ratio of expectations and their variance the delta method's. So the interval
    is for the metric that labels will show on exactly these rows. It holds as long as the relation
    of features and label stays that of the calibration: a changed relation (concept drift) is
    invisible here.

    Args:
        p: calibrated scores[n] in [0, 1].
        threshold: rows scoring at least this are decided to be positive.
        alpha: the two-sided error of each interval.

    Returns:
        Name to estimate; undefined without rows, and the AUC where all scores are 0 or all 1.

    Raises:
        DataError: scores that cannot be used.

    Source:
        Białek, Kuberski, Perrakis and Bifet (2024), Estimating model performance under covariate
        shift without labels, arXiv 2401.08348, for the expectations; the variances are those of
        sums of independent Bernoulli variables.
    """
    q = scores(p)
    selected = (q >= threshold).astype(np.float64)
    bounded = held(q, EPSILON)
    log_odds = logit(bounded)
    entropy = -(q * np.log(bounded) + (1 - q) * np.log1p(-bounded))
    return {
        "accuracy": _mean(q, selected * q + (1 - selected) * (1 - q), 2 * selected - 1, alpha),
        "f1": _f1(q, selected, alpha),
        "roc_auc": expected_auc(q, alpha=alpha),
        "log_loss": _mean(q, entropy, -log_odds, alpha, high=math.inf),
        "brier": _mean(q, q * (1 - q), 1 - 2 * q, alpha),
    }


def _mean(
    q: FloatArray, expected: FloatArray, slope: FloatArray, alpha: float, high: float = 1.0
) -> Estimate:
    """Mean of terms that are linear in the labels: ``slope`` is what a label 1 adds to its term."""
    if not q.size:
        return undefined(high=high)
    return _estimate(q, float(expected.mean()), slope / q.size, alpha, high)


def _f1(q: FloatArray, selected: FloatArray, alpha: float) -> Estimate:
    """F1 = 2 TP / (selected + positives)."""
    whole = float(selected.sum() + q.sum())
    if whole == 0:
        return undefined()
    value = 2 * float(selected @ q) / whole
    return _estimate(q, value, (2 * selected - value) / whole, alpha)


def expected_auc(p: npt.ArrayLike, *, alpha: float = 0.05) -> Estimate:
    """The ROC AUC that calibrated scores promise on their rows; see :func:`expected_metrics`.

    It is sum_ij q_i (1 - q_j) k(i above j) over the same sum without k, i and j different rows.

    Raises:
        DataError: scores that cannot be used.
    """
    q = scores(p)
    positives, negatives = float(q.sum()), float((1 - q).sum())
    if q.size < 2 or positives == 0 or negatives == 0:
        return undefined()
    negatives_below, positives_above = _weight_below(q, 1 - q), _weight_below(-q, q)
    pairs = positives * negatives - float(q @ (1 - q))  # a row makes no pair with itself
    if pairs <= 0:
        return undefined()
    value = float(q @ negatives_below) / pairs
    slope = negatives_below - positives_above
    pairs_slope = (negatives - (1 - q)) - (positives - q)
    return _estimate(q, value, (slope - value * pairs_slope) / pairs, alpha)


def _weight_below(key: FloatArray, weight: FloatArray) -> FloatArray:
    """For each row, the weight of rows with a smaller key, and half of others with an equal one."""
    _, inverse = np.unique(key, return_inverse=True)
    of_key = np.bincount(inverse, weight)
    below = np.cumsum(of_key) - of_key
    result: FloatArray = below[inverse] + (of_key[inverse] - weight) / 2
    return result


def _estimate(
    q: FloatArray, value: float, slope: FloatArray, alpha: float, high: float = 1.0
) -> Estimate:
    error = math.sqrt(float((q * (1 - q)) @ slope**2))
    interval = normal_interval(value, error, alpha=alpha, low=0.0, high=high)
    return Estimate(value=value, standard_error=error, interval=interval, n=q.size)
