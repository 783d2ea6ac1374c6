"""All metrics of a binary classifier on one set of rows, by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy.typing as npt

from gyroscope.stats import confusion
from gyroscope.stats.auc import roc_auc
from gyroscope.stats.average_precision import average_precision
from gyroscope.stats.calibration_error import calibration_error
from gyroscope.stats.intervals import Estimate
from gyroscope.stats.losses import brier, log_loss

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "calibration_error", "rmse", "mae"})


def metrics(
    y: npt.ArrayLike, p: npt.ArrayLike, threshold: float, *, alpha: float = 0.05
) -> Mapping[str, Estimate]:
    """Accuracy, precision, recall, specificity, F1, ROC AUC, PR AUC and the losses, by name.

    Args:
        y: labels[n] in {0, 1}.
        p: scores[n] in [0, 1].
        threshold: rows scoring at least this are decided to be positive.
        alpha: the two-sided error of each interval.

    Returns:
        Name to estimate. What the rows do not determine is undefined
        (:attr:`~gyroscope.stats.intervals.Estimate.defined`).

    Raises:
        DataError: labels or scores that cannot be used.
    """
    counts = confusion.confusion(y, p, threshold)
    return {
        "accuracy": confusion.accuracy(counts, alpha=alpha),
        "precision": confusion.precision(counts, alpha=alpha),
        "recall": confusion.recall(counts, alpha=alpha),
        "specificity": confusion.specificity(counts, alpha=alpha),
        "f1": confusion.f1(counts, alpha=alpha),
        "roc_auc": roc_auc(y, p, alpha=alpha),
        "pr_auc": average_precision(y, p, alpha=alpha),
        "log_loss": log_loss(y, p, alpha=alpha),
        "brier": brier(y, p, alpha=alpha),
        "calibration_error": calibration_error(y, p, alpha=alpha).error,
    }
