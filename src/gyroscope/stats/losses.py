"""Log-loss and Brier score: the losses of single rows, and their means with intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gyroscope.stats.binary import FloatArray, labels_and_scores
from gyroscope.stats.intervals import Estimate, mean

EPSILON = float(np.finfo(np.float64).eps)  # as scikit-learn: keeps a sure error finite, 36 nats
SCORE_FLOOR = 1e-3  # what a calibration set of ordinary size can vouch for


def held(p: npt.ArrayLike, floor: float) -> FloatArray:
    """Scores[n] moved into [floor, 1 - floor], so that their logarithms are bounded."""
    return np.clip(np.asarray(p, dtype=np.float64), floor, 1 - floor)


def logit(p: npt.ArrayLike) -> FloatArray:
    """Log-odds of probabilities in (0, 1), elementwise."""
    q = np.asarray(p, dtype=np.float64)
    return np.log(q) - np.log1p(-q)


def log_losses(y: npt.ArrayLike, p: npt.ArrayLike, *, floor: float = EPSILON) -> FloatArray:
    """The log-loss of each row in nats, float64[n], of scores held in [floor, 1 - floor]."""
    labels, q = labels_and_scores(y, p)
    q = held(q, floor)
    return np.where(labels == 1, -np.log(q), -np.log1p(-q))


def log_loss(y: npt.ArrayLike, p: npt.ArrayLike, *, alpha: float = 0.05) -> Estimate:
    """Mean log-loss in nats with a normal-theory interval; lower is better.

    Args:
        y: labels[n] in {0, 1}.
        p: scores[n] in [0, 1].
        alpha: the two-sided error of the interval.

    Raises:
        DataError: labels or scores that cannot be used.

    Example:
        >>> round(log_loss([0, 1], [0.2, 0.6]).value, 3)
        0.367
    """
    return mean(log_losses(y, p), alpha=alpha)


def brier(y: npt.ArrayLike, p: npt.ArrayLike, *, alpha: float = 0.05) -> Estimate:
    """Mean squared distance of score and label, in [0, 1], with a normal-theory interval.

    Args and errors are those of :func:`log_loss`.

    Source:
        Brier (1950), Verification of forecasts expressed in terms of probability, Monthly Weather
        Review 78, in the form for two classes.
    """
    labels, probabilities = labels_and_scores(y, p)
    return mean((labels - probabilities) ** 2, alpha=alpha)
