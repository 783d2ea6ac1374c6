"""Evidence that a model ranks worse than its scores promise, whatever their level.

The level of the positives comes and goes with weather, holidays and campaigns, and moves every
loss with it; the order of the rows does not care. So the ROC AUC of a window finds a broken
relation of features and label that the loss hides in the noise between windows.

The AUC itself depends on the mix of rows: among rows that are alike it is low for the best of
models. What is watched is therefore the shortfall, the AUC that the scores promise on exactly
these rows minus the one that labels show. Its mean is zero while the scores are right, whatever the
mix; a change of level hardly moves it, lost discrimination does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.stats.auc import roc_auc
from gyroscope.stats.binary import FloatArray, cluster_codes, labels_and_scores
from gyroscope.stats.cbpe import expected_auc_and_slope
from gyroscope.stats.excess_loss import ExcessReference, tilt_of_sum
from gyroscope.stats.intervals import normal_quantile, upper_tail
from gyroscope.stats.random_effects import RandomEffects, random_effects

FEWEST_OF_A_CLASS = 10  # below, the normal approximation of the AUC is not worth having
TILTS = (1.0,)  # standard errors; slight and total loss are what the slope of the scores shows
_MARGIN_ALPHA = 0.05  # error of the bound on the reference's own shortfall
_ROUNDING = 1e-9  # equal scores have no order to fall short of, and this error at most


class Shortfall(msgspec.Struct, frozen=True, kw_only=True):
    """How far the ROC AUC of a batch is below the promise of its scores."""

    value: float  # promised minus realised; positive is worse than promised
    standard_error: float  # if the scores are right, given the scores
    weights: FloatArray  # of the residual of each row, float64[n], in the linear part of the value


class RankingEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Logarithms of e-values against "ranks as on the reference", for one batch of rows."""

    log_es: tuple[float, ...]  # one for each of ``TILTS``
    # Of each, how it hangs on the level and on the slope of the residuals, in standard errors; see
    # :func:`~gyroscope.stats.e_detector.log_boosts`.
    tilts: tuple[tuple[float, float], ...]


def ranking_shortfall(y: npt.ArrayLike, q: npt.ArrayLike) -> Shortfall | None:
    """The promised minus the realised ROC AUC of labels[n] and calibrated scores[n].

    Returns:
        The shortfall; None with fewer than ten rows of a class, or if all scores are equal.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    labels, scores = labels_and_scores(y, q)
    promised = None if _few(labels) else _promised(scores)
    if promised is None:
        return None
    return Shortfall(
        value=promised.value - roc_auc(labels, scores).value,
        standard_error=promised.standard_error,
        weights=-promised.slope,
    )


class _Promised(NamedTuple):
    """The ROC AUC that scores promise on their rows."""

    value: float
    standard_error: float  # of the shortfall, if the scores are right
    slope: FloatArray  # by the chance of each row, float64[n]


def _promised(scores: FloatArray) -> _Promised | None:
    """None if all scores are equal, so that there is no order."""
    value, slope = expected_auc_and_slope(scores)
    error = math.sqrt(float((scores * (1 - scores)) @ slope**2))
    return _Promised(value, error, slope) if error > _ROUNDING else None


def _few(labels: FloatArray) -> bool:
    return bool(min(labels.sum(), labels.size - labels.sum()) < FEWEST_OF_A_CLASS)


def ranking_reference(
    y: npt.ArrayLike, q: npt.ArrayLike, batches: npt.ArrayLike | None = None
) -> RandomEffects | None:
    """How the shortfall of the ROC AUC varies from batch to batch of reference rows.

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
    found = [ranking_shortfall(labels[codes == k], scores[codes == k]) for k in np.unique(codes)]
    usable = [shortfall for shortfall in found if shortfall is not None]
    if not usable:
        return None
    return random_effects([s.value for s in usable], [s.standard_error**2 for s in usable])


def ranking_evidence(
    y: npt.ArrayLike,
    q: npt.ArrayLike,
    reference: RandomEffects,
    excess: ExcessReference | None = None,
) -> RankingEvidence:
    """Log e-values of one batch against "the shortfall is no larger than on the reference".

    The shortfall is nearly linear in the residuals y - q: a sum with weights w. With t w the tilt
    of a row and K the logarithm of the mean of exp(t sum) under the scores, exp(t shortfall - K)
    has mean 1 but for what is not linear, however skewed the sum is. (With a normal law in place of
    K that mean was 1.3 for two standard errors and 40 rows.) The variance between batches divides
    the exponent by the design effect, as in
    :func:`~gyroscope.stats.excess_loss.excess_evidence`. The reference is itself a sample: the
    upper 95 % bound of its mean is taken for normal.

    The linear part goes with the slope of the residuals (correlation 0.98 where log-odds are
    normal), so that the detector may raise this evidence too. With too few rows of a class there is
    none and the e-value is 1: the tilt counts with the chance p that there are enough. That is an
    approximation: of this evidence alone, what an alarm can use has a mean of 0.98 to 1.00 for p =
    3/4, and of 1.04 at most where the detector is within a third of its limit.

    Args:
        y: labels[n] of the batch.
        q: scores[n] at which they were predicted.
        reference: from :func:`ranking_reference`.
        excess: how level and slope vary between the same batches, from
            :func:`~gyroscope.stats.excess_loss.excess_reference`; None: not at all.

    Returns:
        One for each k of ``TILTS``; log e-values of 0 where there is no shortfall to speak of.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    labels, chance = labels_and_scores(y, q)
    promised = _promised(chance) if labels.size >= 2 * FEWEST_OF_A_CLASS else None
    if promised is None:
        return RankingEvidence(log_es=(0.0,) * len(TILTS), tilts=((0.0, 0.0),) * len(TILTS))
    error = promised.standard_error
    normal = reference.mean + normal_quantile(1 - _MARGIN_ALPHA) * reference.standard_error
    design_effect = 1 + reference.between / error**2
    short = None if _few(labels) else promised.value - roc_auc(labels, chance).value
    enough = _chance_of_enough(chance)
    logs, tilts = [], []
    for k in TILTS:
        tilt = k * math.sqrt(design_effect) / error
        rows = -tilt * promised.slope
        cumulant = float((np.log1p(chance * np.expm1(rows)) - chance * rows).sum())
        log_e = 0.0 if short is None else (tilt * (short - normal) - cumulant) / design_effect
        logs.append(log_e)
        level, slope = tilt_of_sum(rows / design_effect, chance, excess or ExcessReference())
        tilts.append((enough * level, enough * slope))
    return RankingEvidence(log_es=tuple(logs), tilts=tuple(tilts))


def _chance_of_enough(q: FloatArray) -> float:
    """The chance that rows of scores[n] have ten labels of each class, by the normal law."""
    positives, spread = float(q.sum()), math.sqrt(float(q @ (1 - q)))
    fewest = FEWEST_OF_A_CLASS - 0.5
    few = upper_tail((positives - fewest) / spread)
    return max(0.0, 1 - few - upper_tail((q.size - positives - fewest) / spread))
