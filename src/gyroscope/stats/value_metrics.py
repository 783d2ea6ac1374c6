"""The metrics of predicted numbers on one set of rows, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError
from gyroscope.findings import Interval
from gyroscope.stats.binary import FloatArray
from gyroscope.stats.intervals import Estimate, mean, normal_interval


def value_metrics(
    y: npt.ArrayLike, predicted: npt.ArrayLike, *, alpha: float = 0.05
) -> Mapping[str, Estimate]:
    """Root mean squared error, mean absolute error and the share of variance explained, by name.

    Args:
        y: numbers[n] that came true.
        predicted: numbers[n].
        alpha: the two-sided error of each interval.

    Returns:
        ``rmse`` and ``mae`` in the unit of y; ``r2``, at most 1, undefined where all of y are
        equal.

    Raises:
        DataError: arrays that differ in length or hold what is not finite.

    Source:
        Intervals by the delta method: van der Vaart (1998), Asymptotic Statistics, chapter 3.
    """
    truth, errors = errors_of(y, predicted)
    return {
        "rmse": _root(mean(errors**2, alpha=alpha)),
        "mae": _not_negative(mean(np.abs(errors), alpha=alpha)),
        "r2": _explained(truth, errors, alpha),
    }


def errors_of(y: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The numbers that came true and the errors ``predicted - y``, float64[n] each.

    Raises:
        DataError: arrays that differ in length or hold what is not finite.
    """
    truth = np.asarray(y, dtype=np.float64)
    errors = np.asarray(predicted, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != errors.shape:
        raise DataError(
            f"expected a prediction for each number, got shapes {truth.shape} and {errors.shape}"
        )
    if not (np.isfinite(truth).all() and np.isfinite(errors).all()):
        raise DataError("numbers and predictions must be finite")
    return truth, errors - truth


def _root(square: Estimate) -> Estimate:
    root = math.sqrt(square.value) if square.defined else math.nan
    low, high = square.interval.low, square.interval.high
    return Estimate(
        value=root,
        standard_error=square.standard_error / (2 * root) if root > 0 else square.standard_error,
        interval=Interval(math.sqrt(max(low, 0.0)), math.sqrt(max(high, 0.0))),
        n=square.n,
    )


def _not_negative(estimate: Estimate) -> Estimate:
    low, high = estimate.interval.low, estimate.interval.high
    return Estimate(
        value=estimate.value,
        standard_error=estimate.standard_error,
        interval=Interval(max(low, 0.0), max(high, 0.0)),
        n=estimate.n,
    )


def _explained(y: FloatArray, errors: FloatArray, alpha: float) -> Estimate:
    spread = np.square(y - y.mean()) if y.size else y
    if y.size < 2 or not spread.mean() > 0:
        return Estimate(
            value=math.nan, standard_error=math.nan, interval=Interval(-math.inf, 1.0), n=0
        )
    unexplained = float(np.square(errors).mean() / spread.mean())
    influence = (np.square(errors) - unexplained * spread) / spread.mean()
    error = float(influence.std(ddof=1)) / math.sqrt(y.size)
    value = 1 - unexplained
    return Estimate(
        value=value,
        standard_error=error,
        interval=normal_interval(value, error, alpha=alpha, high=1.0),
        n=y.size,
    )
