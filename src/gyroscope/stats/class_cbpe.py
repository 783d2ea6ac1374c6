"""What the scores of several classes promise while the world stays as it was (CBPE)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from gyroscope.stats.binary import FloatArray
from gyroscope.stats.calibration_map import CalibrationMap
from gyroscope.stats.cbpe import expected_auc_and_slope
from gyroscope.stats.class_losses import classes_and_scores
from gyroscope.stats.intervals import Estimate, normal_interval, undefined


def expected_class_metrics(
    p: npt.ArrayLike, calibration: CalibrationMap | None = None, *, alpha: float = 0.05
) -> Mapping[str, Estimate]:
    """The accuracy, macro ROC AUC, log-loss and Brier score to expect of rows if each is of class k
    with chance ``p[k]``.

    The accuracy is the mean of the highest scores, or of the chances that the map gives them; the
    log-loss is the mean entropy, the Brier score the mean of ``1 - sum p^2``, and the AUC the mean
    of that of each class against the rest (:func:`gyroscope.stats.cbpe.expected_auc`), of those
    for which it is defined. Intervals are for what the labels of these rows will show: rows are
    independent, and each row's own variance follows from its scores.

    Args:
        p: scores[n, classes] in [0, 1].
        calibration: from the highest score of a row to the chance that its class is right.
        alpha: the two-sided error of each interval.

    Raises:
        DataError: scores that cannot be used.

    Source:
        As :mod:`gyroscope.stats.cbpe`, for the losses of several classes.
    """
    _, scores = classes_and_scores(np.zeros(len(np.asarray(p))), p)
    logs = np.log(np.where(scores > 0, scores, 1.0))
    entropy = -(scores * logs).sum(axis=1)
    squares = np.square(scores).sum(axis=1)
    highest = scores.max(axis=1, initial=0.0)
    right = highest if calibration is None else calibration.chances(highest)
    # Of class k the Brier score of a row is 1 - 2 p_k + sum p^2.
    cubes = (scores**3).sum(axis=1)
    return {
        "accuracy": _expected(right, right * (1 - right), alpha, high=1.0),
        "roc_auc": _macro_auc(scores, alpha),
        "log_loss": _expected(entropy, (scores * logs**2).sum(axis=1) - entropy**2, alpha),
        "brier": _expected(1 - squares, 4 * (cubes - squares**2), alpha, high=2.0),
    }


def _macro_auc(scores: FloatArray, alpha: float) -> Estimate:
    found = [expected_auc_and_slope(of_class) for of_class in scores.T]
    kept = [k for k, (value, _) in enumerate(found) if not math.isnan(value)]
    if not kept:
        return undefined()
    slopes = np.column_stack([found[k][1] for k in kept]) / len(kept)
    p = scores[:, kept]
    variance = float(((p * slopes**2).sum(axis=1) - (p * slopes).sum(axis=1) ** 2).sum())
    value = float(np.mean([found[k][0] for k in kept]))
    error = math.sqrt(max(variance, 0.0))
    interval = normal_interval(value, error, alpha=alpha, low=0.0, high=1.0)
    return Estimate(value=value, standard_error=error, interval=interval, n=len(scores))


def _expected(
    means: FloatArray, variances: FloatArray, alpha: float, *, high: float = math.inf
) -> Estimate:
    n = means.size
    value = float(means.mean()) if n else math.nan
    error = math.sqrt(max(float(variances.sum()), 0.0)) / n if n else math.nan
    return Estimate(
        value=value,
        standard_error=error,
        interval=normal_interval(value, error, alpha=alpha, low=0.0, high=high),
        n=n,
    )
