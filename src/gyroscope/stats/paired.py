"""The log-loss of two models on the same rows."""

from __future__ import annotations

import msgspec
import numpy.typing as npt

from gyroscope.findings import Interval
from gyroscope.stats.binary import FloatArray
from gyroscope.stats.clustered import clustered_mean
from gyroscope.stats.losses import SCORE_FLOOR, log_losses


class PairedLogLoss(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate gains over an incumbent; positive means the candidate is better."""

    improvement: float  # mean log-loss of the incumbent minus the candidate's, nats
    interval: Interval  # of the improvement, two-sided
    p_value: float  # one-sided, of "the improvement is at most the minimum"
    design_effect: float  # variance over that of independent rows, at least 1
    n: int
    clusters: int


def paired_log_loss(
    y: npt.ArrayLike,
    p_incumbent: npt.ArrayLike,
    p_candidate: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    minimum_improvement: float = 0.0,
    alpha: float = 0.05,
) -> PairedLogLoss | None:
    """Test whether the candidate's log-loss is lower by more than the minimum improvement.

    A test for one look: for looking again and again use
    :func:`~gyroscope.stats.e_values.betting_log_e`.

    Args:
        y: labels[n] in {0, 1}.
        p_incumbent: scores[n] of the incumbent in [0, 1], held in [0.001, 0.999].
        p_candidate: scores[n] of the candidate, likewise.
        clusters: ids[n] of clusters within which rows may depend on each other, such as windows.
            The larger error of rows and clusters counts, so that dependence is never ignored.
        minimum_improvement: nats, at least 0.
        alpha: the two-sided error of the interval.

    Returns:
        The comparison; None with fewer than two rows.

    Raises:
        DataError: labels, scores or cluster ids that cannot be used.
    """
    return paired_loss(
        log_loss_gains(y, p_incumbent, p_candidate),
        clusters=clusters,
        minimum_improvement=minimum_improvement,
        alpha=alpha,
    )


def paired_loss(
    gains: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    minimum_improvement: float = 0.0,
    alpha: float = 0.05,
) -> PairedLogLoss | None:
    """The same of any loss, by what the candidate gains on each row: gains[n]."""
    gain = clustered_mean(gains, clusters)
    if gain is None:
        return None
    half = gain.half_width(alpha)
    return PairedLogLoss(
        improvement=gain.value,
        interval=Interval(gain.value - half, gain.value + half),
        p_value=gain.p_above(minimum_improvement),
        design_effect=gain.design_effect,
        n=gain.n,
        clusters=gain.clusters,
    )


def log_loss_gains(
    y: npt.ArrayLike,
    p_incumbent: npt.ArrayLike,
    p_candidate: npt.ArrayLike,
    *,
    floor: float = SCORE_FLOOR,
) -> FloatArray:
    """What the candidate gains on each row, nats, float64[n], in [-b, b], b = logit(1 - floor).

    Both scores are held in [floor, 1 - floor] first, which bounds the difference without cutting
    it: a candidate that is rarely and badly wrong pays for it up to b = 6.9 nats a row.
    """
    incumbent = log_losses(y, p_incumbent, floor=floor)
    return incumbent - log_losses(y, p_candidate, floor=floor)
