"""Area under the ROC curve with its variance, for one model and for two on the same rows."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.stats.binary import FloatArray, labels_and_scores
from gyroscope.stats.intervals import Estimate, normal_interval, undefined, upper_tail


class PairedAuc(msgspec.Struct, frozen=True, kw_only=True):
    """Two AUCs on the same rows; ``difference`` is second minus first."""

    first: float
    second: float
    difference: float
    standard_error: float  # of the difference
    interval: Interval  # of the difference
    p_worse: float  # one-sided p-value of "the second is not worse than the first"


def roc_auc(y: npt.ArrayLike, p: npt.ArrayLike, *, alpha: float = 0.05) -> Estimate:
    """Chance that a random positive row scores above a random negative one, ties counting half.

    The interval is made on the logit scale, where it cannot leave [0, 1]. Where DeLong's variance
    is zero, as at an AUC of 0 or 1, it comes from pairs: if the rarer class has m rows, then m
    disjoint pairs were all ordered alike, which has chance A^m at most under an AUC of A.

    Args:
        y: labels[n] in {0, 1}.
        p: scores[n] in [0, 1].
        alpha: the two-sided error of the interval.

    Returns:
        The AUC, undefined when only one class is present.

    Raises:
        DataError: labels or scores that cannot be used.

    Source:
        DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44, computed by midranks as in Sun and
        Xu (2014), IEEE Signal Processing Letters 21.
    """
    labels, probabilities = labels_and_scores(y, p)
    components = structural_components(labels, probabilities)
    if components is None:
        return undefined()
    of_positive, of_negative = components
    value = float(of_positive.mean())
    error = math.sqrt(_variance_of_mean(of_positive) + _variance_of_mean(of_negative))
    rarer = min(of_positive.size, of_negative.size)
    return Estimate(
        value=value,
        standard_error=error,
        interval=logit_interval(value, error, rarer, alpha),
        n=labels.size,
    )


def paired_auc(
    y: npt.ArrayLike, p_first: npt.ArrayLike, p_second: npt.ArrayLike, *, alpha: float = 0.05
) -> PairedAuc | None:
    """Compare the AUCs of two models on the same rows.

    Args:
        y: labels[n] in {0, 1}.
        p_first: scores[n] of the first model, in [0, 1].
        p_second: scores[n] of the second.
        alpha: the two-sided error of the interval.

    Returns:
        The comparison; None when a class has fewer than two rows, where no variance exists. Of
        scores that order the rows alike the difference is 0 and ``p_worse`` 0.5.

    Raises:
        DataError: labels or scores that cannot be used.

    Source:
        As :func:`roc_auc`.
    """
    labels, first = labels_and_scores(y, p_first)
    labels, second = labels_and_scores(y, p_second)
    of_first, of_second = (
        structural_components(labels, first),
        structural_components(labels, second),
    )
    if of_first is None or of_second is None or min(map(len, of_first)) < 2:
        return None
    (positive_1, negative_1), (positive_2, negative_2) = of_first, of_second
    difference = float(positive_2.mean() - positive_1.mean())
    error = math.sqrt(
        _variance_of_mean(positive_2 - positive_1) + _variance_of_mean(negative_2 - negative_1)
    )
    return PairedAuc(
        first=float(positive_1.mean()),
        second=float(positive_2.mean()),
        difference=difference,
        standard_error=error,
        interval=normal_interval(difference, error, alpha=alpha, low=-1, high=1),
        p_worse=_p_worse(difference, error),
    )


def midranks(values: npt.ArrayLike) -> FloatArray:
    """Ranks from 1 of values[n]; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(
        np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True
    )
    last = np.cumsum(counts)
    middle: FloatArray = last - (counts - 1) / 2
    return middle[inverse]


def structural_components(
    labels: FloatArray, p: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """DeLong's structural components: for each row, the share of the other class it beats.

    Of rows of class 1, then of class 0; None if a class has no row.
    """
    positive, negative = p[labels == 1], p[labels == 0]
    if not positive.size or not negative.size:
        return None
    together = midranks(np.concatenate([positive, negative]))
    of_positive = (together[: positive.size] - midranks(positive)) / negative.size
    of_negative = 1 - (together[positive.size :] - midranks(negative)) / positive.size
    return of_positive, of_negative


def _variance_of_mean(components: FloatArray) -> float:
    if components.size < 2:
        return math.nan
    return float(components.var(ddof=1)) / components.size


def logit_interval(value: float, error: float, rarer: int, alpha: float) -> Interval:
    """The interval of an AUC as :func:`roc_auc` makes it; ``rarer`` are the rows of that class."""
    if math.isnan(error):
        return Interval(0.0, 1.0)
    if error == 0 or not 0 < value < 1:
        half = 1 - alpha ** (1 / rarer)
        return Interval(max(0.0, value - half), min(1.0, value + half))
    middle = math.log(value / (1 - value))
    ends = normal_interval(middle, error / (value * (1 - value)), alpha=alpha)
    return Interval(1 / (1 + math.exp(-ends.low)), 1 / (1 + math.exp(-ends.high)))


def _p_worse(difference: float, error: float) -> float:
    if error == 0:
        return 0.5 if difference == 0 else float(difference > 0)
    return upper_tail(-difference / error)
