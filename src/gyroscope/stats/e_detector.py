"""Change detection with e-values: the e-detectors of Shiryaev-Roberts and CUSUM type.

Given e-values e_1, e_2, ... (each of mean at most 1 given the past while nothing has changed), the
Shiryaev-Roberts detector is M_k = (1 + M_{k-1}) e_k with M_0 = 0. M_k - k is a supermartingale
without a change, so that an alarm at M_k >= a comes no sooner than after a steps on average: the
average run length is at least a. The CUSUM C_k = max(1, C_{k-1}) e_k is never above M_k; the last
step at which it started afresh estimates where the change began.

Which change will come is not known, so there are e-values e_k^1, ..., e_k^m, one against each kind
and size. Averaging them step by step wastes much: a step without news, in which the bold ones lose
all, costs log m and more. So each kind j has a detector M^j of its own and the mean of these is
watched (Robbins' mixture, over the whole stream). The mean of supermartingales M_k^j - k is one
again, so that the average run length is at least a as before. The price of not knowing is log m
once, not at every step. Seen from outside it is one detector: the mean grows by the e-value

    sum_j (1 + M_{k-1}^j) e_k^j / sum_j (1 + M_{k-1}^j),

an average with weights that the past has fixed.

Source: Shin, Ramdas and Rinaldo (2024), E-detectors: a nonparametric framework for sequential
change detection, New England Journal of Statistics in Data Science 2. Start of the change: Hinkley
(1971), Biometrika 58.

All values are natural logarithms, so that long or strong streams neither overflow nor vanish.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.stats.batches import FloatArray
from gyroscope.stats.e_values import log_mean_exp, stake_log_factors

# Stakes as shares of the one that could ruin, and the weight of each gambler. A gambler of weight w
# must win 1 / w times more before the mean fires. What is worth an alarm moves a mean by much, and
# is found by the middle stakes: they have most of the weight.
STAKES = (0.45, 0.225, 0.11, 0.055, 0.027, 0.0135)
WEIGHTS = (0.15, 0.25, 0.25, 0.2, 0.1, 0.05)


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """What a detector saw in a stream."""

    alarm: int | None  # index of the first row at which it fired
    path: FloatArray  # log of the detector[n] after each row
    limit: float  # what the path must reach for an alarm


def shiryaev_roberts(
    x: npt.ArrayLike, *, null_mean: float, lowest: float, average_run_length: float
) -> Detection:
    """Watch a stream of bounded observations for a mean that rises above ``null_mean``.

    For each of :data:`STAKES` a Shiryaev-Roberts detector runs on the factors
    1 + stake (x - null_mean) / (null_mean - lowest); their mean by :data:`WEIGHTS` is a detector
    again.

    Args:
        x: observations[n] in order of arrival, none below ``lowest``.
        null_mean: while nothing has changed each x has at most this mean, given those before it.
        lowest: the lowest possible x, below ``null_mean``.
        average_run_length: rows that a false alarm takes on average at least, above 1.

    Returns:
        The first alarm, and the path of log(1 + M), against log(1 + average_run_length).

    Raises:
        UsageError: ``lowest`` is not below ``null_mean``, or an x is below it.
    """
    factors = stake_log_factors(x, null_mean=null_mean, lowest=lowest, stakes=STAKES)
    # The mean of 1 + M over stakes is 1 + the mean of M.
    return _watched(factors, next_shiryaev_roberts, alarm_limit(average_run_length))


def cusum(
    x: npt.ArrayLike, *, null_mean: float, lowest: float, average_run_length: float
) -> Detection:
    """Watch a stream as :func:`shiryaev_roberts` does, with CUSUM detectors.

    A CUSUM is never above its Shiryaev-Roberts detector, so that it keeps the same average run
    length; it fires later, but forgets what was before the likeliest change.

    Returns:
        The first alarm, and the path of log C, against log(average_run_length).
    """
    factors = stake_log_factors(x, null_mean=null_mean, lowest=lowest, stakes=STAKES)
    return _watched(factors, next_cusum, math.log(average_run_length))


def next_shiryaev_roberts(log_one_plus: float, log_e: float) -> float:
    """log(1 + M_k) from log(1 + M_{k-1}) and log e_k; starts from 0.

    Example:
        >>> round(next_shiryaev_roberts(next_shiryaev_roberts(0.0, 0.0), 0.0), 6)  # M_2 = 2
        1.098612
    """
    grown = log_one_plus + log_e
    top = max(0.0, grown)
    return top + math.log(math.exp(-top) + math.exp(grown - top))


def parts_of(parts: Sequence[float], m: int) -> tuple[float, ...]:
    """The m detectors of a mixture, as log(1 + M_k^j); a stream starts without any.

    If there were other than m so far, such as before the first step, the new ones share their mean
    evenly. That keeps the mean, and so what it promises.

    Example:
        >>> parts_of((), 2)
        (0.0, 0.0)
    """
    if len(parts) == m:
        return tuple(parts)
    return (log_mean_exp(parts) if parts else 0.0,) * m


def mixed_log_e(parts: Sequence[float], log_es: Sequence[float]) -> float:
    """The logarithm of the e-value by which the mean of the parts grows, given log e_k^j of each.

    Example:
        >>> round(mixed_log_e((0.0, 0.0), (0.0, 1.0986123)), 6)  # the mean of 1 and 3
        0.693147
    """
    grown = [part + log_e for part, log_e in zip(parts, log_es, strict=True)]
    return log_mean_exp(grown) - log_mean_exp(parts)


def alarm_limit(average_run_length: float) -> float:
    """What log(1 + M_k) must reach so that a false alarm takes ``average_run_length`` steps."""
    return math.log1p(average_run_length)


def next_cusum(log_cusum: float, log_e: float) -> float:
    """log C_k from log C_{k-1} and log e_k; starts from 0."""
    return max(0.0, log_cusum) + log_e


def starts_afresh(log_cusum: float) -> bool:
    """Whether a change that is under way next step began there, given log C_{k-1}."""
    return log_cusum <= 0


def _watched(factors: FloatArray, step: Callable[[float, float], float], limit: float) -> Detection:
    """Run one detector for each stake over log factors[stakes, n], and take their weighted mean."""
    state, path = [0.0] * len(factors), np.zeros(factors.shape[1])
    shares = [math.log(len(WEIGHTS) * weight) for weight in WEIGHTS]
    for k, row in enumerate(factors.T.tolist()):
        state = [step(*pair) for pair in zip(state, row, strict=True)]
        path[k] = log_mean_exp([x + share for x, share in zip(state, shares, strict=True)])
    fired = np.flatnonzero(path >= limit)
    return Detection(alarm=int(fired[0]) if fired.size else None, path=path, limit=limit)
