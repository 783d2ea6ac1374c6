"""Excess loss: the loss that labels brought beyond what the calibrated scores promised.

The excess of a row is x = loss(y, q) - H(q) = -(y - q) logit(q): its mean is zero whatever the mix
of rows, as long as y is 1 with chance q. If the chance is pi instead, its mean is
-(pi - q) logit(q), so that it sees

* lost or inverted discrimination (pi pulled towards the mean): always positive;
* a shift of all chances to the side the scores lean against (more positives where most scores are
  below 1/2, fewer where most are above): positive;
* a shift to the side they lean to: negative. The loss is then lower than promised, although the
  scores are wrong.

The last is no excess, but decisions made at a threshold suffer from it too. So a second, two-sided
residual y - q (calibration in the large) is watched beside it.

Tilting the residual by theta times a weight a(q) is the likelihood ratio of the recalibrated score
logit(q') = logit(q) + theta a(q) against q: with a = 1 or -1 a shifted intercept, with
a = c - logit(q) a smaller slope (Cox 1958). It is an exact e-value for y ~ Bernoulli(q), however
few or rare the positives are. With c the mean of logit(q), weighted by q (1 - q), slope and
intercept say nothing of each other: scores that tell rows apart less well do so around the level of
the rows, not around 1/2, and a level that comes and goes does not hide it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.stats.binary import FloatArray, cluster_codes, labels_and_scores
from gyroscope.stats.e_values import log_mean_exp
from gyroscope.stats.intervals import normal_quantile
from gyroscope.stats.losses import SCORE_FLOOR, held, logit
from gyroscope.stats.random_effects import RandomEffects, random_effects

# A tilt catches changes from half its size to any larger one, best at its own. Between two tilts of
# ratio r the worst change loses 1 - 4 r / (1 + r)^2 of the nats of its own bet: with 2.5 a fifth.
# More tilts would be nearer to the best one, but each costs all others their share of the mean. So
# there are three for each direction, a factor of about 2.5 apart: from what is worth an alarm to
# scores that tell next to nothing (slope 0.1), and to odds that have nearly doubled. In a batch of
# many rows even a small tilt is many standard errors; what is larger than the boldest finds as
# surely and sooner, so tilts end there.
SLOPE_TILTS = (0.15, 0.4, 0.9)  # slope 1 - tilt
SHIFT_TILTS = (0.1, 0.25, 0.6)  # log-odds
BOLDEST = 3.0  # standard errors of a batch's sum, its own level included
_MARGIN_ALPHA = 0.05  # error of the bound on the reference's own excess
SKEWEST = 0.5  # a batch's sum up to which it passes for normal: about 4 rare positives expected


class ExcessLoss(msgspec.Struct, frozen=True, kw_only=True):
    """The excess loss and the residual of a set of rows, with sampling errors given the scores."""

    n: int
    excess: float  # mean of x, nats a prediction; positive is worse than promised
    excess_error: float  # its standard error if the scores are right
    residual: float  # mean of y - q; positive if there are more positives than promised
    residual_error: float


class ExcessReference(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch's means are while all is well, over the batches of the reference."""

    excess: RandomEffects = RandomEffects()
    residual: RandomEffects = RandomEffects()
    slope: RandomEffects = RandomEffects()  # of the residual times minus the centred log-odds


class ExcessEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Logarithms of e-values against "as on the reference", for one batch of rows."""

    log_e_slope: float  # scores that tell rows apart less than promised
    log_e_residual: float  # more or fewer positives than promised
    log_es: tuple[float, ...]  # one for each kind and size of change: less slope, more, fewer
    # Of each, how it hangs on the level and on the slope of the residuals, in standard errors; see
    # :func:`~gyroscope.stats.e_detector.log_boosts`. All 0 if these are far from normal.
    tilts: tuple[tuple[float, float], ...]
    log_e: float  # all of them averaged


def excess_losses(y: npt.ArrayLike, q: npt.ArrayLike) -> FloatArray:
    """The excess loss of each row in nats, float64[n]; scores held in [0.001, 0.999].

    Raises:
        DataError: labels or scores that cannot be used.
    """
    labels, scores = labels_and_scores(y, q)
    scores = held(scores, SCORE_FLOOR)
    return -(labels - scores) * logit(scores)


def excess_loss(y: npt.ArrayLike, q: npt.ArrayLike) -> ExcessLoss | None:
    """Mean excess loss and residual of labels[n] and scores[n]; None without rows.

    The variance of a row's excess given q is q (1 - q) logit(q)^2, that of its residual q (1 - q).

    Raises:
        DataError: labels or scores that cannot be used.
    """
    labels, scores = labels_and_scores(y, q)
    n = labels.size
    if n == 0:
        return None
    scores = held(scores, SCORE_FLOOR)
    spread = scores * (1 - scores)
    return ExcessLoss(
        n=n,
        excess=float(excess_losses(labels, scores).mean()),
        excess_error=math.sqrt(float(spread @ logit(scores) ** 2)) / n,
        residual=float((labels - scores).mean()),
        residual_error=math.sqrt(float(spread.sum())) / n,
    )


def excess_reference(
    y: npt.ArrayLike, q: npt.ArrayLike, batches: npt.ArrayLike | None = None
) -> ExcessReference:
    """Learn from reference rows how excess, residual and slope vary from batch to batch.

    Args:
        y: labels[n] of rows the model was not fitted on.
        q: scores[n].
        batches: the batch of each row, such as its window; None takes the rows as one batch, of
            which nothing can be learned about the variance between batches.

    Raises:
        DataError: no rows, or arrays that cannot be used.
    """
    labels, scores = labels_and_scores(y, q)
    codes = cluster_codes(np.zeros(labels.size) if batches is None else batches, labels.size)
    batched = [(labels[codes == k], scores[codes == k]) for k in np.unique(codes)]
    parts = [excess_loss(*batch) for batch in batched]
    found = [part for part in parts if part is not None]
    slopes = [_slope_residual(*batch) for batch in batched]
    # All scores at 1/2 promise no variance of the excess: tiny, but not zero.
    return ExcessReference(
        excess=random_effects(
            [part.excess for part in found], [max(part.excess_error**2, 1e-18) for part in found]
        ),
        residual=random_effects(
            [part.residual for part in found], [part.residual_error**2 for part in found]
        ),
        slope=random_effects([mean for mean, _ in slopes], [square for _, square in slopes]),
    )


def excess_evidence(
    y: npt.ArrayLike,
    q: npt.ArrayLike,
    reference: ExcessReference,
) -> ExcessEvidence:
    """Log e-values of one batch of rows against "no worse than on the reference".

    There is a likelihood ratio for each of a few tilts. The reference is itself a sample whose
    error is shared by all batches, so it enters as a margin: the upper 95 % bound of its mean is
    taken for what is normal. The variance between batches divides the log-likelihood ratios by the
    design effect 1 + n^2 between / variance: exact if batch effects are normal, and without them
    still an e-value (Jensen).

    Args:
        y: labels[n] of the batch.
        q: scores[n] at which they were predicted.
        reference: from :func:`excess_reference`.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    labels, scores = labels_and_scores(y, q)
    scores = held(scores, SCORE_FLOOR)
    ones = np.ones_like(scores)
    slope = _tilted(labels, scores, slope_weights(scores), SLOPE_TILTS, reference.slope)
    more = _tilted(labels, scores, ones, SHIFT_TILTS, reference.residual)
    fewer = msgspec.structs.replace(reference.residual, mean=-reference.residual.mean)
    less = _tilted(labels, scores, -ones, SHIFT_TILTS, fewer)
    log_es = (*slope.log_es, *more.log_es, *less.log_es)
    tilts = [(0.0, size) for size in slope.sizes]
    tilts += [(size, 0.0) for size in more.sizes] + [(-size, 0.0) for size in less.sizes]
    normal = max(abs(slope.skewness), abs(more.skewness)) <= SKEWEST
    return ExcessEvidence(
        log_e_slope=log_mean_exp(slope.log_es),
        log_e_residual=log_mean_exp([*more.log_es, *less.log_es]),
        log_es=log_es,
        tilts=tuple(tilts) if normal else ((0.0, 0.0),) * len(tilts),
        log_e=log_mean_exp(log_es),
    )


def slope_weights(q: FloatArray) -> FloatArray:
    """Minus the log-odds of scores[n] in (0, 1), centred where a shift of all tells nothing."""
    log_odds, spread = logit(q), q * (1 - q)
    return np.asarray((spread @ log_odds) / max(float(spread.sum()), SCORE_FLOOR) - log_odds)


def tilt_of_sum(
    weights: FloatArray, q: FloatArray, reference: ExcessReference
) -> tuple[float, float]:
    """How exp(sum of weights (y - q)) hangs on level and slope, in their standard errors.

    A tilt as in :attr:`ExcessEvidence.tilts`: the covariance of the sum with the two, given the
    scores. What windows may have in common beside the scores is not counted in, so that with a
    reference that varies it is no larger than it is.

    Args:
        weights: of the residuals of rows, float64[n].
        q: their scores[n].
        reference: from :func:`excess_reference`.

    Returns:
        The two tilts; 0 if level, slope or the sum itself are far from normal.
    """
    scores = held(q, SCORE_FLOOR)
    spread = scores * (1 - scores)
    axes = (
        (np.ones_like(scores), reference.residual),
        (slope_weights(scores), reference.slope),
    )
    tilts, skewness = [], [_skewness(weights, scores)]
    for axis, normal in axes:
        variance = float(spread @ axis**2)
        if variance == 0:
            return 0.0, 0.0
        scale = math.sqrt(variance * _design_effect(scores.size, variance, normal))
        tilts.append(float(spread @ (axis * weights)) / scale)
        skewness.append(_skewness(axis, scores))
    return (tilts[0], tilts[1]) if max(map(abs, skewness)) <= SKEWEST else (0.0, 0.0)


def _skewness(weights: FloatArray, q: FloatArray) -> float:
    """Of the sum of weights (y - q) given the scores."""
    spread = q * (1 - q)
    variance = float(spread @ weights**2)
    return float((spread * (1 - 2 * q)) @ weights**3) / variance**1.5 if variance else 0.0


def _design_effect(n: int, variance: float, normal: RandomEffects) -> float:
    """How many times the variance of the sum over n rows is what the scores alone give it."""
    return 1 + n**2 * normal.between / variance


def _slope_residual(y: FloatArray, q: FloatArray) -> tuple[float, float]:
    """Mean of the residual times the slope weight, and the variance of that if the scores hold."""
    scores = held(q, SCORE_FLOOR)
    weights = slope_weights(scores)
    variance = float((scores * (1 - scores)) @ weights**2) / y.size**2
    return float(weights @ (y - scores)) / y.size, max(variance, 1e-18)


class _Bets(NamedTuple):
    """Log e-values of one direction, each with its tilt in standard errors of the sum."""

    log_es: list[float]
    sizes: list[float]
    skewness: float  # of the sum


def _tilted(
    y: FloatArray,
    q: FloatArray,
    weight: FloatArray,
    tilts: tuple[float, ...],
    normal: RandomEffects,
) -> _Bets:
    """Log e-values against "the mean of weight (y - q) is at most what is normal", one a tilt."""
    spread = q * (1 - q)
    variance = float(spread @ weight**2)
    if variance == 0:
        return _Bets([0.0] * len(tilts), [0.0] * len(tilts), 0.0)
    margin = normal.mean + normal_quantile(1 - _MARGIN_ALPHA) * normal.standard_error
    design_effect = _design_effect(y.size, variance, normal)
    total = float(weight @ (y - q)) - y.size * margin
    boldest = BOLDEST * math.sqrt(design_effect / variance)
    held_tilts = np.minimum(tilts, boldest)
    logs = []
    for tilt in held_tilts.tolist():
        up, down = tilt * weight * (1 - q), -tilt * weight * q
        cumulant = np.logaddexp(np.log(q) + up, np.log1p(-q) + down).sum()
        logs.append((tilt * total - float(cumulant)) / design_effect)
    return _Bets(
        logs,
        (held_tilts * math.sqrt(variance / design_effect)).tolist(),
        _skewness(weight, q),
    )
