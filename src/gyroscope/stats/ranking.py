"""Evidence that a model ranks worse than it did, whatever the level of its scores.

The level of the positives comes and goes with weather, holidays and campaigns, and moves every
loss with it; the order of the rows does not care. So the ROC AUC of a window finds a broken
relation of features and label that the loss hides in the noise between windows.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gyroscope.stats.auc import roc_auc
from gyroscope.stats.binary import cluster_codes, labels_and_scores
from gyroscope.stats.e_values import log_mean_exp
from gyroscope.stats.intervals import Estimate, normal_quantile
from gyroscope.stats.random_effects import RandomEffects, random_effects

FEWEST_OF_A_CLASS = 10  # below, the normal approximation of the AUC is not worth having
_TILTS = tuple(2.0**k for k in range(-2, 3))  # standard errors: from slight to total loss
_MARGIN_ALPHA = 0.05  # error of the bound on the reference's own AUC


def ranking_reference(
    y: npt.ArrayLike, q: npt.ArrayLike, batches: npt.ArrayLike | None = None
) -> RandomEffects | None:
    """How the ROC AUC varies from batch to batch of reference rows.

    Args:
        y: labels[n] in {0, 1} of rows the model was not fitted on.
        q: scores[n] in [0, 1].
        batches: the batch of each row, such as its window; None takes the rows as one batch.

    Returns:
        Mean, its standard error and the variance between batches; None if no batch has ten rows
        of each class.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    labels, scores = labels_and_scores(y, q)
    codes = cluster_codes(np.zeros(labels.size) if batches is None else batches, labels.size)
    found = [_auc(labels[codes == k], scores[codes == k]) for k in np.unique(codes)]
    usable = [auc for auc in found if auc is not None]
    if not usable:
        return None
    return random_effects([auc.value for auc in usable], [auc.standard_error**2 for auc in usable])


def ranking_log_e(y: npt.ArrayLike, q: npt.ArrayLike, reference: RandomEffects) -> float:
    """Log e-value of one batch against "the AUC is no lower than on the reference".

    With z the shortfall of the AUC in standard errors (DeLong's and the variance between batches),
    the mean of exp(k z - k^2 / 2) over a grid of k > 0 has mean at most 1 if z is normal with mean
    at most 0 (a normal mean's likelihood ratio; Robbins 1970, Annals of Mathematical Statistics
    41). The reference is itself a sample: the lower 95 % bound of its mean is taken for normal.

    Args:
        y: labels[n] of the batch.
        q: scores[n] at which they were predicted.
        reference: from :func:`ranking_reference`.

    Returns:
        The natural logarithm; 0 with fewer than ten rows of a class.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    auc = _auc(*labels_and_scores(y, q))
    if auc is None:
        return 0.0
    normal = reference.mean - normal_quantile(1 - _MARGIN_ALPHA) * reference.standard_error
    shortfall = (normal - auc.value) / math.hypot(auc.standard_error, math.sqrt(reference.between))
    return log_mean_exp([k * shortfall - k**2 / 2 for k in _TILTS])


def _auc(labels: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> Estimate | None:
    """The AUC, if both classes have enough rows for its standard error."""
    rarer = min(labels.sum(), labels.size - labels.sum())
    if rarer < FEWEST_OF_A_CLASS:
        return None
    auc = roc_auc(labels, scores)
    return auc if auc.standard_error > 0 else None
