"""Average precision: the area under the precision-recall curve."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.stats.binary import labels_and_scores
from gyroscope.stats.curves import precision_recall_curve
from gyroscope.stats.intervals import Estimate, normal_interval, undefined


def average_precision(y: npt.ArrayLike, p: npt.ArrayLike, *, alpha: float = 0.05) -> Estimate:
    """Mean precision over the steps of recall; a random score has the share of positives.

    Args:
        y: labels[n] in {0, 1}.
        p: scores[n] in [0, 1].
        alpha: the two-sided error of the logit interval.

    Returns:
        The average precision, undefined without positive rows. Its standard error is the binomial
        one of that many positives, which the source found to cover well.

    Raises:
        DataError: labels or scores that cannot be used.

    Source:
        Boyd, Eng and Page (2013), Area under the precision-recall curve: point estimates and
        confidence intervals, ECML PKDD; the logit interval.
    """
    labels, probabilities = labels_and_scores(y, p)
    positives = int(labels.sum())
    if positives == 0:
        return undefined()
    curve = precision_recall_curve(labels, probabilities)
    value = float(np.sum(np.diff(curve.recall, prepend=0.0) * curve.precision))
    value = min(1.0, value)
    spread = value * (1 - value)
    if spread == 0:
        half = 1 - alpha ** (1 / positives)
        interval = Interval(max(0.0, value - half), min(1.0, value + half))
    else:
        ends = normal_interval(
            math.log(value / (1 - value)), 1 / math.sqrt(positives * spread), alpha=alpha
        )
        interval = Interval(1 / (1 + math.exp(-ends.low)), 1 / (1 + math.exp(-ends.high)))
    error = math.sqrt(spread / positives)
    return Estimate(value=value, standard_error=error, interval=interval, n=labels.size)
