"""Two independent proportions: their difference with a score interval, and a test."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from gyroscope.errors import DataError
from gyroscope.findings import Interval
from gyroscope.stats.counts import MIN_EXPECTED
from gyroscope.stats.intervals import proportion, upper_tail


class TwoProportionsResult(msgspec.Struct, frozen=True, kw_only=True):
    """How far two proportions are apart."""

    value: float  # share in the current sample less share in the reference, in [-1, 1]
    interval: Interval  # for the difference in the populations
    p_value: float  # of no change, two-sided
    reference: float  # share in the reference sample, nan if that is empty
    current: float  # share in the current sample, nan if that is empty
    n_reference: int
    n_current: int


def two_proportions(
    successes_reference: int,
    n_reference: int,
    successes_current: int,
    n_current: int,
    *,
    alpha: float = 0.05,
) -> TwoProportionsResult:
    """Compare two independent proportions.

    The interval combines the two Wilson intervals (Newcombe 1998, method 10). The p-value is that
    of the pooled score test; where a cell of the 2 x 2 table is expected to hold fewer than five,
    it is exact given the margins: twice the smaller tail of the hypergeometric distribution.

    Args:
        successes_reference: successes in the reference sample, in [0, n_reference].
        n_reference: size of the reference sample.
        successes_current: successes in the current sample, in [0, n_current].
        n_current: size of the current sample.
        alpha: the two-sided error of the interval, in (0, 1).

    Returns:
        The result; with an empty sample the difference is 0, its interval [-1, 1] and the
        p-value 1.

    Raises:
        DataError: successes outside [0, n].

    Source:
        Newcombe (1998), Interval estimation for the difference between independent proportions,
        Statistics in Medicine 17; Fisher (1935), The logic of inductive inference, JRSS 98.
    """
    samples = ((successes_reference, n_reference), (successes_current, n_current))
    for successes, n in samples:
        if not 0 <= successes <= n:
            raise DataError(f"successes must lie in [0, {n}], got {successes}")
    old, new = (proportion(successes, n, alpha=alpha) for successes, n in samples)
    if not (n_reference and n_current):
        value, interval, p_value = 0.0, Interval(-1.0, 1.0), 1.0
    else:
        value = new.value - old.value
        down = math.hypot(new.value - new.interval.low, old.interval.high - old.value)
        up = math.hypot(new.interval.high - new.value, old.value - old.interval.low)
        interval = Interval(max(value - down, -1.0), min(value + up, 1.0))
        p_value = _p_value(successes_reference, n_reference, successes_current, n_current)
    return TwoProportionsResult(
        value=value,
        interval=interval,
        p_value=p_value,
        reference=old.value,
        current=new.value,
        n_reference=n_reference,
        n_current=n_current,
    )


def _p_value(a: int, m: int, b: int, n: int) -> float:
    successes, total = a + b, m + n
    if successes in (0, total):
        return 1.0
    if min(successes, total - successes) * min(m, n) / total < MIN_EXPECTED:
        return _exact_p_value(a, m, b, n)
    pooled = successes / total
    z = abs(b / n - a / m) / math.sqrt(pooled * (1 - pooled) * (1 / m + 1 / n))
    return 2 * upper_tail(z)


def _exact_p_value(a: int, m: int, b: int, n: int) -> float:
    """Twice the smaller tail of the hypergeometric distribution of ``b``, at most 1."""
    from scipy.special import gammaln

    def log_choose(of: int, chosen: np.ndarray) -> np.ndarray:
        return np.asarray(gammaln(of + 1) - gammaln(chosen + 1) - gammaln(of - chosen + 1))

    successes = a + b
    support = np.arange(max(0, successes - m), min(successes, n) + 1)
    log_weight = log_choose(n, support) + log_choose(m, successes - support)
    weight = np.exp(log_weight - log_weight.max())
    below, above = weight[support <= b].sum(), weight[support >= b].sum()
    return min(2 * float(min(below, above) / weight.sum()), 1.0)
