"""Tails and quantiles of the distributions that tests go by.

All are exact to some 1e-13 of their own size, far out too. SciPy has them as well, but takes a
third of a second to import.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gyroscope.kernels.special import betainc, erfc, gammaincc, gammaln, ndtri
from gyroscope.stats.batches import FloatArray

_MOST_DEGREES = 1e100  # of Student's t; with more it is the normal distribution to the last digit
_FAR = -46.0  # log(df / t^2), below which a tail of Student's t is a power of t to the last digit
_LEAST = float(np.finfo(np.float64).tiny)  # with all its digits


def normal_two_tails(z: npt.ArrayLike) -> FloatArray:
    """P(abs(Z) > abs(z)) of a standard normal Z for z[...]."""
    return erfc(np.abs(z) / math.sqrt(2))


def chi_square_upper(x: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """P(X > x) for chi-square X with df[...] degrees of freedom, above 0; 1 for x[...] below 0."""
    return gammaincc(np.asarray(df) / 2, np.maximum(x, 0.0) / 2)


def poisson_lower(k: npt.ArrayLike, mean: npt.ArrayLike) -> FloatArray:
    """P(X <= k) for Poisson X of a mean[...]; k[...] are whole numbers, 0 or more."""
    return gammaincc(np.asarray(k) + 1.0, mean)


def binomial_lower(k: npt.ArrayLike, n: npt.ArrayLike, p: npt.ArrayLike) -> FloatArray:
    """P(X <= k) for X successes of n[...] trials with chance p[...]; k[...] in [0, n]."""
    return _binomial(np.asarray(k), np.asarray(n), np.asarray(p), upper=False)


def binomial_upper(k: npt.ArrayLike, n: npt.ArrayLike, p: npt.ArrayLike) -> FloatArray:
    """P(X > k) for X successes of n[...] trials with chance p[...]; k[...] in [0, n]."""
    return _binomial(np.asarray(k), np.asarray(n), np.asarray(p), upper=True)


def _binomial(k: FloatArray, n: FloatArray, p: FloatArray, *, upper: bool) -> FloatArray:
    """By the beta distribution (DLMF 8.17.5)."""
    k = np.floor(k)
    failures = np.where(k < n, n - k, 1.0)
    tail = betainc(k + 1, failures, p, 1 - p) if upper else betainc(failures, k + 1, 1 - p, p)
    return np.where(k < n, tail, 0.0 if upper else 1.0)


def student_lower(t: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """P(T <= t) for Student's T with df[...] degrees of freedom, above 0 and perhaps infinite."""
    at, degrees = np.broadcast_arrays(
        np.asarray(t, dtype=np.float64), np.asarray(df, dtype=np.float64)
    )
    normal = degrees >= _MOST_DEGREES
    some = np.where(normal, 1.0, degrees)
    with np.errstate(over="ignore", divide="ignore", under="ignore"):
        share = at * at / some
        x, y = 1 / (1 + share), 1 / (1 + 1 / share)
        log_x = np.log(some) - 2 * np.log(np.abs(at))
        far = np.exp(some / 2 * log_x - _log_power_law(some))
    tail = np.where(log_x < _FAR, far, betainc(some / 2, 0.5, x, y)) / 2
    tail = np.where(normal, normal_two_tails(at) / 2, tail)
    return np.where(at > 0, 1 - tail, tail)


def student_quantile(p: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """The quantiles of Student's t with df[...] degrees of freedom, above 0, for p[...] in [0, 1].

    Chances below 2e-308, which a float64 holds in few digits, are taken for it. Far out, where the
    tail is a power of t, they are that of its inverse. Elsewhere Newton's method finds where the
    logarithm of the tail, as a function of that of t, has its value; the function is concave, so
    that no start fails, and that of Wallace is near.

    Source:
        Wallace (1959), Bounds on normal approximations to Student's and the chi-square
        distributions, Annals of Mathematical Statistics 30, for the start.
    """
    chance, degrees = np.broadcast_arrays(
        np.asarray(p, dtype=np.float64), np.asarray(df, dtype=np.float64)
    )
    tail = np.minimum(chance, 1 - chance)
    inside = (tail > 0) & (tail < 0.5)
    sought = np.where(inside, tail, 0.25)
    finite = np.minimum(degrees, _MOST_DEGREES)
    log_x = (np.log(2 * sought) + _log_power_law(finite)) * 2 / finite
    with np.errstate(over="ignore"):
        far = np.sqrt(finite) * np.exp(-log_x / 2)
    is_far = log_x < _FAR
    sought, finite = np.where(is_far, 0.25, np.maximum(sought, _LEAST)), np.where(is_far, 1, finite)
    log_scale = gammaln((finite + 1) / 2) - gammaln(finite / 2) - np.log(finite * math.pi) / 2
    # Many degrees cancel here; then it is the normal distribution's but for 1e-7.
    log_scale = np.where(finite > 1e6, -math.log(2 * math.pi) / 2, log_scale)
    wallace = (ndtri(sought) * (8 * finite + 3) / (8 * finite + 1)) ** 2
    size = np.sqrt(finite * np.expm1(np.minimum(wallace / finite, -_FAR)))
    for _ in range(100):
        reached = np.maximum(student_lower(-size, finite), _LEAST)
        density = np.exp(log_scale - (finite + 1) / 2 * np.log1p(size * size / finite))
        step = np.log(reached / sought) * reached / (density * size)
        size = size * np.exp(step)
        if np.all(np.abs(step) < 1e-14):
            break
    size = np.where(is_far, far, size)
    beyond = np.where(tail == 0, math.inf, np.where(tail == 0.5, 0.0, math.nan))
    return np.copysign(np.where(inside, size, beyond), chance - 0.5)


def _log_power_law(df: FloatArray) -> FloatArray:
    """The logarithm of a B(a, 1/2) for a = df / 2: both tails go to x^a over it as x = df / t^2
    goes to 0."""
    return gammaln(df / 2 + 1) + gammaln(0.5) - gammaln((df + 1) / 2)


def kolmogorov_upper(x: npt.ArrayLike) -> FloatArray:
    """P(K > x) for Kolmogorov's K, the limit of sqrt(n) times the distance of n rows; x[...].

    Source:
        Kolmogorov (1933), Giornale dell'Istituto Italiano degli Attuari 4; below 1 the equal series
        of Feller (1948), Annals of Mathematical Statistics 19, equation (1.4).
    """
    at = np.asarray(x, dtype=np.float64)
    large, small = np.maximum(at, 1.0)[..., None], np.clip(at, 1e-3, 1.0)[..., None]
    k = np.arange(1, 6)
    tail = 2 * np.sum(-((-1.0) ** k) * np.exp(-2 * (k * large) ** 2), axis=-1)
    below = np.sum(np.exp(-(((2 * k - 1) * math.pi / small) ** 2) / 8), axis=-1)
    return np.asarray(np.where(at > 1, tail, 1 - math.sqrt(2 * math.pi) / small[..., 0] * below))
