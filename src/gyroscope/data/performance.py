"""How good scores are, by the task of the contract: metrics, losses, and what came as promised."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gyroscope.data.contract import Task
from gyroscope.stats.class_losses import class_log_losses
from gyroscope.stats.class_metrics import chosen_class, class_metrics
from gyroscope.stats.intervals import Estimate
from gyroscope.stats.losses import SCORE_FLOOR, log_losses
from gyroscope.stats.metrics import metrics
from gyroscope.stats.value_metrics import errors_of, value_metrics

CLOSE = 0.8  # share of the test rows that a model of values predicts to within its usual error

Vector = NDArray[np.float64]


def performance(
    task: Task, y: Vector, scores: Vector, threshold: float | None
) -> Mapping[str, Estimate]:
    """The metrics of scores as a bundle gives them, by name; ``threshold`` is for binary ones.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    if task == "multiclass":
        return class_metrics(y, scores)
    if task == "regression":
        return value_metrics(y, scores)
    assert threshold is not None  # binary models have one
    return metrics(y, scores, threshold)


def losses(task: Task, y: Vector, scores: Vector, *, floor: float = SCORE_FLOOR) -> Vector:
    """The loss of each row, float64[n]: log-loss in nats of scores held above ``floor``, or the
    squared error.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    if task == "multiclass":
        return class_log_losses(y, scores, floor=floor)
    if task == "regression":
        return np.square(errors_of(y, scores)[1])
    return log_losses(y, scores, floor=floor)


def losses_by_metric(task: Task, y: Vector, scores: Vector) -> Mapping[str, Vector]:
    """What each row loses, float64[n], by the metric that is the mean of it: of accuracy what is
    wrong, of rmse, which is the root of the mean, the squared error. Not of binary models.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    if task == "regression":
        _, errors = errors_of(y, scores)
        return {"rmse": np.square(errors), "mae": np.abs(errors)}
    right, _ = chosen_class(y, scores)
    truth = y[:, None] == np.arange(scores.shape[1])
    return {
        "accuracy": 1 - right,
        "log_loss": class_log_losses(y, scores),
        "brier": np.square(scores - truth).sum(axis=1),
    }


def losses_in_nats(task: Task, y: Vector, scores: Vector, rmse: float | None) -> Vector:
    """The loss of each row by which two models are compared, float64[n], bounded by some 7 nats.

    Of values it is that of an error which is normal and as large as ``rmse``, that of the model
    when it was new: half its square in such units, up to that bound.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    if task != "regression":
        return losses(task, y, scores)
    assert rmse is not None  # models of values have one
    unit = max(rmse, float(np.finfo(np.float64).tiny))
    largest = -np.log(SCORE_FLOOR)
    bounded: Vector = np.minimum(np.square(errors_of(y, scores)[1] / unit) / 2, largest)
    return bounded


def promises(
    task: Task, y: Vector, scores: Vector, usual_error: float | None
) -> tuple[Vector, Vector]:
    """What came true of each prediction, float64[n] in {0, 1}, and the chance promised for it.

    Binary: the positive class, and its score. Multiclass: that the class chosen is the right one,
    and its score. Regression: that the error is no larger than ``usual_error``, which four of five
    test rows had. So that whatever watches binary scores can watch all.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    if task == "multiclass":
        return chosen_class(y, scores)
    if task == "regression":
        assert usual_error is not None  # models of values have one
        within = np.abs(errors_of(y, scores)[1]) <= usual_error
        return within.astype(np.float64), np.full(len(y), CLOSE)
    return y, scores
