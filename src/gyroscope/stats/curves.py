"""Points of the ROC and the precision-recall curve, for plots and for choosing thresholds."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.stats.binary import FloatArray, labels_and_scores


class RocCurve(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Rates at falling thresholds; the first point (0, 0) has the threshold infinity."""

    thresholds: FloatArray
    false_positive_rate: FloatArray
    true_positive_rate: FloatArray


class PrecisionRecallCurve(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Precision and recall of the decisions ``p >= threshold`` at falling thresholds."""

    thresholds: FloatArray
    precision: FloatArray
    recall: FloatArray


def roc_curve(y: npt.ArrayLike, p: npt.ArrayLike) -> RocCurve:
    """The ROC curve with a point for each distinct score.

    Raises:
        DataError: labels or scores that cannot be used, or only one class.
    """
    thresholds, hits, false_alarms = _counts_at_thresholds(y, p)
    if not hits[-1] or not false_alarms[-1]:
        raise DataError("an ROC curve needs rows of both classes")
    return RocCurve(
        thresholds=np.concatenate([[np.inf], thresholds]),
        false_positive_rate=np.concatenate([[0.0], false_alarms / false_alarms[-1]]),
        true_positive_rate=np.concatenate([[0.0], hits / hits[-1]]),
    )


def precision_recall_curve(y: npt.ArrayLike, p: npt.ArrayLike) -> PrecisionRecallCurve:
    """The precision-recall curve with a point for each distinct score.

    Raises:
        DataError: labels or scores that cannot be used, or no positive row.
    """
    thresholds, hits, false_alarms = _counts_at_thresholds(y, p)
    if not thresholds.size or not hits[-1]:
        raise DataError("a precision-recall curve needs at least one row of class 1")
    return PrecisionRecallCurve(
        thresholds=thresholds,
        precision=hits / (hits + false_alarms),
        recall=hits / hits[-1],
    )


def _counts_at_thresholds(
    y: npt.ArrayLike, p: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Distinct scores, falling, and how many positives and negatives score at least as high."""
    labels, probabilities = labels_and_scores(y, p)
    order = np.argsort(-probabilities, kind="stable")
    falling = probabilities[order]
    last_of_each = np.flatnonzero(np.diff(falling, append=-1.0))
    hits = np.cumsum(labels[order])[last_of_each]
    false_alarms = last_of_each + 1.0 - hits
    return falling[last_of_each], hits, false_alarms
