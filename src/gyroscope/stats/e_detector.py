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

A detector stops beyond its limit a, not at it, and the evidence beyond is wasted: the average run
length is a multiple of what was promised, and delays are those of that. Where the law without a
change is known, an e-value e that multiplies W = 1 + M_{k-1} may be cut at what the alarm needs,
a / W, and raised by the largest b for which E min(b e, a / W) <= 1. Then M_k - k is a
supermartingale as before, for the detector that is cut, and both fire at the same step.

Source: Shin, Ramdas and Rinaldo (2024), E-detectors: a nonparametric framework for sequential
change detection, New England Journal of Statistics in Data Science 2. Start of the change: Hinkley
(1971), Biometrika 58. Cut and raised e-values: Wang and Ramdas (2022), False discovery rate control
with e-values, JRSS B 84, section 4; Fischer and Ramdas (2024), Improving the (approximate)
sequential probability ratio test by avoiding overshoot, arXiv 2410.16076.

All values are natural logarithms, so that long or strong streams neither overflow nor vanish.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.stats.batches import FloatArray
from gyroscope.stats.e_values import log_mean_exp, shift_log_factors

# The sizes of change to look for. A shift of d standard deviations yields d^2 / 2 nats a row at
# most; one that yields less than this in a run length is hardly to be told from chance within it.
_LEAST_NATS = 8.0
_LARGEST = 2.0  # standard deviations; a larger shift shows in a few rows whatever is staked
# Between two sizes of ratio r the worst shift loses 1 - 4 r / (1 + r)^2 of the nats of its own bet:
# with 2.5 a fifth. Closer ones gain less than one gambler more costs all others.
_RATIO = 2.5

# The standard normal law on a grid. Beyond it evidence counts as not raised: the safe side.
_GRID = np.linspace(-6.0, 6.0, 25)
_DENSITY = np.exp(-(_GRID**2) / 2)
_CHANCE = np.outer(_DENSITY, _DENSITY).ravel() / _DENSITY.sum() ** 2
_STEPS = 4  # of Newton's method, which approaches the boost from below


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """What a detector saw in a stream."""

    alarm: int | None  # index of the first row at which it fired
    path: FloatArray  # log of the detector[n] after each row
    limit: float  # what the path must reach for an alarm


def shiryaev_roberts(
    x: npt.ArrayLike, *, null_mean: float, lowest: float, average_run_length: float
) -> Detection:
    """Watch a stream of bounded observations for a mean that rises above ``null_mean``.

    For each size of :func:`shift_sizes` a Shiryaev-Roberts detector runs on the factors of
    :func:`~gyroscope.stats.e_values.shift_log_factors`; their mean is a detector again. Nothing
    need be known of the law but its lowest value and its mean.

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
    factors = shift_log_factors(
        x, null_mean=null_mean, lowest=lowest, sizes=shift_sizes(average_run_length)
    )
    # The mean of 1 + M over sizes is 1 + the mean of M.
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
    factors = shift_log_factors(
        x, null_mean=null_mean, lowest=lowest, sizes=shift_sizes(average_run_length)
    )
    return _watched(factors, next_cusum, math.log(average_run_length))


def shift_sizes(average_run_length: float) -> tuple[float, ...]:
    """The shifts, in standard deviations, that a stream is watched for: evenly spaced logarithms.

    From the smallest that can be found within the run length to the largest worth a bet of its own,
    all with the same weight, so that none is favoured.

    Example:
        >>> [round(size, 2) for size in shift_sizes(1000.0)]
        [0.13, 0.32, 0.8, 2.0]
    """
    smallest = min(math.sqrt(2 * _LEAST_NATS / average_run_length), _LARGEST)
    steps = max(1, round(math.log(_LARGEST / smallest) / math.log(_RATIO)))
    return tuple(np.geomspace(smallest, _LARGEST, steps + 1).tolist())


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


def log_boosts(parts: npt.ArrayLike, tilts: npt.ArrayLike, average_run_length: float) -> FloatArray:
    """By what the e-values of a step may be multiplied since what is beyond the limit is wasted.

    Without a change e_k^j must have, at least in mean given two independent standard normal Z_1 and
    Z_2, the law of exp(t_1 Z_1 - t_1^2 / 2) exp(t_2 Z_2 - t_2^2 / 2), or be smaller. By Jensen's
    inequality, what varies besides only makes them waste more. Tilts of 0 ask for nothing but a
    mean of at most 1 and gain nothing.

    Args:
        parts: log(1 + M_{k-1}^j)[..., m]; leading axes are streams.
        tilts: (t_1, t_2) of each e_k^j, [..., m, 2].
        average_run_length: the limit that the mean of the M^j must reach for an alarm.

    Returns:
        The natural logarithm[...] of the factor for all e_k^j alike, at least 0, and 0 once the
        limit has been passed.

    Example:
        >>> calm, near = log_boosts([[1.0], [5.0]], [[[2.0, 0.0]]], 365.0)
        >>> print(f"{calm:.2f} {near:.2f}")
        0.04 1.47
    """
    logs, (one, other) = np.asarray(parts), np.moveaxis(np.asarray(tilts)[..., None], -2, 0)
    top = logs.max(axis=-1, keepdims=True)
    weights = np.exp(logs - top)
    log_mean = top[..., 0] + np.log(weights.mean(axis=-1))
    weights /= weights.sum(axis=-1, keepdims=True)
    # The weighted mean of the e-values at each pair of Z_1 and Z_2.
    first = weights[..., None] * np.exp(one * _GRID - one**2 / 2)
    mean_e = np.swapaxes(first, -1, -2) @ np.exp(other * _GRID - other**2 / 2)
    mean_e = mean_e.reshape(*mean_e.shape[:-2], _CHANCE.size)
    needed = np.exp(math.log(average_run_length) - log_mean)
    boosts = np.ones_like(needed)
    for _ in range(_STEPS):
        beyond = (boosts[..., None] * mean_e >= needed[..., None]).astype(np.float64)
        chance, cut = beyond @ _CHANCE, (beyond * mean_e) @ _CHANCE
        # The mean of the e-values is 1, so that 1 - cut is the mean of those that are not cut.
        raised = (1 - needed * chance) / np.maximum(1 - cut, 1e-9)
        boosts = np.maximum(np.where(needed > 1, raised, 1.0), 1.0)
    return np.asarray(np.log(boosts))


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
    """Run one detector for each size over log factors[sizes, n], and take their mean."""
    state, path = [0.0] * len(factors), np.zeros(factors.shape[1])
    for k, row in enumerate(factors.T.tolist()):
        state = [step(*pair) for pair in zip(state, row, strict=True)]
        path[k] = log_mean_exp(state)
    fired = np.flatnonzero(path >= limit)
    return Detection(alarm=int(fired[0]) if fired.size else None, path=path, limit=limit)
